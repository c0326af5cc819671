"""Questions that people ask: why was this rolled, why not, what consumes that."""
