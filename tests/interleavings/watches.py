"""Watches as steps: the events of each kind wait in a line of their own, per controller, until they are delivered.

In order within a kind, in any order between kinds. A watch that broke tells nothing more until it lists again: then it
hands on what is there (of config objects the names alone) and what is gone, as `kube.reflector` does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import msgspec

from tests.interleavings.server import NAMESPACE, Server, Write


class Handler(Protocol):
    """As `kube.reflector.Handler`."""

    def upsert(self, obj: Any, *, live: bool) -> None: ...
    def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None: ...
    def known(self) -> Iterable[tuple[str, str]]: ...
    def synced(self) -> None: ...


class _List(NamedTuple):
    version: str
    items: list[bytes]


class _Meta(msgspec.Struct):
    name: str
    resource_version: str = msgspec.field(name="resourceVersion")


class _Named(msgspec.Struct):
    metadata: _Meta


_decode_named = msgspec.json.Decoder(_Named).decode


class Watch:
    """One kind's, of one controller."""

    def __init__(
        self,
        server: Server,
        plural: str,
        handler: Handler,
        decode: Callable[[bytes], Any],
        listed: Callable[[str, str, str], None] | None = None,
    ) -> None:
        self.plural = plural
        self._server, self._handler, self._decode, self._listed = server, handler, decode, listed
        self.line: deque[Write | _List] = deque()
        self.broken = False
        self.synced = False

    def take(self, write: Write) -> None:
        """The server tells of a write."""
        if not self.broken and write.key.plural == self.plural:
            self.line.append(write)

    def list(self) -> None:
        """List, and watch from there."""
        self.broken = False
        self.line.clear()
        self.line.append(_List(*self._server.snapshot(self.plural)))

    def drop(self) -> None:
        """The connection is gone, and what was on its way is lost."""
        self.broken = True
        self.line.clear()

    def words(self) -> str:
        """What is delivered next."""
        first = self.line[0]
        if isinstance(first, _List):
            return f"list of {self.plural}"
        return f"{first.type} {first.key} v{first.after['metadata']['resourceVersion']}"

    def deliver(self) -> None:
        """The next event arrives."""
        event = self.line.popleft()
        if isinstance(event, _List):
            self._take_list(event)
        elif event.type == "DELETED":
            version = event.after["metadata"]["resourceVersion"]
            self._handler.delete(NAMESPACE, event.key.name, live=True, version=version)
        else:
            self._handler.upsert(self._decode(event.raw), live=True)

    def _take_list(self, found: _List) -> None:
        seen = set()
        for raw in found.items:
            meta = _decode_named(raw).metadata
            seen.add((NAMESPACE, meta.name))
            if self._listed is not None:
                self._listed(NAMESPACE, meta.name, meta.resource_version)
            else:
                self._handler.upsert(self._decode(raw), live=False)
        for at in sorted(set(self._handler.known()) - seen):
            self._handler.delete(*at, live=False, version=found.version)
        self.synced = True
        self._handler.synced()
