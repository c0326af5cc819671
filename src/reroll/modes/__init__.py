"""What can be done to a stale workload: a file a mode, one small interface."""
