"""The command as a process of its own, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def reroll(
    *arguments: object, stdin: str = "", cwd: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """`reroll ARGUMENTS`, on a terminal of 100 columns, with nothing in its environment but `environ` that could lead
    it to a cluster or set anything."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("REROLL_", "KUBE"))}
    return subprocess.run(
        [sys.executable, "-m", "reroll", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        env={**environment, "COLUMNS": "100", **environ},
        timeout=60,
        cwd=cwd,
        check=False,
    )
