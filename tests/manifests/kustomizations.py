"""Builds of the same folder by the real kustomize and by us."""

from __future__ import annotations

from pathlib import Path

from reroll.manifests.generate import as_yaml, build
from tests.manifests.programs import run


def written(folder: Path, files: dict[str, str | bytes]) -> Path:
    """The files, in a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def ours(folder: Path) -> str:
    return as_yaml(build(folder))


def theirs(folder: Path) -> str:
    return run("kustomize", "build", folder).stdout.decode()
