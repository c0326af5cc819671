"""A world from what a person names: manifests, or one snapshot, which is told by its first line."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from reroll.core.digests import DigestKey
from reroll.insight.simulation.bad_input import BadInput, Origin
from reroll.insight.simulation.manifests import world_of
from reroll.insight.simulation.snapshot import is_snapshot, read_key, read_snapshot
from reroll.insight.simulation.world import NO_KEY, World


def read_world(
    paths: Sequence[str], stdin: BinaryIO, *, default_namespace: str, key_file: str | None = None
) -> World:
    """The objects of these files, folders and ("-") standard input. Raises BadInput."""
    key = read_key(key_file) if key_file else None
    for path in paths:
        text = stdin.read() if path == "-" else _beginning(path)
        if path == "-":
            stdin = io.BytesIO(text)
        if not is_snapshot(text):
            continue
        if len(paths) > 1:
            raise BadInput(
                Origin(path), "is a snapshot, and stands alone: give changes by --change or --apply"
            )
        if path == "-":
            return read_snapshot(stdin, "standard input", key)
        with Path(path).open("rb") as file:
            return read_snapshot(file, path, key)
    return world_of(
        paths,
        stdin,
        key or DigestKey(NO_KEY),
        now=float(int(time.time())),
        default_namespace=default_namespace,
    )


def _beginning(path: str) -> bytes:
    if Path(path).is_dir():
        return b""
    try:
        with Path(path).open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise BadInput(Origin(path), f"cannot be read: {error.strerror}") from error
