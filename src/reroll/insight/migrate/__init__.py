"""From another reload mechanism to reroll: what acts on each workload today, what reroll would do, and what to write.

The core is pure: a `scene.Scene` is what was read, of manifests (`manifests`) or of a cluster (`live`), and `report`
makes the answer of it. `write` turns what is proposed into files.
"""
