"""What if? The controller's own store, queue and reconciler, on virtual time, against a cluster that is played.

    manifests, or a snapshot ─► world ─► cluster (played) ◄─► store, queue, reconciler ─► result
                                            ▲
                                        scenario: the changes, and when

Nothing is decided here: what is rolled, when and why is the work of `controller` and `core`, which can't tell
this cluster from a real one. `run.simulate` is the file to read first.
"""
