from __future__ import annotations

import pytest

from devcluster.programs import PROGRAMS, program
from tests.manifests.programs import located, run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "arguments", "version"),
    [
        ("helm3", ("version", "--short"), "v3.22.0"),
        ("helm4", ("version", "--short"), "v4.3.1"),
        ("kustomize", ("version",), "v5.8.1"),
    ],
)
def test_they_are_the_pinned_ones(name: str, arguments: tuple[str, ...], version: str) -> None:
    assert run(name, *arguments).stdout.decode().startswith(version)
    assert program(name) == located(name)
    assert name in PROGRAMS
