"""Is somebody else in the cluster who would act on the same annotations?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from reroll.core.observe import ObjectMeta
from reroll.kube.errors import ApiError
from reroll.kube.ports import Lister
from reroll.kube.resources import Resource

log = structlog.get_logger("reroll")

POLL: Final = 60.0
"""Seconds between two looks."""

_DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
_SELECTORS: Final = ("app.kubernetes.io/name=reloader", "app in (reloader,reloader-reloader)")
"""The labels of Reloader's chart, and of its plain manifests."""
_IMAGE: Final = "stakater/reloader"


class _Container(Struct, gc=False):
    image: str = ""


class _Pod(Struct, gc=False):
    containers: list[_Container] | None = None


class _Template(Struct, gc=False):
    spec: _Pod = msgspec.field(default_factory=_Pod)


class _Spec(Struct, gc=False):
    replicas: int | None = None
    template: _Template = msgspec.field(default_factory=_Template)


class _Deployment(Struct, gc=False):
    metadata: ObjectMeta
    spec: _Spec = msgspec.field(default_factory=_Spec)


class _Deployments(Struct, gc=False):
    items: list[_Deployment] | None = None


_decode = msgspec.json.Decoder(_Deployments).decode


async def find_reloader(client: Lister, namespaces: tuple[str, ...] = ("",)) -> str | None:
    """Which Deployment runs stakater/Reloader, as ``NAMESPACE/NAME``; "" for none, None if it can't be told.

    One that is scaled to nothing does not run.
    """
    told = False
    for namespace in namespaces:
        for selector in _SELECTORS:
            path = _DEPLOYMENTS.path(namespace or None, labelSelector=selector, limit=50)
            try:
                found = _decode(await client.list_page(path)).items or ()
            except ApiError:
                continue
            told = True
            for deployment in found:
                images = [c.image for c in deployment.spec.template.spec.containers or ()]
                if deployment.spec.replicas != 0 and any(_IMAGE in image.lower() for image in images):
                    return f"{deployment.metadata.namespace}/{deployment.metadata.name}"
    return "" if told else None


class ReloaderPresence:
    """Looks whether Reloader runs, and says so when that changes: both together would roll twice.

    `leave`: told True when Reloader's annotations are to be left to it, and False when they are ours to follow.
    `matters`: False where its annotations are none of ours, or ours in any case; then nothing is looked for.
    """

    def __init__(
        self, client: Lister, namespaces: tuple[str, ...], leave: Callable[[bool], None], *, matters: bool
    ) -> None:
        self._client, self._namespaces, self._leave = client, namespaces, leave
        self._matters = matters
        self._found = ""

    async def look(self) -> None:
        """Look once."""
        if not self._matters:
            return
        found = await find_reloader(self._client, self._namespaces)
        if found is None or found == self._found:
            return
        self._found = found
        if found:
            log.warning(
                "stakater/Reloader runs in this cluster: reroll leaves its annotations to it, and follows its own. "
                "Stop Reloader to have reroll follow both; --beside-reloader does so at once",
                deployment=found,
            )
        else:
            log.info("stakater/Reloader is gone: its annotations are followed")
        self._leave(bool(found))

    async def keep_looking(self) -> None:
        """Look again and again, until cancelled."""
        while self._matters:
            await asyncio.sleep(POLL)
            await self.look()
