"""`reroll rollback`: point a workload at versions of its configuration that it had before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from reroll.versions.rollback import RolledBack


def rollback(
    workload: str,
    /,
    *,
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None,
    to_revision: int | None = None,
    to_version: str | None = None,
    config: str | None = None,
    restore_source: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    output: Annotated[Literal["text", "json", "yaml"], Parameter(name=["--output", "-o"])] = "text",
    key_namespace: str | None = None,
    key_secret: str = "reroll-digest-key",
    field_manager: str = "reroll-rollback",
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """Point a workload at versions of its configuration that it had before; all else of its pod template stays.

    It is for workloads in the mode version, and needs no controller. By default it goes to the versions before the
    present ones, and passes over those whose rollout failed.

    Example: `reroll rollback deployment/web -n shop`

    More: `reroll rollback deployment/web --to-revision 3 --dry-run`,
    `reroll rollback sts/db --config configmap/db --to-version 2 --restore-source`

    Exit codes: 0 done, or there already; 1 refused or failed; 2 not understood.

    Parameters
    ----------
    workload
        KIND/NAME, such as deployment/web, sts/db or cj/report.
    namespace
        Its namespace. Default: the context's.
    to_revision
        To the versions that this revision of it has; kubectl rollout history lists them.
    to_version
        To this version: its number, its name, or the suffix of its name.
    config
        Only this of what it reads, such as configmap/app.
    restore_source
        Write the content into the object that people edit, too. What that has now is kept as a version first.
    dry_run
        Change nothing; tell what would be changed. The server checks the writes.
    output
        text for people, json or yaml for programs.
    key_namespace
        Namespace of the Secret that holds the digest key, which --restore-source may need for a Secret. Default:
        `reroll`, then `reloader`, then the workload's.
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

    import msgspec

    from reroll.cli.config_objects import config_of
    from reroll.cli.failure import Failure
    from reroll.cli.key_file import key_at
    from reroll.cli.output import dump
    from reroll.core.kinds import KINDS, find_kind
    from reroll.core.records import WorkloadId
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.kube.errors import NotFound
    from reroll.versions.refusal import Refused
    from reroll.versions.rollback import Options, roll_back
    from reroll.versions.wanted import Wish

    kind_word, slash, name = workload.partition("/")
    kind = find_kind(kind_word, KINDS)
    if not slash or not name or "/" in name or kind is None:
        raise Failure(
            f"{workload!r} is no workload: write KIND/NAME, such as deployment/web, sts/db or cj/report", 2
        )
    if to_revision is not None and to_version is not None:
        raise Failure("--to-revision and --to-version exclude each other", 2)
    wish = Wish(to_revision, to_version or "", config_of(config) if config is not None else None)
    cluster = load_config(kubeconfig=kubeconfig, context=context)
    where = WorkloadId(kind.id, namespace or cluster.namespace, name)

    async def work() -> RolledBack:
        async with Client(cluster, field_manager=field_manager) as client:
            key = await key_at(client, key_namespace, key_secret, where.namespace) if restore_source else None
            options = Options(wish, restore=restore_source, dry_run=dry_run, key=key)
            return await roll_back(client, where, kind, options)

    try:
        found = asyncio.run(work())
    except Refused as refused:
        raise Failure(f"{kind.id.lower()}/{name} is not rolled back: {refused}") from refused
    except NotFound as error:
        raise Failure(f"there is no {kind.id.lower()}/{name} in namespace {where.namespace}") from error
    except msgspec.DecodeError as error:
        raise Failure(f"an answer of the API server is not understood: {error}") from error
    if output == "text":
        from reroll.cli.versions import rollback_lines, show

        show(rollback_lines(found))
    else:
        dump(found, output)
    return 0
