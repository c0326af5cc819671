"""Whether the controller is well, check by check: what /livez and /readyz answer."""

from __future__ import annotations

from reroll.controller.reader import Reader
from reroll.controller.watches import Watches
from reroll.web.health import Check


def live_checks() -> list[Check]:
    """That this is answered at all says that the event loop runs."""
    return [Check("loop", True, "")]


def ready_checks(problem: str, watches: Watches, reader: Reader) -> list[Check]:
    """Ready only when every store is synced, and what is followed was read. `problem`: why the API server can't be
    used; "" if it can."""
    checks = [Check("api-server", not problem, problem)]
    for s in watches.of_required():
        name = f"{s.resource}/{s.namespace}" if s.namespace else s.resource
        checks.append(Check(name, s.synced, s.problem or ("" if s.synced else "not read yet")))
    read = reader.caught_up
    checks.append(Check("contents", read, "" if read else "what is followed is not read yet"))
    return checks
