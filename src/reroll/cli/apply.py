"""`reroll apply`: apply manifests, and have those workloads restarted that would not notice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from reroll.pipeline.apply import ApplyResult


def apply(
    *files: Annotated[str, Parameter(allow_leading_hyphen=True)],
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None,
    force_conflicts: Annotated[bool, Parameter(negative="")] = False,
    restart: bool = True,
    mounted_files: bool = True,
    method: Literal["rollout", "delete-pods", "evict"] = "rollout",
    wait: bool = True,
    timeout: str = "10m",
    max_in_flight: int = 10,
    rollback_on_failure: Annotated[bool, Parameter(negative="")] = False,
    log_lines: int = 10,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    output: Annotated[Literal["text", "json", "yaml"], Parameter(name=["--output", "-o"])] = "text",
    exit_code: Annotated[bool, Parameter(negative="")] = False,
    field_manager: str = "reroll-apply",
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """Apply manifests, restart the workloads that consume what changed and would not notice, and wait for all.

    Applies server-side: namespaces first, then definitions, configuration, and the rest. All is tried before anything
    is written. A workload whose pod template the apply changes is not restarted again, and one that a controller
    follows is left to it; both are waited for.

    Example: `helm template web ./chart | reroll apply -`

    More: `reroll apply deploy/ -n shop --dry-run`, `reroll apply deploy/ --rollback-on-failure --timeout 5m`

    Exit codes: 0 done; 1 failed; 2 not understood, nothing was written; 3 applied, and not all rollouts were done
    within the time; 4 with `--exit-code`: nothing changed.

    Parameters
    ----------
    files
        Files, folders, or - for standard input.
    namespace
        Namespace of objects that name none. Default: the context's.
    force_conflicts
        Take over fields that another manager owns.
    restart
        Whether workloads are restarted that would not notice.
    mounted_files
        Whether workloads count that have what changed as mounted files alone, which the kubelet refreshes.
    method
        How they are restarted: see reroll restart.
    wait
        Whether to wait for the end of each rollout.
    timeout
        How long to wait for all together, such as 90s or 10m.
    max_in_flight
        How many workloads at a time.
    rollback_on_failure
        Take a restart back that fails or does not end in time. What was applied stays applied.
    log_lines
        How many of the last lines of a failing container's log to show; 0: none.
    dry_run
        Change nothing; print the plan, as the server answers to a dry run.
    output
        text for people; json or yaml for programs, with the progress on standard error.
    exit_code
        Exit with 4 if nothing changed.
    field_manager
        The name that owns the applied fields.
    kubeconfig
        Path of a kubeconfig. Default: KUBECONFIG or ~/.kube/config.
    context
        Context of the kubeconfig. Default: its current one.
    """
    import asyncio
    import sys

    import msgspec

    from reroll.cli.failure import Failure
    from reroll.cli.following import view
    from reroll.cli.output import dump
    from reroll.core.durations import parse_duration
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.manifests.problem import ManifestError
    from reroll.pipeline.apply import ApplyOptions
    from reroll.pipeline.apply import apply as apply_all
    from reroll.pipeline.place import read_manifests
    from reroll.pipeline.restart import Options

    if unknown := [file for file in files if file.startswith("-") and file != "-"]:
        raise Failure(f"unknown option {unknown[0]}: reroll apply --help tells those that there are", 2)
    if not files:
        raise Failure(
            "say what to apply: files, folders, or - for standard input, such as reroll apply deploy/", 2
        )
    if rollback_on_failure and (method != "rollout" or not wait):
        raise Failure("--rollback-on-failure is for --method rollout, and waits", 2)
    if max_in_flight < 1:
        raise Failure("--max-in-flight is at least 1", 2)
    if log_lines < 0:
        raise Failure("--log-lines is at least 0", 2)
    try:
        seconds = parse_duration(timeout)
    except ValueError as error:
        raise Failure(f"--timeout: {timeout!r} is {error}", 2) from error
    cluster = load_config(kubeconfig=kubeconfig, context=context)
    try:
        manifests = read_manifests(files, sys.stdin.buffer)
    except ManifestError as error:
        raise Failure(str(error), 2) from error
    options = ApplyOptions(
        restart=Options(
            method=method,
            wait=wait,
            timeout=seconds,
            max_in_flight=max_in_flight,
            rollback=rollback_on_failure,
            dry_run=dry_run,
            log_lines=log_lines,
        ),
        namespace=namespace or cluster.namespace,
        force_conflicts=force_conflicts,
        files=mounted_files,
        restarts=restart,
    )

    async def work() -> ApplyResult:
        async with Client(cluster, field_manager=field_manager) as client:
            with view(machine=output != "text") as shown:
                return await apply_all(client, manifests, options, shown, _tell if output == "text" else None)

    try:
        result = asyncio.run(work())
    except msgspec.DecodeError as error:
        raise Failure(f"an answer of the API server is not understood: {error}") from error
    if output == "text":
        print(_summary(result))
    else:
        dump(result, output)
    return result.code(exit_code=exit_code)


def _tell(result: ApplyResult) -> None:
    """Print what became of the objects, before the workloads' turn comes."""
    for each in result.objects:
        keys = f" ({', '.join(each.keys)})" if each.keys and each.state == "configured" else ""
        words = f": {each.message}" if each.message else ""
        print(
            f"{each.object}: {_VERBS[each.state] if result.dry_run else each.state}{keys}{words}", flush=True
        )


_VERBS = {
    "created": "would be created",
    "configured": "would be configured",
    "unchanged": "unchanged",
    "failed": "failed",
    "not applied": "not applied",
}


def _summary(result: ApplyResult) -> str:
    from reroll.cli.following import summary

    counted = [(sum(one.state == state for one in result.objects), state) for state in _VERBS]
    words = ", ".join(f"{number} {state}" for number, state in counted if number)
    total = len(result.objects)
    objects = f"{total} object{'' if total == 1 else 's'}: {words or 'none'}."
    if not result.outcomes:
        return objects
    return f"{objects} {summary(result.workloads, verb='rolled')}"
