"""`reroll explain`: why a workload is rolled, or not."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from reroll.cli.settings_flags import SettingsFlags


def explain(
    workload: str,
    /,
    *,
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None,
    output: Annotated[Literal["text", "json", "yaml"], Parameter(name=["--output", "-o"])] = "text",
    key_namespace: str | None = None,
    key_secret: str | None = None,
    exit_code: Annotated[bool, Parameter(negative="")] = False,
    kubeconfig: str | None = None,
    context: str | None = None,
    settings: SettingsFlags | None = None,
) -> int:
    """Tell what a workload consumes, whether its pods are stale, and what reroll would do now and why.

    It reads the cluster and writes nothing; no controller has to run. No content of a ConfigMap or Secret is
    shown, only digests. The answer is that of a controller with these settings: options, `REROLL_*` in the
    environment, or a file (`--config`).

    Example: `reroll explain deployment/web -n shop`

    Parameters
    ----------
    workload
        KIND/NAME, such as deployment/web, sts/db or cj/report; of a custom kind by its plural, `clonesets/web`, or by
        plural and group, `clonesets.apps.kruise.io/web`.
    namespace
        Its namespace. Default: the context's.
    output
        text for people, json or yaml for programs.
    key_namespace
        Namespace of the Secret that holds the digest key. Default: `reroll`, then `reloader`, then the context's, then
        the workload's.
    key_secret
        Name of that Secret.
    exit_code
        Exit with 4 if the workload is stale.
    kubeconfig
        Path of a kubeconfig. Default: KUBECONFIG or ~/.kube/config.
    context
        Context of the kubeconfig. Default: its current one.
    """
    import asyncio

    from reroll.cli.failure import Failure
    from reroll.cli.output import dump
    from reroll.controller.digest_key import key_places
    from reroll.core.kinds import KINDS, find_kind
    from reroll.core.records import WorkloadId
    from reroll.insight.explain import explain as answer
    from reroll.insight.explanation import Explanation
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.kube.errors import NotFound

    in_force = (settings or SettingsFlags()).load(
        key_namespace=key_namespace, key_secret=key_secret, kubeconfig=kubeconfig, context=context
    )
    kind_word, slash, name = workload.partition("/")
    kind = find_kind(kind_word, {**KINDS, **in_force.followed_kinds()})
    if not slash or not name or kind is None:
        raise Failure(
            f"{workload!r} is no workload: write KIND/NAME, such as deployment/web, sts/db or ds/agent", 2
        )
    cluster = load_config(kubeconfig=in_force.kubeconfig or None, context=in_force.context or None)
    where = WorkloadId(kind.id, namespace or cluster.namespace, name)
    places = (
        [(in_force.key_namespace, in_force.key_secret)]
        if in_force.key_namespace
        else key_places(in_force.key_secret, cluster.namespace, where.namespace)
    )

    async def ask() -> Explanation:
        async with Client(cluster) as client:
            return await answer(client, where, in_force, key_places=places)

    try:
        found = asyncio.run(ask())
    except NotFound as error:
        raise Failure(f"there is no {kind.id.lower()}/{name} in namespace {where.namespace}") from error
    if output == "text":
        from reroll.cli.explanation import show

        show(found)
    else:
        dump(found, output)
    return 4 if exit_code and found.stale else 0
