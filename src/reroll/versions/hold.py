"""Versions whose rollout failed: nobody else is pointed at them until somebody says so, or there is another content.

What is held stands on the copy itself, in an annotation, so that it outlives the controller and `kubectl describe`
shows it.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
import structlog

from reroll.core.follow import Outcome
from reroll.core.records import ConfigId, WorkloadId, WorkloadRecord
from reroll.kube.errors import ApiError
from reroll.kube.ports import Lister, Patcher
from reroll.versions.collect import RESOURCES, list_copies
from reroll.versions.copies import FAILED, Copy, source_label

log = structlog.get_logger("reroll.versions")


async def hold(api: Patcher, record: WorkloadRecord, outcome: Outcome) -> None:
    """Hold the versions that a workload is pointed at where its rollout failed, and let go of them where that healed.
    What can't be written is told in the log: the end of the rollout is told in any case."""
    if outcome not in ("failed", "healed"):
        return
    value = _words(record.id) if outcome == "failed" else None
    for kind, name in sorted({(each.kind, each.copy) for each in record.references if each.copy}):
        body = msgspec.json.encode({"metadata": {"annotations": {FAILED: value}}})
        try:
            await api.patch(RESOURCES[kind].path(record.id.namespace, name), body)
        except ApiError as error:
            log.warning(
                "a version was not held", version=f"{kind}/{record.id.namespace}/{name}", error=str(error)
            )


class Releaser(Lister, Patcher, Protocol):
    """What is asked of the API server."""


async def let_go(api: Releaser, source: ConfigId) -> list[Copy]:
    """Hold no version of this object any longer; gives those that were held, as they were. Raises ApiError."""
    copies = await list_copies(api, [source.namespace], [source.kind], source=source_label(source.name))
    held = [copy for copy in copies if copy.failed and copy.source == source.name]
    for copy in held:
        metadata = {"annotations": {FAILED: None}, "uid": copy.uid}
        path = RESOURCES[copy.config.kind].path(copy.config.namespace, copy.config.name)
        await api.patch(path, msgspec.json.encode({"metadata": metadata}))
    return held


def _words(workload: WorkloadId) -> str:
    return f"{workload.kind.lower()}/{workload.name}"
