"""`reroll migrate`: from Reloader, wave and checksums to reroll."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from reroll.insight.migrate.manifests import Manifests
    from reroll.insight.migrate.report import Plans
    from reroll.insight.migrate.scene import Reloader, Scene


def migrate(
    *paths: Annotated[str, Parameter(allow_leading_hyphen=True)],
    write: Annotated[bool, Parameter(negative="")] = False,
    remove_old: Annotated[bool, Parameter(negative="")] = False,
    check: Annotated[bool, Parameter(negative="")] = False,
    diff: Annotated[bool, Parameter(negative="")] = False,
    complete: Annotated[bool, Parameter(negative="")] = False,
    reloader_flags: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    output: Annotated[Literal["table", "json", "yaml"], Parameter(name=["--output", "-o"])] = "table",
    exit_code: Annotated[bool, Parameter(negative="")] = False,
    namespace: Annotated[list[str] | None, Parameter(name=["--namespace", "-n"], negative="")] = None,
    all_namespaces: Annotated[bool, Parameter(name=["--all-namespaces", "-A"], negative="")] = False,
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """Tell what rolls each workload today (Reloader, wave, checksum annotations, name hashes), what reroll would do,
    what rolls twice, what never had an effect; and write reroll's own annotations into manifests.

    Reads manifests, or, where no path is given, the cluster, of which it asks for no content of a ConfigMap or Secret.
    It writes nothing without --write, and nothing to a cluster ever.

    Example: `reroll migrate -A`

    More: `reroll migrate deploy/ --diff`, `reroll migrate deploy/ --write --remove-old`, `reroll migrate deploy/
    --reloader-flags "--auto-reload-all --namespaces-to-ignore=kube-system"`

    Exit codes: 0 done, 1 with `--exit-code`: there are errors or warnings, with `--check`: something would be written,
    or the cluster could not be read; 2 not understood, or a manifest could not be parsed.

    Parameters
    ----------
    paths
        Files, folders, or - for standard input. Default: the cluster.
    write
        Write the annotations into the files, in place. Comments, layout and every other byte stay.
    remove_old
        With --write, --check or --diff: take away the old annotations whose meaning was carried over.
    check
        Write nothing; exit with 1 if anything would be written.
    diff
        Print what would be written as a diff, and nothing else.
    complete
        The manifests are all there is in their namespaces: what is named and not there is a warning.
    reloader_flags
        Reloader's command line, in one text. Default: that of the Reloader in the cluster.
    output
        table for people; json or yaml for programs.
    exit_code
        Exit with 1 if there are errors or warnings.
    namespace
        Look in this namespace; may be given several times. Of manifests, that of objects that name none. Default: the
        context's.
    all_namespaces
        Look in all namespaces.
    kubeconfig
        Path of a kubeconfig. Default: KUBECONFIG or ~/.kube/config.
    context
        Context of the kubeconfig. Default: its current one.
    """
    import sys

    from reroll.cli.failure import Failure
    from reroll.insight.migrate.report import plan, report

    if unknown := [path for path in paths if path.startswith("-") and path != "-"]:
        raise Failure(f"there is no option {unknown[0]}: reroll migrate --help lists them", 2)
    writing = write or check or diff
    if writing and not paths:
        raise Failure("--write, --check and --diff need files or folders: a cluster is not written to", 2)
    if write and "-" in paths:
        raise Failure("--write needs files or folders: standard input can't be written", 2)
    if remove_old and not writing:
        raise Failure("--remove-old goes with --write, --check or --diff", 2)
    asked = _flags(reloader_flags)
    unreadable: list[str] = []
    if paths:
        manifests, unreadable = _read(paths, namespace or (), complete)
        manifests.scene.reloader = asked or manifests.scene.reloader
        plans = plan(manifests.scene)
        for message in unreadable:
            print(f"reroll: {message}", file=sys.stderr)
        if writing:
            code = _write(
                manifests, plans, write=write and not check, remove_old=remove_old, diff=diff, check=check
            )
            return 2 if unreadable else code
        found = report(manifests.scene, plans, manifests.line)
    else:
        scene = _cluster(namespace, all_namespaces, kubeconfig, context)
        scene.reloader = asked or scene.reloader
        found = report(scene, plan(scene))
    if output == "table":
        from reroll.cli.migration import show

        show(found)
    else:
        from reroll.cli.output import dump

        dump(found, output)
        for note in found.notes:
            print(f"reroll: {note}", file=sys.stderr)
    return 2 if unreadable else 1 if exit_code and found.worth_a_look else 0


def _flags(line: str | None) -> Reloader | None:
    import shlex

    from reroll.cli.failure import Failure

    if line is None:
        return None
    try:
        return reloader_of(shlex.split(line), {}, "--reloader-flags")
    except ValueError as error:
        raise Failure(f"--reloader-flags: {error}", 2) from error


def reloader_of(
    arguments: Sequence[str], environ: dict[str, str], told_by: str, *, running: bool = False
) -> Reloader:
    """How a Reloader with this command line and environment acts. Raises FlagError, a ValueError."""
    from reroll.cli.reloader_flags import read
    from reroll.insight.migrate.flags import controller_flags
    from reroll.insight.migrate.scene import Reloader
    from reroll.settings import config_kinds

    # What --enable-ha asks for is in every pod; here it does not matter.
    asked = read(arguments, {"POD_NAME": "reloader", "POD_NAMESPACE": "reloader", **environ})
    settings = asked.settings
    kinds = settings["kinds"].split(",")
    return Reloader(
        told_by=told_by,
        running=running,
        keys=asked.keys,
        auto_all=settings["auto_all"],
        # Reloader has not acted on DeploymentConfigs since 1.4, whatever its chart says.
        kinds=tuple(kind for kind in kinds if kind != "deploymentconfigs"),
        config_kinds=config_kinds(settings["config_kinds"]),
        namespaces=settings["namespaces"],
        namespaces_to_ignore=settings.get("namespaces_to_ignore", ()),
        namespace_selector=settings.get("namespace_selector", ""),
        config_selector=settings["config_selector"],
        as_ours=controller_flags(settings, read((), {}).settings),
    )


def _read(paths: Sequence[str], namespaces: Sequence[str], complete: bool) -> tuple[Manifests, list[str]]:
    """The manifests, and what of the input can't be read, in words."""
    import sys

    from reroll.cli.failure import Failure
    from reroll.insight.lint.run import read_input
    from reroll.insight.migrate.manifests import Manifests

    if len(namespaces) > 1:
        raise Failure("of manifests, --namespace is that of objects that name none: give one", 2)
    try:
        found = read_input(paths, sys.stdin.buffer.read() if "-" in paths else None)
    except OSError as error:
        raise Failure(f"{error.filename or 'a file'}: {error.strerror}", 2) from error
    manifests = Manifests(found.documents, namespace="".join(namespaces), complete=complete)
    manifests.scene.notes += [
        f"{chart} is the source of a chart: give what comes out of it (helm template {chart} | reroll migrate -)"
        for chart in found.charts
    ]
    return manifests, [f"{one.file}:{one.line}: {one.message}" for one in found.unreadable]


