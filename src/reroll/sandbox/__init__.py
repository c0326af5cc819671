"""A Kubernetes API in memory: a stage for demos, what-if runs and fast tests. Not a second Kubernetes.

kinds ─► storage ─► api (HTTP, patches, discovery, tables) and rollouts (what controllers and kubelets do)
"""
