"""`reroll diff`: what differs between two versions of a ConfigMap or Secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from reroll.versions.difference import Difference


def diff(
    config: str,
    before: str | None = None,
    after: str | None = None,
    /,
    *,
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None,
    show_secrets: Annotated[bool, Parameter(negative="")] = False,
    output: Annotated[Literal["text", "json", "yaml"], Parameter(name=["--output", "-o"])] = "text",
    exit_code: Annotated[bool, Parameter(negative="")] = False,
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """Tell what differs between two versions of a ConfigMap or Secret, key by key.

    Of a Secret only the names of keys are shown, and whether they were added, removed or changed.

    Example: `reroll diff configmap/app -n shop`

    More: `reroll diff configmap/app 3`, `reroll diff configmap/app 2 3`, `reroll diff configmap/app 9k2m4c5f6h source`

    Exit codes: 0 done; 1 there is no such version, the cluster could not be read, or with `--exit-code`: they differ;
    2 not understood.

    Parameters
    ----------
    config
        KIND/NAME of the object that people edit, such as configmap/app or secret/db.
    before
        The older version: its number, its name, the suffix of its name, or `source` for the content that the object
        has now. Default: the newest version that has other content than `after`.
    after
        The newer one. Default: source.
    namespace
        Its namespace. Default: the context's.
    show_secrets
        Show values of a Secret, too.
    output
        text for people, json or yaml for programs.
    exit_code
        Exit with 1 if they differ.
    kubeconfig
        Path of a kubeconfig. Default: KUBECONFIG or ~/.kube/config.
    context
        Context of the kubeconfig. Default: its current one.
    """
    import asyncio

    import msgspec

    from reroll.cli.config_objects import config_of
    from reroll.cli.failure import Failure
    from reroll.cli.output import dump
    from reroll.core.records import ConfigId
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.versions.difference import difference
    from reroll.versions.refusal import Refused

    kind, name = config_of(config)
    cluster = load_config(kubeconfig=kubeconfig, context=context)
    where = ConfigId(kind, namespace or cluster.namespace, name)

    async def ask() -> Difference:
        async with Client(cluster) as client:
            return await difference(client, where, before, after, values=kind != "secret" or show_secrets)

    try:
        found = asyncio.run(ask())
    except Refused as refused:
        raise Failure(str(refused)) from refused
    except msgspec.DecodeError as error:
        raise Failure(f"an answer of the API server is not understood: {error}") from error
    if output == "text":
        from reroll.cli.versions import show_difference

        show_difference(found)
    else:
        dump(found, output)
    return 1 if exit_code and found.keys else 0
