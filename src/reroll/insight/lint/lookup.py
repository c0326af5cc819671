"""What the cluster has of the config objects that the input refers to."""

from __future__ import annotations

import asyncio

import msgspec

from reroll.core.policy import SHARE_WITH
from reroll.insight.lint.before import content_digest
from reroll.insight.lint.rules.follow import kinds_of
from reroll.insight.lint.shape import mapping, strings
from reroll.insight.lint.uses import Kind
from reroll.insight.lint.world import Known, World
from reroll.kube.client import Client
from reroll.kube.errors import Forbidden, NotFound
from reroll.kube.resources import CONFIG_MAPS, SECRETS
from reroll.manifests.together import together

_AT_ONCE = 16
_KINDS: dict[Kind, str] = {"configmap": "ConfigMap", "secret": "Secret"}


async def look_up(client: Client, world: World, namespace: str) -> None:
    """Fill `world.live`: what workloads refer to or follow by name and the input does not have, and what the input
    has and may be immutable in the cluster. `namespace` is that of objects that name none. Of content, a digest is
    kept.

    Raises ApiError for everything but an object that is not there, and one that is only followed by name and may not
    be read: a name alone may mean a ConfigMap as well as a Secret.
    """
    wanted: set[tuple[Kind, str, str]] = {
        (one.config, one.namespace, one.name) for one in world.configs if one.name
    }
    followed: set[tuple[Kind, str, str]] = set()
    for workload in world.workloads:
        wanted |= {
            (use.kind, workload.namespace, use.name)
            for use in workload.uses
            if world.find(use.kind, workload.namespace, use.name) is None
        }
        followed |= {
            (kind, item.namespace or workload.namespace, item.pattern)
            for item in workload.follows
            if item.syntax == "exact"
            for kind in kinds_of(item)
            if world.find(kind, item.namespace or workload.namespace, item.pattern) is None
        }
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(kind: Kind, home: str, name: str) -> None:
        resource = CONFIG_MAPS if kind == "configmap" else SECRETS
        async with gate:
            try:
                body = await client.get(resource.path(home or namespace, name))
            except NotFound:
                world.live[kind, home, name] = None
                return
            except Forbidden:
                if (kind, home, name) in wanted:
                    raise
                return
        value = {**mapping(msgspec.json.decode(body)), "kind": _KINDS[kind]}
        annotations = strings(mapping(value.get("metadata")).get("annotations"))
        keys = frozenset([*mapping(value.get("data")), *mapping(value.get("binaryData"))])
        immutable = value.get("immutable") is True
        world.live[kind, home, name] = Known(
            keys, immutable, content_digest(value), "the cluster", annotations.get(SHARE_WITH, "")
        )

    await together([one(kind, home, name) for kind, home, name in sorted(wanted | followed)])
