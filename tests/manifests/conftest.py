"""Builds Helm and kustomize before the first test that runs them: it takes minutes once, more than a test may."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from devcluster.programs import PROGRAMS, GoMissing, program

HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly or not any(map(_runs_them, session.items)):
        return
    for name in PROGRAMS:
        # Without Go the tests are skipped; where it can't be built, they say why.
        with contextlib.suppress(GoMissing, OSError, subprocess.SubprocessError):
            program(name)


def _runs_them(item: pytest.Item) -> bool:
    return HERE in item.path.parents and item.get_closest_marker("slow") is not None
