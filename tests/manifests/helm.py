"""The real Helm 3 and Helm 4, with `reroll stamp` as their post-renderer."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from tests.manifests.programs import run

ROOT = Path(__file__).resolve().parents[2]
BIN = str(Path(sys.executable).parent)


class Helm:
    """One of the two, with `reroll` on its PATH and nothing of this machine's set-up."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HELM_DATA_HOME": str(home / "data"),
            "HELM_CACHE_HOME": str(home / "cache"),
            "HELM_CONFIG_HOME": str(home / "config"),
        }
        self.renderer = "reroll"
        self.arguments = ["--post-renderer-args", "stamp"]
        if name == "helm4":
            self.run("plugin", "install", ROOT / "deploy" / "helm-plugin")
            self.renderer, self.arguments = "reroll-stamp", []

    def run(self, *arguments: str | Path, ok: bool = True, **environment: str) -> Any:
        return run(self.name, *arguments, ok=ok, **self.environment, **environment)

    def template(self, chart: Path, *arguments: str) -> str:
        command: tuple[str | Path, ...] = (
            "template",
            "prod",
            chart,
            "--post-renderer",
            self.renderer,
            *self.arguments,
            *arguments,
        )
        rendered: str = self.run(*command).stdout.decode()
        return rendered
