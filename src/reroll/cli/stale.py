"""`reroll stale`: which pods run older configuration than the cluster now holds?"""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter


def stale(
    *workloads: str,
    namespace: Annotated[list[str] | None, Parameter(name=["--namespace", "-n"], negative="")] = None,
    all_namespaces: Annotated[bool, Parameter(name=["--all-namespaces", "-A"], negative="")] = False,
    selector: Annotated[str, Parameter(name=["--selector", "-l"])] = "",
    sure: Literal["certain", "likely", "possible"] = "possible",
    output: Annotated[
        Literal["table", "json", "csv", "junit", "sarif", "html"], Parameter(name=["--output", "-o"])
    ] = "table",
    exit_code: Annotated[bool, Parameter(negative="")] = False,
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """Tell which pods run older configuration than the cluster now holds, by which reference, and how sure that is.

    It needs no controller and no annotation: it compares when containers started with when the keys that they read
    were last written. It writes nothing, and asks for no content of a ConfigMap or Secret.

    Example: `reroll stale -A --sure likely --exit-code`

    More: `reroll stale deployment/web -n shop`, `reroll stale -A -l team=shop -o junit > stale.xml`

    Exit codes: 0 done (with `--exit-code`: no pod is stale), 1 with `--exit-code`: some are, or the cluster could
    not be read; 2 not understood.

    Parameters
    ----------
    workloads
        KIND/NAME, such as deployment/web, sts/db or ds/agent. Default: all that have pods.
    namespace
        Look in this namespace; may be given several times. Default: the context's.
    all_namespaces
        Look in all namespaces.
    selector
        Only Deployments, StatefulSets and DaemonSets whose labels match, such as team=shop.
    sure
        Leave out what is less sure: certain and likely are variables and subPath mounts, which a running container
        never sees change; possible are mounted files as well, which the process may have read again.
    output
        table for people; json, csv, junit, sarif or html for programs and pages.
    exit_code
        Exit with 1 if a pod is stale.
    kubeconfig
        Path of a kubeconfig. Default: KUBECONFIG or ~/.kube/config.
    context
        Context of the kubeconfig. Default: its current one.
    """
    import asyncio
    import sys
    import time

    import msgspec

    from reroll.cli.failure import Failure
    from reroll.cli.workloads import scopes_of, workloads_of
    from reroll.core.labels import LabelSelector
    from reroll.insight.stale.audit import audit
    from reroll.insight.stale.report import Report
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.kube.errors import NotFound
    from reroll.kube.pages import METADATA_ONLY_OBJECT
    from reroll.rollouts.paths import path

    cluster = load_config(kubeconfig=kubeconfig, context=context)
    scopes = scopes_of(namespace, all_namespaces, cluster.namespace)
    only = workloads_of(workloads, scopes)
    try:
        LabelSelector.parse(selector)
    except ValueError as error:
        raise Failure(str(error), 2) from error

    async def ask() -> Report:
        async with Client(cluster) as client:
            for workload in only:
                try:
                    await client.get(path(workload), accept=METADATA_ONLY_OBJECT)
                except NotFound as error:
                    raise Failure(
                        f"there is no {workload.kind.lower()}/{workload.name} in namespace {workload.namespace}"
                    ) from error
            return await audit(
                client,
                now=time.time(),
                namespaces=scopes,
                selector=selector,
                only=only or None,
                at_least=sure,
            )

    try:
        found = asyncio.run(ask())
    except msgspec.DecodeError as error:
        raise Failure(f"an answer of the API server is not understood: {error}") from error
    if output == "table":
        from reroll.cli.staleness import show

        show(found)
    elif output == "json":
        from reroll.cli.output import dump

        dump(found, "json")
    elif output == "html":
        from reroll.insight.stale.page import as_html

        sys.stdout.write(as_html(found))
    else:
        from reroll.insight.stale.formats import as_csv, as_junit, as_sarif

        sys.stdout.write({"csv": as_csv, "junit": as_junit, "sarif": as_sarif}[output](found))
    if output != "table":
        for note in found.notes:
            print(f"reroll: {note}", file=sys.stderr)
    return 1 if exit_code and found.stale else 0
