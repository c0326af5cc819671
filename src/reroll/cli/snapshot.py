"""`reroll snapshot`: a cluster as reroll sees it, in one file, for `reroll simulate`."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, TextIO

from cyclopts import Parameter


def snapshot(
    *,
    namespace: Annotated[list[str] | None, Parameter(name=["--namespace", "-n"], negative="")] = None,
    with_values: Annotated[bool, Parameter(negative="")] = False,
    key_file: str | None = None,
    key_namespace: str | None = None,
    key_secret: str = "reroll-digest-key",
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """Write ConfigMaps, Secrets, Namespaces and workloads of a cluster to standard output, for `reroll simulate`.

    No value of a Secret is written, only digests with a key that is not in the file. Of ConfigMaps digests are
    written too, unless asked otherwise. Pod templates are written whole.

    Example: `reroll snapshot > cluster.snapshot`

    Parameters
    ----------
    namespace
        Of this namespace only; may be given several times. Default: all namespaces.
    with_values
        Write the values of ConfigMaps, in place of their digests.
    key_file
        Write the key of the digests to this file, for `reroll simulate --key-file`. Keep it as a Secret: who
        has it and the snapshot can find out by trying whether a Secret holds a guessed value.
    key_namespace
        Namespace of the Secret that holds the digest key. Default: `reroll`, then `reloader`, then the context's.
    key_secret
        Name of that Secret.
    kubeconfig
        Path of a kubeconfig. Default: KUBECONFIG or ~/.kube/config.
    context
        Context of the kubeconfig. Default: its current one.
    """
    import asyncio
    import sys
    import time

    import msgspec

    from reroll.cli.failure import Failure
    from reroll.controller.digest_key import key_places
    from reroll.insight.simulation.capture import capture, find_key
    from reroll.insight.simulation.snapshot import key_line
    from reroll.kube.client import Client
    from reroll.kube.config import load_config

    cluster = load_config(kubeconfig=kubeconfig, context=context)
    places = [(key_namespace, key_secret)] if key_namespace else key_places(key_secret, cluster.namespace)
    out = sys.stdout.buffer

    async def write() -> None:
        async with Client(cluster) as client:
            found = await find_key(client, places)
            with _private(key_file) as keep:
                used = await capture(
                    client,
                    out,
                    now=time.time(),
                    namespaces=tuple(namespace or ()),
                    key=found,
                    with_values=with_values,
                )
                keep.write(key_line(used))
        out.flush()
        if found is None:
            where = " or ".join("/".join(place) for place in places)
            print(
                f"reroll: the digest key ({where}) can't be read: what workloads have recorded of Secrets can't "
                f"be compared with this snapshot",
                file=sys.stderr,
            )

    try:
        asyncio.run(write())
    except msgspec.DecodeError as error:
        raise Failure(f"an answer of the API server is not understood: {error}") from error
    return 0


@contextmanager
def _private(path: str | None) -> Iterator[TextIO]:
    """A file that nobody else may read, open before there is anything to write: a mistake in its name is found
    at once. Without a path, nothing is kept."""
    if path is None:
        yield io.StringIO()
        return
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(number, "w") as file:
        os.fchmod(number, 0o600)
        yield file
