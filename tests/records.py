"""Records that tests of several packages begin with."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from reroll.core.records import WorkloadId, WorkloadRecord

_DEPLOYMENT = WorkloadRecord(
    id=WorkloadId("Deployment", "shop", "web"),
    uid="u",
    resource_version="1",
    generation=1,
    annotations={},
    template_annotations={},
    references=(),
    template_hash="t",
    mark=None,
    applied=None,
)


def deployment(**fields: Any) -> WorkloadRecord:
    """The Deployment ``shop/web`` that nobody has seen before, with these fields."""
    return replace(_DEPLOYMENT, **fields)
