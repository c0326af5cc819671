"""docs/recipes.md as something to run: its files are written, its commands are run, their output is compared.

A block whose first line is a comment with a path is a file. In a `console` block a line `$ COMMAND` is run, and what
follows is its standard output; in there `...` stands for anything, and on a line of its own for any lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE: Final = re.compile(r"# ([\w./-]+)\n")
_MARK: Final = "--- end of output ---"


class Command(NamedTuple):
    """A command of the page, and what it prints there."""

    text: str
    expected: str
    first: bool
    """Whether it is the first one of its block."""


class File(NamedTuple):
    path: str
    text: str


def headings() -> list[str]:
    """The sections of the page."""
    return re.findall(r"^## (.*)$", _BLOCK.sub("", PAGE.read_text()), re.MULTILINE)


def section(heading: str) -> str:
    """The text below a heading, up to the next one of its rank."""
    text = PAGE.read_text()
    start = text.index(f"\n## {heading}\n")
    found = re.search(r"^## ", text[start + 4 :], re.MULTILINE)
    return text[start : start + 4 + found.start() if found else None]


def steps(text: str) -> Iterator[File | Command]:
    """The files and the commands, in the order of the page."""
    for language, block in _BLOCK.findall(text):
        if found := _FILE.match(block):
            yield File(found[1], block)
        elif language == "console":
            for number, each in enumerate(re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]):
                command, _, expected = each.partition("\n")
                yield Command(command, expected, number == 0)


def shell(text: str) -> list[str]:
    """The commands of the `shell` blocks, which are shown without output."""
    blocks = [block for language, block in _BLOCK.findall(text) if language == "shell"]
    return [line for block in blocks if not _FILE.match(block) for line in block.splitlines()]


def play(
    text: str, folder: Path, environment: Mapping[str, str], *, namespace: str = "", pause: float = 0.0
) -> None:
    """Do what stands there, in this folder. In what is printed, `namespace` counts as the page's: shop.

    Between two blocks some time passes for the reader, and `pause` seconds here: the times of a cluster are whole
    seconds. Raises AssertionError where a command prints something else than the page says.
    """
    before = "true"
    for step in steps(text):
        if isinstance(step, File):
            path = folder / step.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.text)
            continue
        if step.first:
            time.sleep(pause)
        # $? is that of the command before, as in a shell that goes on
        script = f"{before}\n{step.text}\ncode=$?; printf '\\n%s\\n' '{_MARK}'; exit $code"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=100,
        )
        before = f"(exit {done.returncode})"
        printed = done.stdout.removesuffix(f"\n{_MARK}\n").rstrip("\n")
        if namespace:
            printed = printed.replace(namespace, "shop")
        assert _matches(step.expected.rstrip("\n"), printed), (
            f"$ {step.text}\nthe page has:\n{step.expected}\nit printed:\n{printed}\nand on stderr:\n{done.stderr}"
        )


def _matches(expected: str, printed: str) -> bool:
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + "\n"
        for line in expected.split("\n")
    )
    return re.fullmatch(pattern, f"{printed}\n") is not None
