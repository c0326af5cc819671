"""Follows one rollout to its end, and tells why where it does not come.

It asks rather than watches: only few rollouts are under way at a time, and a question every second or two survives
any broken connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct

from reroll.core.kinds import DAEMON_SET, STATEFUL_SET
from reroll.core.progress import Progress
from reroll.core.records import WorkloadId
from reroll.kube.errors import ApiError, NotFound
from reroll.kube.ports import Asker
from reroll.rollouts.live import Live, read
from reroll.rollouts.progress import progress, waits_for_a_person
from reroll.rollouts.reasons import Reason, why

_FIRST, _GROWTH, _SLOWEST = 0.25, 1.4, 2.0
_SLACK = 2.0  # seconds that a controller's own verdict may take longer than its deadline
_LOOK_CLOSER = 5.0  # seconds between looks at the pods


class Ended(Struct, frozen=True):
    """How a rollout ended."""

    state: Literal["done", "failed", "timed out"]
    words: str
    reasons: tuple[Reason, ...] = ()
    superseded: bool = False
    """The pod template was changed again meanwhile: this is the end of that later rollout."""


async def follow(
    client: Asker,
    workload: WorkloadId,
    *,
    deadline: float,
    told: Callable[[Progress], None],
    log_lines: int = 10,
    begun: Live | None = None,
    since: float = 0.0,
) -> Ended:
    """Follow the newest rollout of a workload until it is done, has failed, or `deadline` (time.monotonic()) is over.

    `begun`: the workload as the change left it, so that a later change is told from it; None: as the first look finds
    it. `since`: see `core.progress.progress`. Kinds without a progress deadline (StatefulSet, DaemonSet) count as
    failed when a new pod has crashed again and again. Raises ApiError where the workload may not be read.
    """
    delay, closer = _FIRST, time.monotonic() + _LOOK_CLOSER
    moved, most = time.monotonic(), 0
    last = Progress("going", "it was not read yet")
    live: Live | None = None
    superseded = False

    def ended(
        state: Literal["done", "failed", "timed out"], words: str, reasons: tuple[Reason, ...] = ()
    ) -> Ended:
        words += "; its pod template was changed again in the meantime" if superseded else ""
        return Ended(state, words, reasons, superseded)

    while True:
        try:
            live = await read(client, workload)
        except NotFound:
            return ended("failed", "it was deleted in the meantime")
        except ApiError as error:
            if not error.retryable:
                raise
            last = Progress(
                "going", f"the API server does not answer: {error.message}", last.new, last.wanted
            )
        except msgspec.DecodeError as error:
            return ended("failed", f"its state is not understood: {error}")
        else:
            begun = begun or live
            if live.metadata.uid != begun.metadata.uid:
                return ended("failed", "it was deleted and created again in the meantime")
            superseded = superseded or bytes(live.spec.template) != bytes(begun.spec.template)
            last = progress(live, workload.kind, since=since)
        if last.ended or (
            live is not None and last.verdict == "blocked" and not waits_for_a_person(live, workload.kind)
        ):
            return ended("done", last.words)
        if live is not None and last.verdict == "failed":
            return ended(
                "failed", last.words, (await why(client, workload, live, log_lines=log_lines)).reasons
            )
        now = time.monotonic()
        if last.new > most:
            moved, most = now, last.new
        limit = live.spec.progress_deadline_seconds if live is not None and since else None
        if live is not None and limit is not None and now > moved + limit + _SLACK:
            # The verdict on an earlier rollout stands until a count improves, so its controller gives no other.
            found = await why(client, workload, live, log_lines=log_lines)
            return ended("failed", f"no more pods became new within {limit} s; {last.words}", found.reasons)
        if live is not None and now >= closer and workload.kind in (STATEFUL_SET.id, DAEMON_SET.id):
            closer = now + _LOOK_CLOSER
            found = await why(client, workload, live, log_lines=log_lines)
            if found.broken:
                return ended(
                    "failed",
                    f"a new pod crashes again and again, or can't start; {last.words}",
                    found.reasons,
                )
        told(last)
        if time.monotonic() >= deadline:
            reasons = (await why(client, workload, live, log_lines=log_lines)).reasons if live else ()
            return ended("timed out", f"not done in time: {last.words}", reasons)
        await asyncio.sleep(max(0.0, min(delay, deadline - time.monotonic())))
        delay = min(_SLOWEST, delay * _GROWTH)
