"""`reroll stamp`: manifests in, manifests out, each pod template with the digest of what it consumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from reroll.core.digests import DigestKey
    from reroll.core.records import ConfigId
    from reroll.manifests.stamp.contents import Contents
    from reroll.manifests.stamp.options import Extra, Options
    from reroll.manifests.stamp.run import LookUp


def stamp(
    *files: Annotated[str, Parameter(allow_leading_hyphen=True)],
    annotation: str | None = None,
    per_object: Annotated[bool, Parameter(negative="")] = False,
    counter: Annotated[bool, Parameter(negative="")] = False,
    extra: Annotated[list[str] | None, Parameter(negative="")] = None,
    extra_env: Annotated[list[str] | None, Parameter(negative="")] = None,
    secrets: bool = True,
    key_file: str | None = None,
    lookup: Annotated[bool, Parameter(negative="")] = False,
    missing: Literal["ignore", "warn", "fail"] = "warn",
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None,
    kind: Annotated[list[str] | None, Parameter(negative="")] = None,
    jobs: Annotated[bool, Parameter(negative="")] = False,
    in_place: Annotated[bool, Parameter(negative="")] = False,
    check: Annotated[bool, Parameter(negative="")] = False,
    diff: Annotated[bool, Parameter(negative="")] = False,
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """Write on each pod template the digest of exactly what it consumes of ConfigMaps and Secrets, so that a deploy
    that changes these starts a rollout, and one that does not starts none.

    Reads manifests and writes them to standard output; of what is not stamped, every byte stays. Works as a filter:
    as a Helm post-renderer, a KRM function, in a pipe. It looks at the keys that the pods read, not at whole objects.

    Example: `reroll stamp deploy/ | kubectl apply -f -`

    More: `helm upgrade web ./chart --post-renderer reroll --post-renderer-args stamp`, `reroll stamp
    --in-place deploy/`, `reroll stamp --check --diff deploy/`

    Exit codes: 0 done, 1 with `--check`: something would change, or the cluster could not be read; 2 not understood,
    nothing was written.

    Parameters
    ----------
    files
        Files, folders, or - for standard input. Default: -.
    annotation
        The annotation to write. Default: checksum/config, or configmap-version with --counter.
    per_object
        One annotation for each config object, such as checksum/configmap-app, in place of one for all.
    counter
        Write a number that grows by one with each change, kept in the manifest. For use with --in-place.
    extra
        A file that counts too, such as values.yaml; or KIND/NAME=FILE, for this workload only. May be given several
        times.
    extra_env
        An environment variable whose value counts too; may be given several times.
    secrets
        Whether Secrets count.
    key_file
        The key for digests of Secrets, as `reroll snapshot --key-file` writes it: with it they equal the controller's.
        Without it, digests of Secrets are made slow to guess.
    lookup
        Ask the cluster for what is consumed and not in the manifests, and for the key of the installation.
    missing
        What to do about what is consumed and found nowhere: ignore, warn, or fail.
    namespace
        Namespace of objects that name none. Default: HELM_NAMESPACE, else the context's with --lookup.
    kind
        Another kind with a pod template, as KIND.GROUP, or KIND.GROUP=PATH where that is not spec.template; may be
        given several times.
    jobs
        Stamp Jobs too. The pod template of a Job that is there can't be changed.
    in_place
        Write the files themselves, those that change.
    check
        Write nothing, tell what would change, and exit with 1 if anything would.
    diff
        Write the difference in place of the manifests.
    kubeconfig
        Path of a kubeconfig, for --lookup. Default: KUBECONFIG or ~/.kube/config.
    context
        Context of the kubeconfig. Default: its current one.
    """
    import difflib
    import os
    import sys

    from reroll.cli.failure import Failure
    from reroll.cli.key_file import key_of
    from reroll.manifests.in_place import write_in_place
    from reroll.manifests.problem import ManifestError
    from reroll.manifests.stamp.options import (
        COUNTER_ANNOTATION,
        DEFAULT_ANNOTATION,
        Options,
        checked_annotation,
        templates_of,
    )
    from reroll.manifests.stamp.run import Stamper, by_file, sources, stamped, to_stream

    if unknown := [file for file in files if file.startswith("-") and file != "-"]:
        raise Failure(f"there is no option {unknown[0]}: reroll stamp --help lists them", 2)
    if counter and per_object:
        raise Failure("--counter and --per-object exclude each other", 2)
    if in_place and ("-" in files or not files):
        raise Failure("--in-place needs files or folders: standard input can't be written", 2)
    try:
        options = Options(
            annotation=checked_annotation(
                annotation or (COUNTER_ANNOTATION if counter else DEFAULT_ANNOTATION)
            ),
            per_object=per_object,
            counter=counter,
            secrets=secrets,
            missing=missing,
            namespace=namespace if namespace is not None else os.environ.get("HELM_NAMESPACE", ""),
            templates=templates_of(jobs, tuple(kind or ())),
            extras=_extras(extra or (), extra_env or ()),
            key=key_of(key_file),
        )
    except ValueError as error:
        raise Failure(str(error), 2) from error
    ask = None
    if lookup:
        options, ask = _cluster(options, kubeconfig, context)
    stamper = Stamper(options)
    try:
        with sources(files or ("-",), sys.stdin.buffer) as found:
            stamped(stamper, found, ask)
            for note in stamper.notes:
                print(f"reroll: {note}", file=sys.stderr)
            if not (in_place or check or diff):
                to_stream(stamper, found, sys.stdout.buffer)
                return 0
            changed = by_file(stamper, found)
        if in_place and not check:
            for source, _, after in changed:
                assert source.path is not None
                write_in_place(source.path, after)
    except ManifestError as error:
        raise Failure(str(error), 2) from error
    if diff:
        for source, before, after in changed:
            lines = difflib.unified_diff(
                before.splitlines(),
                after.splitlines(),
                source.origin,
                f"{source.origin} (stamped)",
                lineterm="",
            )
            sys.stdout.writelines(f"{line}\n" for line in lines)
    if check or in_place:
        for change in stamper.changes:
            print(f"reroll: {change}", file=sys.stderr)
    return 1 if check and changed else 0


def _extras(files: Sequence[str], variables: Sequence[str]) -> tuple[Extra, ...]:
    """What a person names beside the config objects. The last parts of paths are their names, so that it is the same
    from whichever folder the command is run."""
    import os
    import re
    from pathlib import Path

    from reroll.cli.failure import Failure
    from reroll.manifests.stamp.options import Extra

    found: list[Extra] = []
    for given in files:
        workload, path = "", given
        if (match := re.fullmatch(r"([A-Za-z]+/[a-z0-9.-]+)=(.+)", given)) is not None:
            workload, path = match[1].lower(), match[2]
        try:
            found.append(Extra(f"file/{Path(path).name}", Path(path).read_bytes(), workload))
        except OSError as error:
            raise Failure(f"--extra {path}: {error.strerror}", 2) from error
    for name in variables:
        value = os.environ.get(name)
        if value is None:
            raise Failure(f"--extra-env {name}: there is no such environment variable", 2)
        found.append(Extra(f"env/{name}", os.fsencode(value)))
    names = [(extra.name, extra.workload) for extra in found]
    for one in names:
        if names.count(one) > 1:
            raise Failure(
                f"--extra: two files are named {one[0].removeprefix('file/')}: give one of them another name",
                2,
            )
    return tuple(found)


def _cluster(options: Options, kubeconfig: str | None, context: str | None) -> tuple[Options, LookUp]:
    """The options with what the cluster knows, and how it is asked for objects."""
    import asyncio

    from msgspec.structs import replace

    from reroll.cli.key_file import key_in
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.manifests.stamp.lookup import look_up

    cluster = load_config(kubeconfig=kubeconfig, context=context)

    async def key() -> DigestKey | None:
        async with Client(cluster) as client:
            return await key_in(client, options.namespace or cluster.namespace)

    def ask(wanted: Sequence[ConfigId], contents: Contents, namespace: str) -> None:
        async def all_of_them() -> None:
            async with Client(cluster) as client:
                await look_up(client, wanted, contents, namespace)

        asyncio.run(all_of_them())

    found = options.key or asyncio.run(key())
    return replace(options, key=found, namespace=options.namespace or cluster.namespace), ask
