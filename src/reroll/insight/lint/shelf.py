"""The documents of the input, on disk where there are many: lint looks across all of them, again and again, and a
stream can be larger than the memory.

While there is room a document is kept as it is. From then on its text and what it means go to a temporary file
without a name, and are read back when they are asked for; those that were asked for last stay.
"""

from __future__ import annotations

import pickle
import tempfile
import weakref
from collections import OrderedDict
from typing import IO, Final

from reroll.manifests.os_error import naming
from reroll.manifests.stream import Document

ROOM: Final = 16 << 20
"""Characters of text that are kept in memory; what they mean takes some times as much."""
AT_HAND: Final = 32
"""Documents on disk that are kept as well, those that were asked for last."""


class Shelf:
    """Keeps documents. `room` is in characters."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._file: IO[bytes] | None = None
        self._at_hand: OrderedDict[tuple[int, int, int], Document] = OrderedDict()

    def put(self, document: Document) -> Document:
        """The same document, or one that is read back each time. Its objects were read. Raises OSError."""
        self._room -= len(document.text)
        if self._room >= 0:
            return document
        try:
            meaning = pickle.dumps(document.data, pickle.HIGHEST_PROTOCOL)
        except RecursionError:
            return document  # too deep for the file, so it stays
        text = document.text.encode()
        with naming(tempfile.gettempdir()):
            start = self._append(text, meaning)
        return _Shelved(self, document.origin, document.line, (start, len(text), len(meaning)))

    def _append(self, *parts: bytes) -> int:
        """Write to the end of the file, and return where that was."""
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it stays as long as the shelf
            weakref.finalize(self, self._file.close)
        start = self._file.seek(0, 2)
        self._file.writelines(parts)
        return start

    def take(self, document: _Shelved) -> Document:
        """It, whole. Raises OSError."""
        found = self._at_hand.pop(document.place, None)
        if found is None:
            assert self._file is not None
            start, text, meaning = document.place
            self._file.seek(start)
            found = Document(self._file.read(text).decode(), document.origin, document.line)
            # Nobody else can write to a file without a name.
            found.__dict__["data"] = pickle.loads(self._file.read(meaning))
        self._at_hand[document.place] = found
        if len(self._at_hand) > AT_HAND:
            self._at_hand.popitem(last=False)
        return found


class _Shelved(Document):
    """A document on the shelf: all that is asked of it is asked of what is taken from there."""

    def __init__(self, shelf: Shelf, origin: str, line: int, place: tuple[int, int, int]) -> None:
        self.origin, self.line = origin, line
        self.place = place
        self._shelf = shelf

    def __getattribute__(self, name: str) -> object:
        if name in _ASKED:
            return getattr(self._shelf.take(self), name)
        return object.__getattribute__(self, name)


_ASKED: Final = frozenset(("text", "data", "node", "placed"))
