"""`reroll generate --prune`: former generations, and what names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from reroll.manifests.prune import Base, Found


_PIPED = 400
"""Columns where nobody looks: names are whole, for who searches in them."""


class Asked(NamedTuple):
    """What the command line asks for."""

    namespaces: tuple[str, ...]
    everywhere: bool
    bases: tuple[str, ...]
    min_age: str
    delete: bool
    ignore_unreadable: bool
    output: Literal["table", "json", "yaml"]


def prune_generations(asked: Asked, kubeconfig: str | None, context: str | None) -> int:
    """List them, and delete those that may go if asked. Returns the exit code. Raises Failure and ApiError."""
    import asyncio
    import sys
    import time

    from reroll.cli.failure import Failure
    from reroll.cli.output import dump
    from reroll.cli.workloads import scopes_of
    from reroll.core.durations import parse_duration
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.manifests.prune import delete_unused, survey

    try:
        min_age = parse_duration(asked.min_age)
    except ValueError as error:
        raise Failure(f"--min-age {asked.min_age}: {error}", 2) from error
    bases = [_base(word) for word in asked.bases]
    cluster = load_config(kubeconfig=kubeconfig, context=context)
    scopes = scopes_of(asked.namespaces, asked.everywhere, cluster.namespace)

    async def ask() -> Found:
        async with Client(cluster) as client:
            found = await survey(client, now=time.time(), namespaces=scopes, bases=bases, min_age=min_age)
            if asked.delete and found.unreadable and not asked.ignore_unreadable:
                kinds = ", ".join(found.unreadable)
                raise Failure(
                    f"nothing was deleted, for these could name a generation and can't be listed: {kinds}. Allow that, "
                    f"or, if you know that they name none, give --ignore-unreadable"
                )
            return await delete_unused(client, found) if asked.delete else found

    found = asyncio.run(ask())
    if asked.output == "table":
        _show(found, asked.delete)
    else:
        dump(found, asked.output)
    for kind in found.unreadable:
        print(
            f"reroll: {kind} can't be listed, so it is not known whether they name a generation",
            file=sys.stderr,
        )
    return 0


def _base(word: str) -> Base:
    from reroll.cli.failure import Failure
    from reroll.manifests.prune import Base

    kind, slash, name = word.partition("/")
    kinds = {"configmap": "ConfigMap", "cm": "ConfigMap", "secret": "Secret"}
    if kind.lower() not in kinds or not slash or not name:
        raise Failure(f"--name-base {word}: write KIND/NAME, such as configmap/app or secret/db", 2)
    return Base(kinds[kind.lower()], name)


def _show(found: Found, deleted: bool) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table

    if not found.generations:
        print("there are no generations")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("NAMESPACE", "NAME", "MADE", "STATE"):
        table.add_column(column, no_wrap=True)
    table.add_column("NAMED BY", overflow="fold")
    for one in found.generations:
        by = ", ".join(one.named_by[:3]) + (
            f" and {len(one.named_by) - 3} more" if len(one.named_by) > 3 else ""
        )
        table.add_row(one.namespace, f"{one.kind.lower()}/{one.name}", one.created, one.state, by)
    wide = None if sys.stdout.isatty() else _PIPED
    Console(highlight=False, markup=False, width=wide).print(table)
    unused = sum(one.state == "unused" for one in found.generations)
    gone = sum(one.state == "deleted" for one in found.generations)
    if deleted:
        print(f"{gone} deleted")
    elif unused:
        print(f"{unused} could be deleted: --yes does it")
