"""`reroll explain`: why a workload is rolled, or not."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter


def explain(
    workload: str,
    /,
    *,
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None,
    output: Annotated[Literal["text", "json", "yaml"], Parameter(name=["--output", "-o"])] = "text",
    auto_all: Annotated[bool, Parameter(negative="")] = False,
    cross_namespace: Annotated[bool, Parameter(negative="")] = False,
    custom_kinds: str = "",
    key_namespace: str | None = None,
    key_secret: str = "reroll-digest-key",
    exit_code: Annotated[bool, Parameter(negative="")] = False,
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """Tell what a workload consumes, whether its pods are stale, and what reroll would do now and why.

    It reads the cluster and writes nothing; no controller has to run. No content of a ConfigMap or Secret is
    shown, only digests.

    Example: `reroll explain deployment/web -n shop`

    Parameters
    ----------
    workload
        KIND/NAME, such as deployment/web, sts/db or cj/report.
    namespace
        Its namespace. Default: the context's.
    output
        text for people, json or yaml for programs.
    auto_all
        Explain as for a controller that runs with `--auto-all`.
    cross_namespace
        Explain as for a controller that runs with `--cross-namespace`.
    custom_kinds
        Further kinds, as for `reroll controller`, such as `clonesets.v1alpha1.apps.kruise.io`; a workload of such a
        kind is named by its plural, `clonesets/web`, or by plural and group, `clonesets.apps.kruise.io/web`.
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
    from reroll.core.kinds import KINDS, find_kind, followed_kinds
    from reroll.core.policy import PolicyDefaults
    from reroll.core.records import WorkloadId
    from reroll.insight.explain import Explanation
    from reroll.insight.explain import explain as answer
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.kube.errors import NotFound

    kind_word, slash, name = workload.partition("/")
    try:
        kinds = {**KINDS, **followed_kinds("", custom_kinds)}
    except ValueError as error:
        raise Failure(str(error), 2) from error
    kind = find_kind(kind_word, kinds)
    if not slash or not name or kind is None:
        raise Failure(
            f"{workload!r} is no workload: write KIND/NAME, such as deployment/web, sts/db or ds/agent", 2
        )
    cluster = load_config(kubeconfig=kubeconfig, context=context)
    where = WorkloadId(kind.id, namespace or cluster.namespace, name)
    places = (
        [(key_namespace, key_secret)]
        if key_namespace
        else key_places(key_secret, cluster.namespace, where.namespace)
    )

    async def ask() -> Explanation:
        async with Client(cluster) as client:
            return await answer(
                client,
                where,
                PolicyDefaults(auto_all=auto_all, allow_cross_namespace=cross_namespace),
                key_places=places,
                kinds=kinds,
            )

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
