"""What is known of a rollout in a cluster: how far it is, why it fails, and how it is taken back.

`live.py` reads a workload as it is now, `progress.py` judges what its status says, `wait.py` follows a rollout to its
end, `reasons.py` tells why one fails, and `rollback.py` takes a restart of our own back. `paths.py` says where a
workload lives in the API.
"""
