"""`reroll retry`: go on with a version whose rollout failed."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter


def retry(
    config: str,
    /,
    *,
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None,
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """Go on with the versions of a ConfigMap or Secret that are held back because a rollout with them failed.

    The controller then points the workloads at them that wait. With another content it goes on by itself.

    Example: `reroll retry configmap/app -n shop`

    Exit codes: 0 done, also where nothing was held; 1 the cluster could not be read or written; 2 not understood.

    Parameters
    ----------
    config
        KIND/NAME of the object that people edit, such as configmap/app or secret/db.
    namespace
        Its namespace. Default: the context's.
    kubeconfig
        Path of a kubeconfig. Default: KUBECONFIG or ~/.kube/config.
    context
        Context of the kubeconfig. Default: its current one.
    """
    import asyncio

    from reroll.cli.config_objects import config_of
    from reroll.core.records import ConfigId
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.versions.copies import Copy
    from reroll.versions.hold import let_go

    kind, name = config_of(config)
    cluster = load_config(kubeconfig=kubeconfig, context=context)
    where = ConfigId(kind, namespace or cluster.namespace, name)

    async def work() -> list[Copy]:
        async with Client(cluster) as client:
            return await let_go(client, where)

    released = asyncio.run(work())
    for copy in released:
        print(f"{kind}/{copy.config.name}: no longer held back because of {copy.failed}")
    if not released:
        print(f"no version of {kind}/{name} in namespace {where.namespace} is held back")
    return 0
