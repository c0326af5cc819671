"""What a deploy pipeline does with workloads, each by one command: restart them, apply manifests, and wait.

`selection.py` finds the workloads that are meant, `restart.py` restarts them a few at a time, `progress.py` judges
what their status says, `wait.py` follows a rollout to its end, `reasons.py` tells why one fails, and `rollback.py`
takes a restart of our own back. `place.py`, `plan.py` and `apply.py` are for `reroll apply`.
"""
