"""The real Helm and kustomize for tests that need them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from devcluster.programs import GoMissing, program


def located(name: str) -> Path:
    """The program's path; the test is skipped where there is no Go to build it with."""
    try:
        return program(name)
    except GoMissing as error:
        pytest.skip(str(error))


def run(
    name: str, *arguments: str | Path, input: str | bytes = b"", ok: bool = True, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run it, with nothing of this machine's set-up of Helm; it has to succeed unless `ok` is False."""
    done = subprocess.run(
        [located(name), *arguments],
        input=input.encode() if isinstance(input, str) else input,
        capture_output=True,
        env={**os.environ, "KUBECONFIG": "/dev/null", **environment},
        timeout=110,
    )
    assert not ok or done.returncode == 0, done.stderr.decode()
    return done
