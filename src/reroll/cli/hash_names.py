"""`reroll generate --hash-names`: plain manifests in, manifests out, with names that follow the content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from reroll.core.records import ConfigId
    from reroll.manifests.external import Annotated
    from reroll.manifests.hash_names import Keep, Options


class Wanted(NamedTuple):
    """What the command line asks for, word by word."""

    namespace: str | None
    all: bool
    leave: tuple[str, ...]
    external: tuple[str, ...]
    configurations: tuple[str, ...]
    kinds: tuple[str, ...]
    mark: bool
    keep: tuple[Keep, ...]
    key_file: str | None


def write_hashed(
    paths: Sequence[str],
    wanted: Wanted,
    in_place: bool,
    check: bool,
    kubeconfig: str | None,
    context: str | None,
) -> int:
    """Read everything, decide, write. Returns the exit code. Raises Failure, ManifestError, ApiError and OSError."""
    import sys

    from reroll.cli.failure import Failure
    from reroll.manifests.hash_names import HashNames
    from reroll.manifests.in_place import write_in_place
    from reroll.manifests.stamp.run import by_file, sources, to_stream

    if in_place and ("-" in paths or not paths):
        raise Failure("--in-place needs files or folders: standard input can't be written", 2)
    try:
        options, digests = _options(wanted)
    except ValueError as error:
        raise Failure(str(error), 2) from error
    hashed = HashNames(options, digests)
    with sources(paths or ("-",), sys.stdin.buffer) as found:
        for source in found:
            hashed.learn(source.documents())
        if digests is not None:
            if missing := digests.missing():
                _look_up(missing, digests, kubeconfig, context)
            digests.decide()
        hashed.decide()
        notes = list(hashed.notes)
        if digests is not None:
            notes += [f"no workload here reads {one}, which --external names" for one in digests.unread()]
        for note in notes:
            print(f"reroll: {note}", file=sys.stderr)
        if not (in_place or check):
            to_stream(hashed, found, sys.stdout.buffer)
            return 0
        changed = by_file(hashed, found)
        if in_place and not check:
            for source, _, after in changed:
                assert source.path is not None
                write_in_place(source.path, after)
    for change in (*hashed.changes, *(digests.changes if digests is not None else ())):
        print(f"reroll: {change}", file=sys.stderr)
    return 1 if check and changed else 0


def _options(wanted: Wanted) -> tuple[Options, Annotated | None]:
    """What is to be done, and what external digests there are. Raises ValueError, in words for people, and
    ManifestError for a configuration."""
    import os
    from pathlib import Path

    from reroll.cli.key_file import key_of
    from reroll.manifests.external import Annotated, externals_of
    from reroll.manifests.hash_names import Options
    from reroll.manifests.kustomization import read_name_references
    from reroll.manifests.resource_files import Folder
    from reroll.manifests.stamp.options import Options as StampOptions
    from reroll.manifests.stamp.options import templates_of

    home = wanted.namespace if wanted.namespace is not None else os.environ.get("HELM_NAMESPACE", "")
    templates = templates_of(True, wanted.kinds)
    externals = externals_of(wanted.external)
    places = [
        place
        for file in wanted.configurations
        for place in read_name_references(Folder(Path(file).parent), Path(file).name)
    ]
    options = Options(
        namespace=home,
        all=wanted.all,
        leave=frozenset({*map(_left, wanted.leave), *externals}),
        mark=wanted.mark,
        keep=wanted.keep,
        templates=templates,
        places=tuple(places),
    )
    if not externals:
        return options, None
    own = StampOptions(namespace=home, templates=templates, key=key_of(wanted.key_file))
    return options, Annotated(externals, own)


def _left(word: str) -> tuple[str, str]:
    kind, slash, name = word.partition("/")
    if kind.lower() not in ("configmap", "secret") or not slash or not name:
        raise ValueError(f"--leave {word}: write KIND/NAME, such as configmap/app or secret/db")
    return kind.lower(), name


def _look_up(
    missing: Sequence[ConfigId], digests: Annotated, kubeconfig: str | None, context: str | None
) -> None:
    """Ask the cluster for what is external, and for the key of the installation where none was given."""
    import asyncio

    from reroll.cli.key_file import key_in
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.manifests.stamp.lookup import look_up

    cluster = load_config(kubeconfig=kubeconfig, context=context)

    async def ask() -> None:
        async with Client(cluster) as client:
            home = digests.options.namespace or cluster.namespace
            if digests.options.key is None:
                digests.use_key(await key_in(client, home))
            await look_up(client, missing, digests.contents, home)

    asyncio.run(ask())
