"""What becomes of a workload after it was reconciled: all that a reconcile returns, and all that the worker reads.

The worker turns it into calls of the queue (`controller.worker`), so nothing that decides or acts knows the queue.
Errors are exceptions and no results: the worker counts them, logs them and asks again.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class Done(Struct, frozen=True, gc=False):
    """It is at rest until something changes."""


class Again(Struct, frozen=True, gc=False):
    """It goes on at a known time: a change settles, or pods are replaced one by one."""

    after: float
    """Seconds; 0: at once."""
    why: str


class Held(Struct, frozen=True, gc=False):
    """Something stands in its way, and no time is known at which that ends."""

    why: str
    at_least: float | None = None
    """None: a watch tells when it ends, so it is not asked again until then. Otherwise it is asked again with a
    growing delay of at least this many seconds (what the server said in Retry-After, or 0)."""
    failed: str = ""
    """The reason of the request that failed, as `ApiError.reason`, for the metric; "": none failed."""


Result: TypeAlias = Done | Again | Held
