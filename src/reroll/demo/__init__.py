"""`reroll demo`: an example app on a real API server, changed step by step, and what comes of each change.

    dev_cluster ─► stage (app, controller process) ─► steps ─► run ─► plain or live ─► picture

`steps` says what is done and what has to come of it; `observer` reads what came of it off ReplicaSets,
ControllerRevisions, pods and Events, never off reroll's own word; `run` compares the two.
"""
