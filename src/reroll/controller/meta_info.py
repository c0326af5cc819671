"""The ConfigMap ``reloader-meta-info``, by which Reloader tells others how it was started."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog

from reroll import __version__
from reroll.kube.errors import AlreadyExists, ApiError
from reroll.kube.ports import Sender
from reroll.kube.resources import CONFIG_MAPS

log = structlog.get_logger("reroll.controller")

NAME: Final = "reloader-meta-info"
LABELS: Final = {"reloader.stakater.com/meta-info": "reloader"}


async def publish(client: Sender, namespace: str, deployment: str, options: Mapping[str, Any]) -> None:
    """Write it, once. `options`: the flags that were given, by name. Who may not write it goes on without."""
    build = {
        "releaseVersion": __version__,
        "edition": "reroll",
        "goVersion": f"python {platform.python_version()}",
    }
    data = {
        "buildInfo": build,
        "reloaderOptions": dict(options),
        "deploymentInfo": {"name": deployment, "namespace": namespace},
    }
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": namespace, "labels": LABELS},
        "data": {key: msgspec.json.encode(value).decode() for key, value in data.items()},
    }
    body = msgspec.json.encode(manifest)
    try:
        try:
            await client.create(CONFIG_MAPS.path(namespace), body)
        except AlreadyExists:
            await client.patch(CONFIG_MAPS.path(namespace, NAME), body)
    except ApiError as error:
        log.warning("the ConfigMap with reroll's version was not written", name=NAME, problem=str(error))
