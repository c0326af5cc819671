"""The way of one change: a file a step."""
