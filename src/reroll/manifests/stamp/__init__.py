"""`reroll stamp`: each pod template of a stream of manifests gets the digest of exactly what it consumes.

In the order of what happens: `run` reads the stream twice; the first time `contents` takes the ConfigMaps and
Secrets, and `consumers` the workloads; `lookup` asks the cluster for what is not there, if it is to; then `plan`
tells what to write, and the second time it is written. `options` and `function` are what a person can set.
"""
