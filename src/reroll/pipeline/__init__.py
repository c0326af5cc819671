"""What a deploy pipeline does with workloads, each by one command: restart them, apply manifests, and wait.

`selection.py` finds the workloads that are meant, and `restart.py` restarts them a few at a time. `place.py`, `plan.py`
and `apply.py` are for `reroll apply`. What both know of a rollout is in `reroll.rollouts`.
"""
