"""The command line as a person meets it: help with an example, clear errors, exit codes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TextIO

import pytest

from tests.cli.command import reroll

COMMANDS = (
    "apply", "controller", "demo", "explain", "generate", "lint", "migrate", "reloader", "restart", "sandbox",
    "simulate", "snapshot", "stale", "stamp",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(command: str) -> None:
    done = reroll(command, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert f"reroll {command}" in done.stdout.split("Example", 1)[1]


def test_the_commands_are_listed() -> None:
    done = reroll("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("explian", "x"), "explain"),
        (("explain", "web"), "write KIND/NAME"),
        (("explain", "pod/web"), "write KIND/NAME"),
        (("controller", "--settle", "soon"), "'soon' is not a duration"),
        (("controller", "--actors", "0"), "actors"),
        (("controller", "--config", "/nowhere.yaml"), "/nowhere.yaml"),
        (("controller", "--kubeconfig", "/nowhere"), "/nowhere"),
        (("controller", "--namespace", "a", "--namespace-selector", "b"), "exclude each other"),
    ],
)
def test_what_is_not_understood_is_said_in_a_line_and_exits_with_2(
    arguments: tuple[str, ...], message: str
) -> None:
    done = reroll(*arguments, KUBECONFIG="/nowhere")
    assert done.returncode == 2
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_bad_setting_in_a_file_names_the_file_and_the_setting(tmp_path: Path) -> None:
    file = tmp_path / "reroll.yaml"
    file.write_text("setle: 1s\n")
    done = reroll("controller", "--config", str(file))
    assert done.returncode == 2
    assert str(file) in done.stderr
    assert "settle" in done.stderr


def test_an_unreachable_server_is_said_and_exits_with_1(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
        " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}"
    )
    done = reroll("explain", "deployment/web", "--kubeconfig", str(file))
    assert done.returncode == 1
    assert "cannot reach http://127.0.0.1:1" in done.stderr


CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {a: b}\n"


def writing_to(output: TextIO, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`reroll ARGUMENTS` with this as its standard output, and a ConfigMap to read."""
    return subprocess.run(
        [sys.executable, "-m", "reroll", *arguments],
        input=CONFIG_MAP,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    "arguments",
    [("stamp", "-"), ("lint", "-", "-o", "json"), ("migrate", "-"), ("lint", "--rules"), ("--version",)],
)
def test_output_that_finds_no_room_is_said_in_a_line(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = writing_to(full, *arguments)
    assert done.returncode == 1
    assert done.stderr.strip() == "reroll: standard output: No space left on device"


def test_a_temporary_file_that_finds_no_room_is_not_the_output() -> None:
    """A stream that is too large for the memory waits on disk."""
    stream = "---\n".join([CONFIG_MAP, f"# {'x' * (17 << 20)}\n", CONFIG_MAP])
    done = subprocess.run(
        [sys.executable, "-m", "reroll", "lint", "-"],
        input=stream,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16)),
    )
    assert done.returncode == 2
    assert done.stderr.strip() == f"reroll: {tempfile.gettempdir()}: File too large"


def test_a_standard_output_that_is_not_for_writing_is_said() -> None:
    with open(os.devnull) as nothing:
        done = writing_to(nothing, "lint", "--rules")
    assert done.returncode == 1
    assert done.stderr.strip() == "reroll: standard output: Bad file descriptor"


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"( {sys.executable} -m reroll lint --rules; echo $? >&2 ) | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() in ("0", "141")


def test_output_that_is_closed_is_dropped() -> None:
    command = f"{sys.executable} -m reroll lint - -o json >&- 2>&-; echo $? > /dev/fd/3"
    done = subprocess.run(
        ["bash", "-c", f"( {command} ) 3>&1"],
        input="{",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "1", done.stderr
