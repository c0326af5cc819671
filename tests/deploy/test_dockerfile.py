"""The Dockerfile can't be built where there is no container engine, so what can be known of it is checked."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Instruction(NamedTuple):
    word: str
    rest: str


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile; comments dropped, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [Instruction((parts := line.split(None, 1))[0].upper(), parts[1]) for line in joined.splitlines()]


def complaints(text: str) -> list[str]:
    """What is wrong with a Dockerfile, by the rules of this project; empty for a good one."""
    found = []
    steps = instructions(text)
    stages: set[str] = set()
    for word, rest in steps:
        if word == "FROM":
            image, *alias = rest.split()
            tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
            if image not in stages and (not tag or "latest" in tag or not re.match(r"\d+\.\d+", tag)):
                found.append(f"FROM {image}: the base is not pinned to a version")
            stages.update(alias[1:])
        if word == "ADD":
            found.append(f"ADD {rest}: COPY what is here, and let nothing be fetched by its address")
        if word == "RUN" and re.search(r"\b(sudo|curl|wget|apt-get|apt)\b|https?://", rest):
            found.append(f"RUN {rest}: fetches something that no lock names")
        if word in ("ENTRYPOINT", "CMD") and not isinstance(_json(rest), list):
            found.append(f"{word} {rest}: needs a shell; write it as a JSON list")
        if word in ("ENV", "ARG") and re.search(r"(?i)token|password|secret|index_url|proxy", rest):
            found.append(f"{word} {rest}: stays in the image's history")
    users = [rest for word, rest in steps if word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        found.append("USER: the last one has to be UID:GID by number, and not root")
    return found


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


GOOD = 'FROM python:3.13-slim\nUSER 65532:65532\nENTRYPOINT ["reroll"]\n'


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (GOOD.replace(":3.13-slim", ""), "not pinned"),
        (GOOD.replace("3.13-slim", "latest"), "not pinned"),
        (GOOD.replace("USER 65532:65532\n", ""), "USER"),
        (GOOD.replace("65532:65532", "root"), "USER"),
        (GOOD.replace("65532:65532", "0:0"), "USER"),
        (GOOD + "ADD https://example.com/x /x\n", "ADD"),
        (GOOD + "RUN curl -sL example.com | sh\n", "no lock names"),
        (GOOD.replace('["reroll"]', "reroll"), "shell"),
        (GOOD + "ARG TOKEN\n", "history"),
    ],
)
def test_the_check_finds(bad: str, said: str) -> None:
    assert complaints(GOOD) == []
    assert any(said in complaint for complaint in complaints(bad))


def test_dockerfile() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert complaints(text) == []
    steps = instructions(text)
    assert ("ENTRYPOINT", '["reroll"]') in steps
    assert ("CMD", '["controller"]') in steps
    assert [rest.split()[0] for word, rest in steps if word == "FROM"] == ["python:3.13-slim-bookworm"] * 2


def test_what_is_copied_is_there_and_nothing_else_is_sent() -> None:
    steps = instructions((ROOT / "Dockerfile").read_text())
    copied: set[str] = set()
    for word, rest in steps:
        if word == "COPY" and not rest.startswith("--from="):
            copied.update(path.rstrip("/") for path in shlex.split(rest)[:-1])
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    for path in copied:
        assert (ROOT / path).exists(), path
        assert not any(fnmatch.fnmatch(path, rule) for rule in rules[1:] if not rule.startswith("!")), path


def test_the_locks_agree() -> None:
    """The image gets the versions that the tests ran with, and none of the tools."""
    tested, shipped = (pins(name) for name in ("requirements.lock", "requirements-runtime.lock"))
    assert shipped.items() <= tested.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = {re.split(r"[<>=~! ]", line)[0].lower() for line in project["project"]["dependencies"]}
    tools = {re.split(r"[<>=~! ]", line)[0].lower() for line in project["dependency-groups"]["dev"]}
    assert runtime <= shipped.keys()
    assert not tools & shipped.keys()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-runtime.lock"])
def test_a_lock_names_hashes_and_no_host(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"https?://|--index-url|--extra-index-url|--find-links|--trusted-host", text)
    assert text.count("--hash=sha256:") >= len(pins(name)) > 20


def pins(name: str) -> dict[str, str]:
    """Package -> version of a requirements lock."""
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