def _write(
    manifests: Manifests, plans: Plans, *, write: bool, remove_old: bool, diff: bool, check: bool
) -> int:
    import difflib
    import sys
    from pathlib import Path

    from reroll.cli.failure import Failure
    from reroll.manifests.in_place import write_in_place

    changed, problems = manifests.written(plans, remove_old=remove_old)
    for origin, before, after in changed:
        if diff:
            lines = difflib.unified_diff(
                before.splitlines(), after.splitlines(), origin, f"{origin} (migrated)", lineterm=""
            )
            sys.stdout.writelines(f"{line}\n" for line in lines)
        if write:
            try:
                write_in_place(Path(origin), after)
            except OSError as error:
                raise Failure(f"{origin}: {error.strerror}") from error
        if write or check:
            print(f"reroll: {origin}: {'migrated' if write else 'would be migrated'}", file=sys.stderr)
    for problem in problems:
        print(f"reroll: {problem}", file=sys.stderr)
    if write:
        kept = sum(bool(each.kept) for each in plans.workloads.values())
        print(
            f"reroll: {len(changed)} file{'' if len(changed) == 1 else 's'} migrated; workloads that keep annotations "
            f"of others: {kept}",
            file=sys.stderr,
        )
    return 1 if problems or (check and changed) else 0


def _cluster(
    namespaces: Sequence[str] | None, everywhere: bool, kubeconfig: str | None, context: str | None
) -> Scene:
    import asyncio

    import msgspec

    from reroll.cli.failure import Failure
    from reroll.cli.workloads import scopes_of
    from reroll.insight.migrate.live import read_scene, running_reloader
    from reroll.kube.client import Client
    from reroll.kube.config import load_config

    cluster = load_config(kubeconfig=kubeconfig, context=context)
    scopes = scopes_of(namespaces, everywhere, cluster.namespace)

    async def ask() -> Scene:
        async with Client(cluster) as client:
            scene = await read_scene(client, scopes)
            running = await running_reloader(client, scopes, scene.notes)
            if running is not None:
                try:
                    scene.reloader = reloader_of(
                        running.arguments, running.environ, f"deployment {running.where}", running=True
                    )
                except ValueError as error:
                    scene.notes.append(f"the flags of Reloader ({running.where}) are not understood: {error}")
            return scene

    try:
        return asyncio.run(ask())
    except msgspec.DecodeError as error:
        raise Failure(f"an answer of the API server is not understood: {error}") from error
