"""docs/generate.md tells what `reroll generate` takes, reads and refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from reroll.cli.main import app
from reroll.manifests.hash_names import BASE_NAME, GENERATED, Keep
from reroll.manifests.kustomization import _BUILT, _NOT_BUILT
from reroll.manifests.prune import State

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "generate.md").read_text()


def test_every_option() -> None:
    arguments = app["generate"].assemble_argument_collection()
    options = {name for one in arguments for name in one.names if name.startswith("--")}
    options -= {"--mark", "--kubeconfig", "--context", "--output"}
    assert options <= set(re.findall(r"--[a-z-]+", PAGE))
    assert all(f"--keep {tool}`" in PAGE for tool in get_args(Keep))


def test_every_field_of_a_kustomization() -> None:
    built, not_built = PAGE.split("What is not built is an error", 1)
    for field in _BUILT - {"apiVersion", "kind", "metadata"}:
        assert f"`{field}`" in built, field
    sentence = not_built.split("; `namePrefix`", 1)[0]
    assert set(re.findall(r"`(\w+)`", sentence)) == _NOT_BUILT


def test_every_state_and_mark() -> None:
    rows = re.findall(r"^\| (\w+) \| .* \|$", PAGE.split("| state | meaning |", 1)[1], re.MULTILINE)
    assert set(rows) == set(get_args(State))
    assert f"`{BASE_NAME}`" in PAGE
    assert f"`{GENERATED}`" in PAGE
