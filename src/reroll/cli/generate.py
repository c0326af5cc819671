"""`reroll generate`: ConfigMaps and Secrets called by their content, and what names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import Parameter


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
    for given, mode, on in ((of_hashing, "--hash-names", hash_names), (of_pruning, "--prune", prune)):
        for option, value in given.items():
            if value and not on:
                raise Failure(f"{option} goes with {mode} only", 2)
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
        if hash_names:
            if namespace and len(namespace) > 1:
                raise Failure("--namespace is given once with --hash-names", 2)
            from reroll.cli.hash_names import Wanted, write_hashed

            wanted = Wanted(
                namespace=namespace[0] if namespace else None,
                all=all,
                leave=tuple(leave or ()),
                external=tuple(external or ()),
                configurations=tuple(configuration or ()),
                kinds=tuple(kind or ()),
                mark=mark,
                keep=tuple(keep or ()),
                key_file=key_file,
            )
            return write_hashed(paths, wanted, in_place, check, kubeconfig, context)
        if namespace:
            raise Failure("--namespace goes with --hash-names or --prune: write it in the kustomization", 2)
        return _build(paths)
    except ManifestError as error:
        raise Failure(str(error), 2) from error


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
