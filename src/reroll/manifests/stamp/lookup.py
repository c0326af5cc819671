"""ConfigMaps and Secrets that are not in the stream, asked of the cluster."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable

import msgspec

from reroll.core.observe import ConfigMapObject, SecretObject
from reroll.core.records import ConfigId
from reroll.kube.client import Client
from reroll.kube.errors import NotFound
from reroll.kube.resources import CONFIG_MAPS, SECRETS
from reroll.manifests.stamp.contents import Contents
from reroll.manifests.together import together

_AT_ONCE = 16

_config_map = msgspec.json.Decoder(ConfigMapObject).decode
_secret = msgspec.json.Decoder(SecretObject).decode


async def look_up(client: Client, wanted: Iterable[ConfigId], contents: Contents, namespace: str) -> None:
    """Put what the cluster has of these into `contents`. `namespace` is that of objects that name none.

    Raises ApiError for everything but an object that is not there: what may not be read must not be taken for that.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(config: ConfigId) -> None:
        async with gate:
            resource = CONFIG_MAPS if config.kind == "configmap" else SECRETS
            try:
                body = await client.get(resource.path(config.namespace or namespace, config.name))
            except NotFound:
                contents.asked.add(config)
                return
        values: dict[str, bytes] = {}
        if config.kind == "configmap":
            found = _config_map(body)
            values = {k: v.encode("utf-8", "surrogatepass") for k, v in (found.data or {}).items()}
            values |= {k: base64.b64decode(v) for k, v in (found.binary_data or {}).items()}
            annotations = found.metadata.annotations
        else:
            secret = _secret(body)
            values = {k: base64.b64decode(v) for k, v in (secret.data or {}).items()}
            annotations = secret.metadata.annotations
        contents.asked.add(config)
        contents.add(config, values, annotations, "the cluster")

    await together([one(config) for config in wanted])
