"""The one exception for everything that can be wrong about how to reach and be known to an API server."""

from __future__ import annotations


class ConfigError(Exception):
    """The way to the API server is not usable as configured.

    The message is for people: the file and the field (or the environment variable), what is wrong with it,
    and what to do. It never holds a token, a password or a key.
    """
