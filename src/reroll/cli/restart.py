"""`reroll restart`: restart workloads, a few at a time, and tell whether it worked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from reroll.core.selector import Selector


def restart(
    *workloads: str,
    namespace: Annotated[list[str] | None, Parameter(name=["--namespace", "-n"], negative="")] = None,
    all_namespaces: Annotated[bool, Parameter(name=["--all-namespaces", "-A"], negative="")] = False,
    selector: Annotated[str, Parameter(name=["--selector", "-l"])] = "",
    consumers_of: Annotated[list[str] | None, Parameter(negative="")] = None,
    only_stale: Annotated[bool, Parameter(negative="")] = False,
    sure: Literal["certain", "likely", "possible"] = "possible",
    method: Literal["rollout", "delete-pods", "evict"] = "rollout",
    wait: Annotated[bool, Parameter(negative="")] = False,
    timeout: str = "10m",
    max_in_flight: int = 10,
    rollback_on_failure: Annotated[bool, Parameter(negative="")] = False,
    log_lines: int = 10,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    output: Annotated[Literal["text", "json", "yaml"], Parameter(name=["--output", "-o"])] = "text",
    exit_code: Annotated[bool, Parameter(negative="")] = False,
    field_manager: str = "reroll-restart",
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """Restart workloads, a few at a time; follow each to its end, and tell why where one fails.

    Workloads are named, or found by label, by what they consume, or by running older configuration; given together
    these narrow down. It needs no controller. After a failure no further workload is begun.

    Example: `reroll restart --consumers-of configmap/app --wait -n shop`

    More: `reroll restart deployment/web sts/db --wait --rollback-on-failure`,
    `reroll restart -A --only-stale --sure likely --wait --exit-code`

    Exit codes: 0 done; 1 failed; 2 not understood; 3 not done within the time; 4 with `--exit-code`: there was
    nothing to do.

    Parameters
    ----------
    workloads
        KIND/NAME, such as deployment/web, sts/db or ds/agent.
    namespace
        Look in this namespace; may be given several times. Default: the context's.
    all_namespaces
        Look in all namespaces.
    selector
        Workloads whose labels match, such as team=shop.
    consumers_of
        Workloads that consume this, such as configmap/app or secret/db#password; may be given several times.
    only_stale
        Only those whose pods run older configuration, as `reroll stale` tells.
    sure
        With --only-stale: leave out what is less sure.
    method
        rollout changes the pod template, as kubectl rollout restart does; evict and delete-pods leave it, and have the
        pods go one after another, each when all others are ready: evict within their PodDisruptionBudgets.
    wait
        Wait for the end of each rollout. The other two methods always do.
    timeout
        How long to wait for all together, such as 90s or 10m.
    max_in_flight
        How many workloads at a time.
    rollback_on_failure
        Put the pod template back to what it was before, where a rollout fails or does not end in time. Waits.
    log_lines
        How many of the last lines of a failing container's log to show; 0: none.
    dry_run
        Change nothing; tell what would be restarted.
    output
        text for people; json or yaml for programs, with the progress on standard error.
    exit_code
        Exit with 4 if there is nothing to restart.
    field_manager
        The name under which the annotation is written.
    kubeconfig
        Path of a kubeconfig. Default: KUBECONFIG or ~/.kube/config.
    context
        Context of the kubeconfig. Default: its current one.
    """
    import asyncio
    import sys

    import msgspec

    from reroll.cli.failure import Failure
    from reroll.cli.following import summary, view
    from reroll.cli.output import dump
    from reroll.cli.workloads import scopes_of, workloads_of
    from reroll.core.durations import parse_duration
    from reroll.core.kinds import KINDS
    from reroll.core.labels import LabelSelector
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.pipeline.restart import Options
    from reroll.pipeline.restart import restart as restart_all
    from reroll.pipeline.result import Result
    from reroll.pipeline.selection import Wanted, select

    if not (workloads or selector or consumers_of or only_stale):
        raise Failure(
            "say which workloads: KIND/NAME, --selector, --consumers-of or --only-stale, such as "
            "reroll restart deployment/web",
            2,
        )
    if rollback_on_failure and method != "rollout":
        raise Failure(f"--rollback-on-failure is for --method rollout: {method} changes no pod template", 2)
    if max_in_flight < 1:
        raise Failure("--max-in-flight is at least 1", 2)
    if log_lines < 0:
        raise Failure("--log-lines is at least 0", 2)
    try:
        seconds = parse_duration(timeout)
    except ValueError as error:
        raise Failure(f"--timeout: {timeout!r} is {error}", 2) from error
    try:
        LabelSelector.parse(selector)
    except ValueError as error:
        raise Failure(str(error), 2) from error
    selectors = _selectors(consumers_of or ())
    cluster = load_config(kubeconfig=kubeconfig, context=context)
    scopes = scopes_of(namespace, all_namespaces, cluster.namespace)
    wanted = Wanted(
        scopes=scopes,
        names=workloads_of(workloads, scopes, KINDS),
        labels=selector,
        consumers_of=selectors,
        only_stale=only_stale,
        sure=sure,
    )
    options = Options(
        method=method,
        wait=wait or rollback_on_failure,
        timeout=seconds,
        max_in_flight=max_in_flight,
        rollback=rollback_on_failure,
        dry_run=dry_run,
        log_lines=log_lines,
    )

    async def work() -> Result:
        async with Client(cluster, field_manager=field_manager) as client:
            targets, notes = await select(client, wanted)
            with view(machine=output != "text") as shown:
                done = await restart_all(client, targets, options, shown)
            return Result(done.outcomes, tuple(notes))

    try:
        result = asyncio.run(work())
    except msgspec.DecodeError as error:
        raise Failure(f"an answer of the API server is not understood: {error}") from error
    for note in result.notes:
        print(f"reroll: {note}", file=sys.stderr)
    if output == "text":
        print(summary(result))
    else:
        dump(result, output)
    return result.code(exit_code=exit_code)


def _selectors(words: Sequence[str]) -> tuple[Selector, ...]:
    from reroll.cli.failure import Failure
    from reroll.core.selector import parse_items

    found: list[Selector] = []
    for word in words:
        items = parse_items(word)
        if items.errors or not items.selectors:
            why = items.errors[0].message if items.errors else "it names nothing"
            raise Failure(
                f"--consumers-of {word!r}: {why}; write configmap/NAME, secret/NAME or configmap/NAME#KEY", 2
            )
        found += items.selectors
    return tuple(found)
