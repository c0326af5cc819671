"""Key and value pairs as kustomize's generators take them: env files, literals, and files by key.

Nothing is cleverer here than there, for the content makes the name: an env file is no shell script, so quotes,
``export`` and blanks at the end of a line are part of what is written.
"""

from __future__ import annotations

import codecs
from typing import Final

_BLANKS: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""White space to Go; Python's `strip` takes four control characters for it too."""


def read_env_file(content: bytes) -> list[tuple[str, str]]:
    """The pairs of an env file, in order.

    A line is ``KEY=VALUE``; a line without ``=`` is a key with no value. Blanks before a key, empty lines and lines
    that begin with ``#`` are nothing. A byte order mark is skipped. Raises ValueError, naming the line and not what
    is in it.
    """
    found: list[tuple[str, str]] = []
    for number, raw in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        try:
            line = raw.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise ValueError(f"line {number} is not UTF-8 text: give it as one of the files") from None
        key, _, value = line.lstrip(_BLANKS).partition("=")
        if key and not key.startswith("#"):
            found.append((key, value))
    return found


def read_literal(literal: str) -> tuple[str, str]:
    """``KEY=VALUE``, the value without one pair of quotes around it. Raises ValueError, without what was given."""
    key, equals, value = literal.partition("=")
    if not key or not equals:
        raise ValueError("a literal is written KEY=VALUE")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    return key, value


def read_file_source(source: str) -> tuple[str, str]:
    """(key, path) of ``[KEY=]PATH``; without a key it is the file's name. Raises ValueError, without what was given:
    it can be a Secret's content in the wrong list."""
    if source.count("=") > 1:
        raise ValueError("neither a key nor a path can have a = in it")
    key, equals, path = source.partition("=")
    if not equals:
        key, path = source.rstrip("/").rpartition("/")[2], source
    if not key or not path:
        raise ValueError("a file is written PATH or KEY=PATH")
    return key, path
