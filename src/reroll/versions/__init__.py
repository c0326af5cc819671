"""Immutable versions of configuration: the copies, what may go, and what can be told of them."""
