"""`reroll history`: the versions of a ConfigMap or Secret, and who has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from reroll.versions.history import History


def history(
    config: str,
    /,
    *,
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None,
    output: Annotated[Literal["text", "json", "yaml"], Parameter(name=["--output", "-o"])] = "text",
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """List the versions of a ConfigMap or Secret: when each came to be and by whom, and what names it now.

    It is for objects of which the mode version has made copies. It writes nothing, and shows no content.

    Example: `reroll history configmap/app -n shop`

    Exit codes: 0 done; 1 it does not exist, or the cluster could not be read; 2 not understood.

    Parameters
    ----------
    config
        KIND/NAME of the object that people edit, such as configmap/app or secret/db.
    namespace
        Its namespace. Default: the context's.
    output
        text for people, json or yaml for programs.
    kubeconfig
        Path of a kubeconfig. Default: KUBECONFIG or ~/.kube/config.
    context
        Context of the kubeconfig. Default: its current one.
    """
    import asyncio
    import sys

    import msgspec

    from reroll.cli.config_objects import config_of
    from reroll.cli.failure import Failure
    from reroll.cli.output import dump
    from reroll.core.records import ConfigId
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.versions.history import history as rows_of
    from reroll.versions.shelf import read_shelf, short
    from reroll.versions.uses import find_uses

    kind, name = config_of(config)
    cluster = load_config(kubeconfig=kubeconfig, context=context)
    where = ConfigId(kind, namespace or cluster.namespace, name)

    async def ask() -> History:
        async with Client(cluster) as client:
            shelf = await read_shelf(client, where)
            if shelf.source is None and not shelf.copies:
                raise Failure(f"there is no {short(where)} in namespace {where.namespace}")
            wanted = {(where.namespace, copy.config.name) for copy in shelf.copies}
            return rows_of(shelf, await find_uses(client, (where.namespace,), wanted))

    try:
        found = asyncio.run(ask())
    except msgspec.DecodeError as error:
        raise Failure(f"an answer of the API server is not understood: {error}") from error
    if output == "text":
        from reroll.cli.versions import show_history

        show_history(found)
    else:
        dump(found, output)
        for note in found.notes:
            print(f"reroll: {note}", file=sys.stderr)
    return 0
