"""The controller's clock: the time of day as this process found it at its start, and from there on in even steps.

The order of two changes, and when one has settled, must not depend on somebody who sets the clock: after a step back,
what arrived later would look earlier, and a change would settle for as long as the step was.
"""

from __future__ import annotations

import time

_STARTED = time.time() - time.monotonic()


def steady_time() -> float:
    """Seconds since the epoch, on a clock that never goes back and never jumps."""
    return _STARTED + time.monotonic()
