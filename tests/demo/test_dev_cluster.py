"""Starting the dev cluster, with a program in its place: what it says is passed on, and it never stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import reroll
from reroll.demo import dev_cluster
from reroll.demo.dev_cluster import DevCluster
from reroll.demo.error import DemoError

RUNS = """
import json, os, signal, sys
signal.signal(signal.SIGINT, lambda number, frame: sys.exit(0))
print("dev cluster: building etcd (2/7)", file=sys.stderr, flush=True)
print(json.dumps({"kubeconfig": "/k/config", "pid": os.getpid()}), flush=True)
sys.stdin.read()
"""
NO_GO = """
import sys
print("devcluster: there is no 'go' on PATH", file=sys.stderr)
sys.exit(3)
"""
FAILS = """
import sys
print("devcluster: etcd ended with code 1; the end of its log:\\n    no space left", file=sys.stderr)
sys.exit(1)
"""
STAYS = """
import os, sys
state = sys.argv[0] + ".up"
command = sys.argv[1]
with open(sys.argv[0] + ".log", "a") as log:
    print(command, file=log)
if command == "up":
    open(state, "w").close()
    print("export KUBECONFIG=/k/up")
elif command == "down":
    os.unlink(state)
elif os.path.exists(state):
    print("running: https://127.0.0.1:1\\nexport KUBECONFIG=/k/up")
else:
    sys.exit("not running")
"""


def program(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cluster.py"
    path.write_text(text)
    return path


async def test_it_lives_as_long_as_the_demo(tmp_path: Path) -> None:
    said: list[str] = []
    cluster = DevCluster(said.append, program=program(tmp_path, RUNS))
    assert await cluster.start() == "/k/config"
    process = cluster._process
    assert process is not None
    await cluster.stop()
    assert said == ["dev cluster: building etcd (2/7)"]
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


async def test_without_go_it_says_what_is_needed(tmp_path: Path) -> None:
    cluster = DevCluster(print, program=program(tmp_path, NO_GO))
    with pytest.raises(DemoError, match=r"no 'go' on PATH; or use a cluster .*--context NAME") as raised:
        await cluster.start()
    assert raised.value.code == 2
    await cluster.stop()


async def test_a_start_that_fails_tells_why(tmp_path: Path) -> None:
    cluster = DevCluster(print, program=program(tmp_path, FAILS))
    with pytest.raises(
        DemoError, match=r"did not start: etcd ended with code 1(.|\n)*no space left"
    ) as raised:
        await cluster.start()
    assert raised.value.code == 1
    await cluster.stop()


def test_without_a_checkout_it_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        reroll, "__file__", str(tmp_path / "lib" / "site-packages" / "reroll" / "__init__.py")
    )
    with pytest.raises(DemoError, match=r"needs a checkout of reroll and Go .*--context NAME") as raised:
        dev_cluster.script()
    assert raised.value.code == 2


async def test_one_to_keep_is_stopped_only_if_the_demo_began_it(tmp_path: Path) -> None:
    path = program(tmp_path, STAYS)
    log = tmp_path / "cluster.py.log"

    ours = DevCluster(lambda line: None, keep=True, program=path)
    assert await ours.start() == "/k/up"
    theirs = DevCluster(lambda line: None, keep=True, program=path)
    assert await theirs.start() == "/k/up"
    await theirs.stop()
    assert log.read_text().split() == ["status", "up", "status"]
    await ours.stop()
    assert log.read_text().split()[-1] == "down"
