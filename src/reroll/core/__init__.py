"""The pure part: records, references, digests, policy, decisions. No I/O, no clock of its own."""
