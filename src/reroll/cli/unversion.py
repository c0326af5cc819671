"""`reroll unversion`: point workloads back at the sources of their configuration, and remove versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from reroll.versions.unversion import Unversioned


def unversion(
    *workloads: str,
    namespace: Annotated[list[str] | None, Parameter(name=["--namespace", "-n"], negative="")] = None,
    all_workloads: Annotated[bool, Parameter(name="--all", negative="")] = False,
    all_namespaces: Annotated[bool, Parameter(name=["--all-namespaces", "-A"], negative="")] = False,
    restore_source: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    output: Annotated[Literal["text", "json", "yaml"], Parameter(name=["--output", "-o"])] = "text",
    key_namespace: str | None = None,
    key_secret: str = "reroll-digest-key",
    field_manager: str = "reroll-unversion",
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """Leave the mode version: point pod templates back at the objects that people edit, and remove versions.

    A workload is refused where its object is gone, or has other content than its pods read. Its mode is set to
    rollout, where its annotation or its namespace's says version. Versions that anything names stay, such as those
    of older revisions.

    Example: `reroll unversion deployment/web -n shop`

    More: `reroll unversion --all -n shop --dry-run`, `reroll unversion -A`

    Exit codes: 0 done; 1 one was refused, or failed; 2 not understood.

    Parameters
    ----------
    workloads
        KIND/NAME, such as deployment/web, sts/db or cj/report.
    namespace
        Their namespace; may be given several times with --all. Default: the context's.
    all_workloads
        All workloads of these namespaces that name versions.
    all_namespaces
        All workloads of all namespaces.
    restore_source
        Where the object is gone, or has other content than the pods read, write that into it. What it has now is kept
        as a version first.
    dry_run
        Change nothing; tell what would be changed.
    output
        text for people, json or yaml for programs.
    key_namespace
        Namespace of the Secret that holds the digest key, which --restore-source may need for a Secret. Default:
        `reroll`, then `reloader`, then the context's.
    key_secret
        Name of that Secret.
    field_manager
        The name under which it is written.
    kubeconfig
        Path of a kubeconfig. Default: KUBECONFIG or ~/.kube/config.
    context
        Context of the kubeconfig. Default: its current one.
    """
    import asyncio
    import time

    import msgspec

    from reroll.cli.failure import Failure
    from reroll.cli.key_file import key_at
    from reroll.cli.output import dump
    from reroll.cli.workloads import scopes_of, workloads_of
    from reroll.core.kinds import KINDS
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.versions.unversion import Options, versioned
    from reroll.versions.unversion import unversion as point_back

    everywhere = all_workloads or all_namespaces
    if bool(workloads) is everywhere:
        raise Failure(
            "say which workloads: KIND/NAME, --all or -A, such as reroll unversion deployment/web", 2
        )
    cluster = load_config(kubeconfig=kubeconfig, context=context)
    scopes = scopes_of(namespace, all_namespaces, cluster.namespace)
    named = workloads_of(workloads, scopes, KINDS)

    async def work() -> Unversioned:
        async with Client(cluster, field_manager=field_manager) as client:
            home = scopes[0] if scopes else cluster.namespace
            key = await key_at(client, key_namespace, key_secret, home) if restore_source else None
            options = Options(restore=restore_source, dry_run=dry_run, key=key)
            places = (scopes or ("",)) if everywhere else ()
            chosen = await versioned(client, places) if everywhere else named
            return await point_back(client, chosen, time.time(), options, everywhere=places)

    try:
        found = asyncio.run(work())
    except msgspec.DecodeError as error:
        raise Failure(f"an answer of the API server is not understood: {error}") from error
    if output == "text":
        from reroll.cli.versions import show, unversion_lines

        show(unversion_lines(found))
    else:
        dump(found, output)
    return 1 if found.refused else 0
