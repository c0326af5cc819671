"""Manifests in, manifests out: the two readings of `reroll stamp`.

The first learns, the second writes; a workload can stand before the ConfigMap that it reads. Nothing goes out
before all of it is known to be right. Of a stream of any length, the digests are kept in memory, and one document.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, BinaryIO, Final, Protocol

from msgspec import Struct

from reroll.core.records import ConfigId
from reroll.manifests.edit import apply_edits
from reroll.manifests.problem import ManifestError
from reroll.manifests.stamp.consumers import Consumer, consumer
from reroll.manifests.stamp.contents import Contents
from reroll.manifests.stamp.function import configured
from reroll.manifests.stamp.options import Options
from reroll.manifests.stamp.plan import Plan, consumed, plan
from reroll.manifests.stream import Document, read_documents

IN_MEMORY: Final = 64 << 20
"""Up to this size standard input and output wait in memory, above it in a file that has no name."""

_SUFFIXES = (".yaml", ".yml", ".json")

LookUp = Callable[[Sequence[ConfigId], Contents, str], None]
"""(what is not in the stream, where to put it, namespace of what names none)"""


class Writer(Protocol):
    """What has read all sources once, and can write them: `Stamper` here, and `HashNames`."""

    def written(self, documents: Iterable[Document], first: int) -> Iterator[str]:
        """The texts of the documents, the first of which is the stream's `first`th. Raises ManifestError."""
        ...


class Source(Struct):
    """A file, or standard input kept for a second reading."""

    origin: str
    path: Path | None
    kept: IO[bytes] | None = None
    known: tuple[int, int] = (0, 0)

    def documents(self) -> Iterator[Document]:
        """Raises ManifestError, also for a file that can't be read or has changed since the first time."""
        if self.kept is not None:
            self.kept.seek(0)
            yield from read_documents(self.kept, self.origin)
            return
        assert self.path is not None
        try:
            with self.path.open("rb") as file:
                stat = self.path.stat()
                now = (stat.st_mtime_ns, stat.st_size)
                if self.known not in ((0, 0), now):
                    raise ManifestError(self.origin, 0, 0, "was changed while it was being read: try again")
                self.known = now
                yield from read_documents(file, self.origin)
        except OSError as error:
            raise ManifestError(self.origin, 0, 0, f"cannot be read: {error.strerror}") from error


@contextmanager
def sources(paths: Sequence[str], stdin: BinaryIO) -> Iterator[list[Source]]:
    """Files, folders with all below them (names ending in .yaml, .yml and .json, sorted), "-" for standard input,
    which is kept until the end. Raises ManifestError.
    """
    with ExitStack() as kept:
        yield _sources(paths, stdin, kept)


def _sources(paths: Sequence[str], stdin: BinaryIO, stack: ExitStack) -> list[Source]:
    found: list[Source] = []
    for given in paths:
        if given == "-":
            kept: IO[bytes] = stack.enter_context(SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115 - the stack closes it
            shutil.copyfileobj(stdin, kept, 1 << 20)
            found.append(Source("standard input", None, kept))
            continue
        path = Path(given)
        if path.is_dir():
            files = sorted(one for one in path.rglob("*") if one.suffix in _SUFFIXES and one.is_file())
            if not files:
                raise ManifestError(given, 0, 0, "there is no file named .yaml, .yml or .json in this folder")
            found += [Source(str(one), one) for one in files]
        else:
            found.append(Source(given, path))
    return found


class Stamper:
    """The first reading, and what the second has to write."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.contents = Contents(options.key, options.namespace)
        self.consumers: list[Consumer] = []
        self.notes: list[str] = []
        self.changes: list[str] = []
        self._plans: dict[int, list[Plan]] = {}
        self._number = 0

    def learn(self, documents: Iterable[Document]) -> None:
        """Take in what counts. Raises ManifestError."""
        for document in documents:
            placed = document.placed
            if placed and placed[0].path:
                before, self.options = self.options, configured(document, self.options)
                if before.namespace != self.options.namespace:
                    self.contents = Contents(self.options.key, self.options.namespace)
            for one in placed:
                if not self.contents.take(document, one):
                    found = consumer(document, self._number, one, self.options)
                    if found is not None:
                        self.consumers.append(found)
            self._number += 1

    def missing(self) -> list[ConfigId]:
        """What some workload reads and the stream does not have."""
        wanted = {
            c.config: None
            for each in self.consumers
            for c in consumed(each, self.contents)
            if self.contents.state(c, each.where) is None
        }
        return list(wanted)

    def decide(self) -> None:
        """Tell what is to be written. Raises ManifestError."""
        for each in self.consumers:
            found = plan(each, self.contents, self.options)
            self.notes += [note for note in found.notes if note not in self.notes]
            self.changes += [f"{each.where[0]}:{each.where[1]}: {change}" for change in found.changes]
            if found.edits:
                self._plans.setdefault(each.number, []).append(found)

    def written(self, documents: Iterable[Document], first: int) -> Iterator[str]:
        """The texts of the documents, the first of which is the stream's `first`th. Raises ManifestError."""
        for number, document in enumerate(documents, first):
            plans = self._plans.get(number)
            if plans is None:
                yield document.text
            else:
                yield apply_edits(document, [edit for one in plans for edit in one.edits])


def stamped(stamper: Stamper, found: Sequence[Source], look_up: LookUp | None = None) -> None:
    """The first reading of all sources, and the decision. Raises ManifestError, and what `look_up` raises."""
    for source in found:
        stamper.learn(source.documents())
    if look_up is not None and (missing := stamper.missing()):
        look_up(missing, stamper.contents, stamper.options.namespace)
    stamper.decide()


def to_stream(writer: Writer, found: Sequence[Source], out: BinaryIO) -> None:
    """All sources as one stream. Nothing is written to `out` before the last edit is made. Raises ManifestError."""
    number = 0
    with SpooledTemporaryFile(IN_MEMORY) as whole:
        end = b""
        for source in found:
            first = True
            for text in writer.written(source.documents(), number):
                raw = text.encode()
                if first and whole.tell():
                    if end != b"\n":
                        whole.write(b"\n")
                    if not raw.startswith((b"---", b"%")):
                        whole.write(b"---\n")
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                whole.write(raw)
                end, first = raw[-1:], False
                number += 1
        whole.seek(0)
        shutil.copyfileobj(whole, out, 1 << 20)
    out.flush()


def by_file(writer: Writer, found: Sequence[Source]) -> list[tuple[Source, str, str]]:
    """(source, text before, text after) of the files that change. Raises ManifestError."""
    changed: list[tuple[Source, str, str]] = []
    number = 0
    for source in found:
        before: list[str] = []

        def kept(documents: Iterable[Document], texts: list[str] = before) -> Iterator[Document]:
            for document in documents:
                texts.append(document.text)
                yield document

        after = list(writer.written(kept(source.documents()), number))
        number += len(after)
        if before != after:
            changed.append((source, "".join(before), "".join(after)))
    return changed
