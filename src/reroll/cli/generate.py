"""`reroll generate`: ConfigMaps and Secrets called by their content, and what names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from reroll.core.records import ConfigId
    from reroll.manifests.external import Annotated as ExternalDigests
    from reroll.manifests.hash_names import HashNames, Keep


def generate(
    *paths: Annotated[str, Parameter(allow_leading_hyphen=True)],
    hash_names: Annotated[bool, Parameter(negative="")] = False,
    all: Annotated[bool, Parameter(negative="")] = False,
    leave: Annotated[list[str] | None, Parameter(negative="")] = None,
    external: Annotated[list[str] | None, Parameter(negative="")] = None,
    configuration: Annotated[list[str] | None, Parameter(negative="")] = None,
    kind: Annotated[list[str] | None, Parameter(negative="")] = None,
    mark: bool = True,
    keep: Annotated[list[Literal["helm", "flux", "argocd"]] | None, Parameter(negative="")] = None,
    key_file: str | None = None,
    in_place: Annotated[bool, Parameter(negative="")] = False,
    check: Annotated[bool, Parameter(negative="")] = False,
    prune: Annotated[bool, Parameter(negative="")] = False,
    yes: Annotated[bool, Parameter(negative="")] = False,
    name_base: Annotated[list[str] | None, Parameter(negative="")] = None,
    min_age: str = "10m",
    ignore_unreadable: Annotated[bool, Parameter(negative="")] = False,
    namespace: Annotated[list[str] | None, Parameter(name=["--namespace", "-n"], negative="")] = None,
    all_namespaces: Annotated[bool, Parameter(name=["--all-namespaces", "-A"], negative="")] = False,
    output: Annotated[Literal["table", "json", "yaml"], Parameter(name=["--output", "-o"])] = "table",
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """Give ConfigMaps and Secrets names that follow their content, and write these names wherever one is named. A
    change is then a new object and a rollout; a rollback finds the old object as it was.

    Without options it builds a kustomization with configMapGenerator and secretGenerator, and writes what `kustomize
    build` writes, byte for byte. With `--hash-names` it does the same for plain manifests, such as a rendered chart,
    where every byte that need not change stays. With `--prune` it lists, or with `--yes` deletes, former generations
    in the cluster that nothing names any more.

    Example: `reroll generate overlays/prod | kubectl apply -f -`

    More: `helm template ./chart | reroll generate --hash-names - | kubectl apply -f -`, `reroll generate --hash-names
    --external secret/db=lookup deploy/`, `reroll generate --prune -n shop`, `reroll generate --prune --yes -n shop`

    Exit codes: 0 done, 1 with `--check`: something would change, or the cluster could not be read or written; 2 not
    understood, nothing was written.

    Parameters
    ----------
    paths
        A folder with a kustomization.yaml, by default this one. With --hash-names files, folders, or - for standard
        input, which is then the default.
    hash_names
        Rename the ConfigMaps and Secrets of plain manifests, and make them immutable.
    all
        With --hash-names: rename also what nothing in the manifests names.
    leave
        With --hash-names: KIND/NAME that keeps its name, such as configmap/feature-flags; may be given several times.
    external
        With --hash-names: KIND/NAME=DIGEST of an object made elsewhere, such as by External Secrets or sops;
        KIND/NAME=lookup asks the cluster. The digest is written on the pod templates that read the object. May be
        given several times.
    configuration
        With --hash-names: a file with nameReference, as kustomize's configurations have it, for custom kinds that name
        ConfigMaps or Secrets; may be given several times.
    kind
        With --hash-names: another kind with a pod template, as KIND.GROUP, or KIND.GROUP=PATH where that is not
        spec.template; may be given several times.
    mark
        With --hash-names: write the label and the annotation by which --prune knows what it may delete.
    keep
        With --hash-names: annotate the objects so that this tool does not delete a former generation while pods still
        read it: helm, flux or argocd; may be given several times.
    key_file
        With --external: the key for digests of Secrets, as `reroll snapshot --key-file` writes it.
    in_place
        With --hash-names: write the files themselves, those that change.
    check
        With --hash-names: write nothing, tell what would change, and exit with 1 if anything would.
    prune
        List the former generations of ConfigMaps and Secrets in the cluster, and what names each.
    yes
        With --prune: delete those that nothing names.
    name_base
        With --prune: KIND/NAME, such as configmap/app: what kustomize made of this name may be deleted too. May be
        given several times. Default: only what carries the label of --hash-names.
    min_age
        With --prune: leave what is younger, such as 1h.
    ignore_unreadable
        With --prune --yes: delete although there are kinds that could not be looked through.
    namespace
        With --hash-names: the namespace of objects that name none. With --prune: where to look; may be given several
        times. Default: the context's.
    all_namespaces
        With --prune: look in all namespaces.
    output
        With --prune: table for people; json or yaml for programs.
    kubeconfig
        Path of a kubeconfig. Default: KUBECONFIG or ~/.kube/config.
    context
        Context of the kubeconfig. Default: its current one.
    """
    from reroll.cli.failure import Failure
    from reroll.manifests.problem import ManifestError

    if unknown := [path for path in paths if path.startswith("-") and path != "-"]:
        raise Failure(f"there is no option {unknown[0]}: reroll generate --help lists them", 2)
    of_hashing = {
        "--all": all,
        "--leave": leave,
        "--external": external,
        "--configuration": configuration,
        "--kind": kind,
        "--no-mark": not mark,
        "--keep": keep,
        "--key-file": key_file,
        "--in-place": in_place,
        "--check": check,
    }
    of_pruning = {
        "--yes": yes,
        "--name-base": name_base,
        "--min-age": min_age != "10m",
        "--ignore-unreadable": ignore_unreadable,
        "--all-namespaces": all_namespaces,
        "--output": output != "table",
    }
    if hash_names and prune:
        raise Failure("--hash-names and --prune exclude each other: generate, apply, then prune", 2)
    for given, wanted, on in ((of_hashing, "--hash-names", hash_names), (of_pruning, "--prune", prune)):
        for option, value in given.items():
            if value and not on:
                raise Failure(f"{option} goes with {wanted} only", 2)
    if prune:
        if paths:
            raise Failure(f"--prune looks at the cluster, and not at {paths[0]}", 2)
        from reroll.cli.generations import Asked, prune_generations

        asked = Asked(
            namespaces=tuple(namespace or ()),
            everywhere=all_namespaces,
            bases=tuple(name_base or ()),
            min_age=min_age,
            delete=yes,
            ignore_unreadable=ignore_unreadable,
            output=output,
        )
        return prune_generations(asked, kubeconfig, context)
    try:
        if not hash_names:
            if namespace:
                raise Failure(
                    "--namespace goes with --hash-names or --prune: write it in the kustomization", 2
                )
            return _build(paths)
        if namespace and len(namespace) > 1:
            raise Failure("--namespace is given once with --hash-names", 2)
        hashed, digests = _hashing(
            namespace[0] if namespace else None,
            all,
            leave or (),
            external or (),
            configuration or (),
            kind or (),
            mark,
            tuple(keep or ()),
            key_file,
        )
        return _hash(paths, hashed, digests, in_place, check, kubeconfig, context)
    except ManifestError as error:
        raise Failure(str(error), 2) from error
    except ValueError as error:
        raise Failure(str(error), 2) from error
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise Failure(f"{error.filename or 'standard output'}: {error.strerror}") from error


def _build(paths: Sequence[str]) -> int:
    import sys
    from pathlib import Path

    from reroll.cli.failure import Failure
    from reroll.manifests.generate import as_yaml, build

    if len(paths) > 1:
        raise Failure("one kustomization is built at a time; for plain manifests there is --hash-names", 2)
    path = Path(paths[0] if paths else ".")
    if not path.is_dir():
        raise Failure(
            f"{path} is no folder with a kustomization.yaml; for plain manifests there is --hash-names", 2
        )
    sys.stdout.buffer.write(as_yaml(build(path)).encode("utf-8", "surrogatepass"))
    sys.stdout.flush()
    return 0


def _hashing(
    namespace: str | None,
    all: bool,
    leave: Sequence[str],
    external: Sequence[str],
    configuration: Sequence[str],
    kinds: Sequence[str],
    mark: bool,
    keep: tuple[Keep, ...],
    key_file: str | None,
) -> tuple[HashNames, ExternalDigests | None]:
    """What is to be done. Raises ValueError, in words for people, and ManifestError for a configuration."""
    import os
    from pathlib import Path

    from reroll.cli.stamp import _key
    from reroll.manifests.external import Annotated as ExternalDigests
    from reroll.manifests.external import externals_of
    from reroll.manifests.hash_names import HashNames, Options
    from reroll.manifests.kustomization import read_name_references
    from reroll.manifests.resource_files import Folder
    from reroll.manifests.stamp.options import Options as StampOptions
    from reroll.manifests.stamp.options import templates_of

    home = namespace if namespace is not None else os.environ.get("HELM_NAMESPACE", "")
    templates = templates_of(True, tuple(kinds))
    externals = externals_of(external)
    left = {_object(word, "--leave") for word in leave} | set(externals)
    places = [
        place
        for file in configuration
        for place in read_name_references(Folder(Path(file).parent), Path(file).name)
    ]
    options = Options(
        namespace=home,
        all=all,
        leave=frozenset(left),
        mark=mark,
        keep=keep,
        templates=templates,
        places=tuple(places),
    )
    digests = None
    if externals:
        own = StampOptions(namespace=home, templates=templates, key=_key(key_file))
        digests = ExternalDigests(externals, own)
    return HashNames(options, digests), digests


def _object(word: str, option: str) -> tuple[str, str]:
    kind, slash, name = word.partition("/")
    if kind.lower() not in ("configmap", "secret") or not slash or not name:
        raise ValueError(f"{option} {word}: write KIND/NAME, such as configmap/app or secret/db")
    return kind.lower(), name


def _hash(
    paths: Sequence[str],
    hashed: HashNames,
    digests: ExternalDigests | None,
    in_place: bool,
    check: bool,
    kubeconfig: str | None,
    context: str | None,
) -> int:
    import sys
    from typing import cast

    from reroll.cli.failure import Failure
    from reroll.manifests.in_place import write_in_place
    from reroll.manifests.stamp.run import Stamper, by_file, sources, to_stream

    if in_place and ("-" in paths or not paths):
        raise Failure("--in-place needs files or folders: standard input can't be written", 2)
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
        writer = cast("Stamper", hashed)  # they ask for `written` only
        if not (in_place or check):
            to_stream(writer, found, sys.stdout.buffer)
            return 0
        changed = by_file(writer, found)
        if in_place and not check:
            for source, _, after in changed:
                assert source.path is not None
                write_in_place(source.path, after)
    for change in (*hashed.changes, *(digests.changes if digests is not None else ())):
        print(f"reroll: {change}", file=sys.stderr)
    return 1 if check and changed else 0


def _look_up(
    missing: Sequence[ConfigId], digests: ExternalDigests, kubeconfig: str | None, context: str | None
) -> None:
    """Ask the cluster for what is external, and for the key of the installation where none was given."""
    import asyncio

    from reroll.insight.simulation.capture import find_key
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.manifests.stamp.lookup import look_up

    cluster = load_config(kubeconfig=kubeconfig, context=context)

    async def ask() -> None:
        async with Client(cluster) as client:
            home = digests.options.namespace or cluster.namespace
            if digests.options.key is None:
                places = dict.fromkeys(["reroll", home])
                key = await find_key(client, [(place, "reroll-digest-key") for place in places])
                digests.use_key(key)
            await look_up(client, missing, digests.contents, home)

    try:
        asyncio.run(ask())
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
