"""Builds Helm and kustomize before the first test that runs them: it takes minutes once, more than a test may."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from devcluster.programs import PROGRAMS, GoMissing, program

HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly or not any(HERE in item.path.parents for item in session.items):
        return
    for name in PROGRAMS:
        # Without Go the tests are skipped; where it can't be built, they say why.
        with contextlib.suppress(GoMissing, OSError, subprocess.SubprocessError):
            program(name)
