"""A look at a made-up namespace, for the parts of the demo that need no cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reroll.core.kinds import DEPLOYMENT
from reroll.demo.observer import EventView, Look, PodView, WorkloadView

MakeLook = Callable[..., Look]


@pytest.fixture
def look() -> MakeLook:
    """Builds a look: `look(web=2)` is a settled Deployment at revision 2; `rolled="..."` adds an Event."""

    def make(rolled: dict[str, str] | None = None, settled: bool = True, **revisions: int) -> Look:
        pods = (PodView(True, True), PodView(settled, True))
        views: dict[str, Any] = {
            name: WorkloadView(name, DEPLOYMENT, 2, revision, pods, settled, True, "")
            for name, revision in revisions.items()
        }
        events = [
            EventView(f"{name} {note} 1", name, "Rolled", f"rolled: {note}")
            for name, note in (rolled or {}).items()
        ]
        return Look(views, tuple(events))

    return make
