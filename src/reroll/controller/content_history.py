"""What was in config objects a while ago: for a start of pods that is told later than what came after it.

Each kind has a watch of its own, and they don't keep step: a Deployment's change can arrive after a change of a
ConfigMap that came later. What its pods read is what was there at its resourceVersion, for one etcd numbers all
its writes in one sequence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from reroll.core.records import ConfigId, ConfigState

KEPT: Final = 300.0
"""Seconds for which it is kept: longer than any watch stands still unnoticed."""
MOST: Final = 4096
"""How many contents are kept at most, over all objects."""


class ContentHistory:
    """Earlier states of the objects that changed of late, as digests, by the version that ended each."""

    def __init__(self, now: Callable[[], float], most: int = MOST) -> None:
        self._now, self._most = now, most
        self._order: deque[tuple[float, ConfigId]] = deque()
        self._states: dict[ConfigId, deque[tuple[int, ConfigState]]] = {}

    def add(self, config: ConfigId, state: ConfigState, until: int) -> None:
        """The object was in this state before its `until`; call it in the order of its versions."""
        now = self._now()
        self._order.append((now, config))
        self._states.setdefault(config, deque()).append((until, state))
        while len(self._order) > self._most or self._order[0][0] < now - KEPT:
            _, oldest = self._order.popleft()
            states = self._states[oldest]
            states.popleft()
            if not states:
                del self._states[oldest]

    def forget(self, gone: Callable[[ConfigId], bool]) -> None:
        """Forget the states of these objects, because what they hold can't be compared any longer."""
        self._order = deque((when, config) for when, config in self._order if not gone(config))
        self._states = {config: states for config, states in self._states.items() if not gone(config)}

    def of(self, config: ConfigId) -> list[tuple[int, ConfigState]]:
        """Its states but the present one, oldest first, each with the version that began it; 0: not known."""
        states = self._states.get(config, ())
        return [(began, state) for began, (_, state) in zip(self._begins(config), states, strict=False)]

    def _begins(self, config: ConfigId) -> list[int]:
        return [0, *(until for until, _ in self._states.get(config, ()))]

    def ended(self, config: ConfigId) -> int:
        """The version that began its present state; 0: not known."""
        return self._begins(config)[-1]

    def at(self, config: ConfigId, version: int) -> ConfigState | None:
        """Its state at that version of the server; None: as it is now, as far as is known."""
        for until, state in self._states.get(config, ()):
            if until > version:
                return state
        return None
