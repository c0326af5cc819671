"""What config objects were before: in git, or in other manifests. Their content is digested and let go."""

from __future__ import annotations

import base64
import binascii
import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from reroll.insight.lint.shape import mapping
from reroll.insight.lint.uses import Kind
from reroll.insight.lint.world import Known, World
from reroll.manifests.problem import ManifestError
from reroll.manifests.stream import Document, read_documents


def content_digest(value: dict[str, Any]) -> str:
    """One digest over the content of a ConfigMap or Secret; the same for stringData and its base64."""
    content: dict[str, str] = {}
    secret = value.get("kind") == "Secret"
    for key, text in mapping(value.get("data")).items():
        content[str(key)] = _decoded(text) if secret else f"t{text}"
    for key, text in mapping(value.get("stringData")).items():
        content[str(key)] = str(text).encode("utf-8", "surrogatepass").hex()
    for key, text in mapping(value.get("binaryData")).items():
        content[str(key)] = f"b{_decoded(text)}"
    packed = msgspec.json.encode(sorted(content.items()))
    return hashlib.sha256(packed).hexdigest()


def _decoded(text: object) -> str:
    try:
        return base64.b64decode("".join(str(text).split()), validate=True).hex()
    except (binascii.Error, ValueError):
        return f"?{text!r}"


def remember(world: World, documents: Iterable[Document], where: str) -> None:
    """Put the config objects of these documents into `world.before`. What can't be parsed is left out: it could not
    be applied either."""
    try:
        earlier = World(list(documents))
    except ManifestError:
        return
    for config in earlier.configs:
        kind: Kind = config.config
        world.before[kind, config.namespace, config.name] = Known(
            config.keys, config.immutable, content_digest(config.value), where
        )


def remember_git(world: World, paths: Iterable[Path], revision: str = "HEAD") -> None:
    """Put what git has of these files into `world.before`. Nothing happens outside of a repository."""
    for path in paths:
        try:
            done = subprocess.run(
                ["git", "-C", str(path.parent), "show", f"{revision}:./{path.name}"],
                capture_output=True,
                timeout=20,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return
        if done.returncode == 0:
            try:
                remember(world, list(read_documents(done.stdout, str(path))), f"git {revision}")
            except ManifestError:
                continue
