"""Exec plugins, as real programs: what they are told, what their answers mean, and how they fail."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from reroll.kube.config import ConfigError, load_config
from reroll.kube.exec_plugin import ExecPlugin
from reroll.kube.kubeconfig import Entry, Exec, ExecVariable, User

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def script(directory: Path, body: str, name: str = "plugin") -> Path:
    """An executable program. `said(...)` prints an ExecCredential; each run adds a line to the file runs."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys, time\n"
        f"open({str(directory / 'runs')!r}, 'a').write('run\\n')\n"
        f"runs = len(open({str(directory / 'runs')!r}).readlines())\n"
        f"def said(version={V1!r}, kind='ExecCredential', **status):\n"
        "    print(json.dumps({'apiVersion': version, 'kind': kind, 'status': status}))\n"
        f"{body}\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def runs(directory: Path) -> int:
    path = directory / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


def plugin(
    command: Path | str,
    *,
    version: str = V1,
    mode: str = "Never",
    environ: Mapping[str, str] = os.environ,
    clock: Clock | None = None,
    terminal: bool = False,
    timeout: float = 60.0,
    cluster: Mapping[str, Any] | None = None,
    **fields: Any,
) -> ExecPlugin:
    spec = Exec(command=str(command), api_version=version, interactive_mode=mode, **fields)
    return ExecPlugin(
        Entry("ann", User(exec=spec), "/home/x/.kube/config", "users[0].user"),
        spec,
        cluster=cluster or {},
        tls=None,
        environ=environ,
        clock=clock or Clock(),
        has_terminal=lambda: terminal,
        timeout=timeout,
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does; the test's own timeout bounds it."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("version", [V1, V1BETA1])
async def test_a_token_is_asked_for_once(tmp_path: Path, version: str) -> None:
    source = plugin(script(tmp_path, f"said({version!r}, token=f't{{runs}}')"), version=version)
    assert runs(tmp_path) == 0
    assert await source.authorization() == "Bearer t1"
    assert await source.authorization() == "Bearer t1"
    assert runs(tmp_path) == 1


async def test_requests_at_the_same_time_share_one_run(tmp_path: Path) -> None:
    source = plugin(script(tmp_path, "time.sleep(0.2); said(token=f't{runs}')"))
    assert set(await asyncio.gather(*(source.authorization() for _ in range(20)))) == {"Bearer t1"}
    assert runs(tmp_path) == 1


async def test_the_loop_goes_on_while_the_program_runs(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    body = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\nsaid(token='t')"
    asked = asyncio.create_task(plugin(script(tmp_path, body)).authorization())
    await until(lambda: runs(tmp_path) == 1)
    gate.touch()  # only a loop that was not blocked gets here
    assert await asked == "Bearer t"


class TestRenewal:
    BODY = (
        "when = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(1_800_000_000 + 600 * runs))\n"
        "said(token=f't{runs}', expirationTimestamp=when)"
    )

    async def test_a_credential_is_replaced_shortly_before_it_expires(self, tmp_path: Path) -> None:
        clock = Clock()
        source = plugin(script(tmp_path, self.BODY), clock=clock)
        assert await source.authorization() == "Bearer t1"
        clock.now += 580
        assert await source.authorization() == "Bearer t1"
        clock.now += 15
        assert await source.authorization() == "Bearer t2"
        clock.now += 500
        assert await source.authorization() == "Bearer t2"

    async def test_an_offset_in_the_timestamp_counts(self, tmp_path: Path) -> None:
        clock = Clock()
        # 1,800,000,000 is 2027-01-15T08:00:00Z
        body = "said(token=f't{runs}', expirationTimestamp='2027-01-15T10:10:00+02:00')"
        source = plugin(script(tmp_path, body), clock=clock)
        assert await source.authorization() == "Bearer t1"
        clock.now += 580
        assert await source.authorization() == "Bearer t1"
        clock.now += 20
        assert await source.authorization() == "Bearer t2"

    async def test_one_that_is_expired_when_it_comes_makes_no_loop_of_runs(self, tmp_path: Path) -> None:
        clock = Clock()
        body = "said(token=f't{runs}', expirationTimestamp='2001-01-01T00:00:00Z')"
        source = plugin(script(tmp_path, body), clock=clock)
        assert await source.authorization() == "Bearer t1"
        assert await source.authorization() == "Bearer t1"
        clock.now += 1
        assert await source.authorization() == "Bearer t2"

    async def test_a_refused_one_is_dropped_once_for_all_who_were_refused(self, tmp_path: Path) -> None:
        clock = Clock()
        source = plugin(script(tmp_path, "said(token=f't{runs}')"), clock=clock)
        assert await source.authorization() == "Bearer t1"
        clock.now += 60
        for _ in range(3):
            assert await source.renew() is True
            assert await source.authorization() == "Bearer t2"
        assert runs(tmp_path) == 2

    async def test_the_last_one_is_kept_while_it_is_valid_and_the_program_fails(self, tmp_path: Path) -> None:
        clock = Clock()
        body = "if runs == 2: sys.exit(1)\n" + self.BODY
        source = plugin(script(tmp_path, body), clock=clock)
        assert await source.authorization() == "Bearer t1"
        clock.now += 595
        assert await source.authorization() == "Bearer t1"
        assert runs(tmp_path) == 2
        clock.now += 2
        assert await source.authorization() == "Bearer t3"

    async def test_a_failure_is_shared_by_those_who_waited_and_then_tried_again(self, tmp_path: Path) -> None:
        clock = Clock()
        source = plugin(script(tmp_path, "if runs == 1: sys.exit(3)\nsaid(token='t')"), clock=clock)
        results = await asyncio.gather(*(source.authorization() for _ in range(5)), return_exceptions=True)
        assert [type(r) for r in results] == [ConfigError] * 5
        assert runs(tmp_path) == 1
        clock.now += 1
        assert await source.authorization() == "Bearer t"


class TestWhatItIsTold:
    async def test_arguments_and_environment(self, tmp_path: Path) -> None:
        body = "said(token='-'.join([*sys.argv[1:], os.environ['A'], os.environ['B'], os.environ['C']]))"
        source = plugin(
            script(tmp_path, body),
            args=["x", "y"],
            env=[ExecVariable("A", "a2"), ExecVariable("B", "b")],
            environ={**os.environ, "A": "a1", "C": "c"},
        )
        assert await source.authorization() == "Bearer x-y-a2-b-c"

    @pytest.mark.parametrize(
        ("mode", "terminal", "interactive"),
        [
            ("Never", True, False),
            ("Never", False, False),
            ("IfAvailable", False, False),
            ("IfAvailable", True, True),
            ("Always", True, True),
        ],
    )
    async def test_whether_it_may_ask_a_person(
        self, tmp_path: Path, mode: str, terminal: bool, interactive: bool
    ) -> None:
        body = "i = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\nsaid(token=str(i['spec']['interactive']))"
        source = plugin(script(tmp_path, body), mode=mode, terminal=terminal)
        assert await source.authorization() == f"Bearer {interactive}"

    async def test_a_person_is_needed_and_there_is_none(self, tmp_path: Path) -> None:
        source = plugin(script(tmp_path, "said(token='t')"), mode="Always")
        with pytest.raises(ConfigError, match="needs a terminal to ask a person"):
            await source.authorization()
        assert runs(tmp_path) == 0

    async def test_v1beta1_may_leave_out_the_mode(self, tmp_path: Path) -> None:
        body = f"said({V1BETA1!r}, token='t')"
        assert await plugin(script(tmp_path, body), version=V1BETA1, mode="").authorization() == "Bearer t"

    @pytest.mark.parametrize("asks", [True, False])
    async def test_the_cluster_where_it_asks_for_it(self, tmp_path: Path, asks: bool) -> None:
        body = (
            f"open({str(tmp_path / 'info')!r}, 'w').write(os.environ['KUBERNETES_EXEC_INFO'])\n"
            "said(token='t')"
        )
        command = script(tmp_path, body)
        config = {
            "clusters": [
                {
                    "name": "east",
                    "cluster": {
                        "server": "https://east:6443/",
                        "tls-server-name": "inside",
                        "insecure-skip-tls-verify": True,
                        "proxy-url": "http://proxy:1",
                        "disable-compression": True,
                        "extensions": [
                            {"name": "other", "extension": 1},
                            {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}},
                        ],
                    },
                }
            ],
            "users": [
                {
                    "name": "ann",
                    "user": {
                        "exec": {
                            "command": str(command),
                            "apiVersion": V1,
                            "interactiveMode": "Never",
                            "provideClusterInfo": asks,
                        }
                    },
                }
            ],
            "contexts": [{"name": "dev", "context": {"cluster": "east", "user": "ann"}}],
            "current-context": "dev",
        }
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        loaded = load_config(kubeconfig=str(tmp_path / "config"))
        assert dict(await loaded.credentials.headers()) == {"Authorization": "Bearer t"}
        spec: dict[str, Any] = {"interactive": False}
        if asks:
            spec["cluster"] = {
                "server": "https://east:6443",
                "tls-server-name": "inside",
                "insecure-skip-tls-verify": True,
                "proxy-url": "http://proxy:1",
                "disable-compression": True,
                "config": {"audience": "a"},
            }
        info = json.loads((tmp_path / "info").read_text())
        assert info == {"apiVersion": V1, "kind": "ExecCredential", "spec": spec}


class TestWhereItIs:
    async def test_on_the_path_of_its_environment(self, tmp_path: Path) -> None:
        script(tmp_path / "bin", "said(token='t')")
        source = plugin("plugin", environ={"PATH": f"/nowhere:{tmp_path}/bin"})
        assert await source.authorization() == "Bearer t"

    async def test_beside_the_kubeconfig_that_names_it(self, tmp_path: Path) -> None:
        script(tmp_path / "bin", "said(token='t')")
        spec = Exec(command="./bin/plugin", api_version=V1, interactive_mode="Never")
        entry = Entry("ann", User(exec=spec), str(tmp_path / "config"), "users[0].user")
        source = ExecPlugin(entry, spec, cluster={}, tls=None, environ={})
        assert await source.authorization() == "Bearer t"

    async def test_not_installed_shows_the_hint(self) -> None:
        source = plugin("no-such-plugin", install_hint="Install it with: apt install it\n")
        with pytest.raises(ConfigError) as caught:
            await source.authorization()
        assert str(caught.value) == (
            "/home/x/.kube/config: users[0].user.exec: no-such-plugin cannot be found: it is not on PATH\n"
            "Install it with: apt install it"
        )

    async def test_no_such_file(self) -> None:
        with pytest.raises(
            ConfigError, match=r"exec: /nowhere/plugin cannot be found: there is no such file$"
        ):
            await plugin("/nowhere/plugin").authorization()

    async def test_not_executable(self, tmp_path: Path) -> None:
        path = script(tmp_path, "said(token='t')")
        path.chmod(0o644)
        with pytest.raises(ConfigError, match=r"is not executable; set its mode with chmod \+x"):
            await plugin(path).authorization()

    async def test_not_a_program(self, tmp_path: Path) -> None:
        (tmp_path / "plugin").write_bytes(b"\x7fnothing that runs")
        (tmp_path / "plugin").chmod(0o755)
        with pytest.raises(ConfigError, match="cannot be run: Exec format error"):
            await plugin(tmp_path / "plugin").authorization()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print('please log in', file=sys.stderr); sys.exit(7)", "failed with exit code 7: please log in"),
        ("sys.exit(1)", "failed with exit code 1"),
        ("print('x' * 2000 + 'end', file=sys.stderr); sys.exit(1)", "xend"),
        ("os.kill(os.getpid(), 15)", "was ended by signal 15"),
        ("", "printed no ExecCredential: "),
        ("print('s3cret')", "printed no ExecCredential: JSON is malformed"),
        ("print('[]')", "printed no ExecCredential: Expected `object`, got `array`"),
        ("said(token=5)", "Expected `str | null`, got `int` - at `$.status.token`"),
        ("said(token='s3cret', expirationTimestamp='soon')", "at `$.status.expirationTimestamp`"),
        ("said(kind='Secret', token='s3cret')", 'printed kind "Secret", expected ExecCredential'),
        (
            f"said({V1BETA1!r}, token='s3cret')",
            f'printed apiVersion "{V1BETA1}", but /home/x/.kube/config: users[0].user.exec.apiVersion is {V1}',
        ),
        (
            f"print(json.dumps({{'apiVersion': {V1!r}, 'kind': 'ExecCredential'}}))",
            "printed an ExecCredential without status",
        ),
        ("said()", "printed neither status.token nor status.clientCertificateData"),
        ("said(token=None)", "printed neither status.token nor status.clientCertificateData"),
        ("said(token='s3cret s3cret')", "status.token: holds no bearer token"),
        (
            "said(clientCertificateData='s3cret')",
            "half of a client certificate: status.clientKeyData is missing",
        ),
        (
            "said(token='s3cret', clientKeyData='s3cret')",
            "half of a client certificate: status.clientCertificateData is missing",
        ),
    ],
)
async def test_each_failure_says_what_and_where(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await plugin(script(tmp_path, body)).authorization()
    assert str(caught.value).startswith("/home/x/.kube/config: users[0].user.exec")
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert len(str(caught.value)) < 700


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


CHILD = (
    "import subprocess\n"
    "child = subprocess.Popen(['sleep', '300'])\n"
    "open({pids!r} + '.new', 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
    "os.rename({pids!r} + '.new', {pids!r})\n"
    "time.sleep(300)"
)


async def test_one_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = tmp_path / "plugin"  # a shell, for it is there at once
    command.write_text(f"#!/bin/sh\nsleep 300 &\necho $$ $! > {pids}\nwait\n")
    command.chmod(0o755)
    source = plugin(command, timeout=2.0)
    with pytest.raises(ConfigError, match="gave no answer within 2 s"):
        await source.authorization()
    for pid in map(int, pids.read_text().split()):
        await until(partial(gone, pid))


async def test_a_cancelled_request_leaves_nothing_running_and_the_next_asks_again(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    body = "if runs > 1: said(token='t'); sys.exit()\n" + CHILD.format(pids=str(pids))
    source = plugin(script(tmp_path, body))
    asked = asyncio.create_task(source.authorization())
    await until(pids.exists)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    for pid in map(int, pids.read_text().split()):
        await until(partial(gone, pid))
    assert await source.authorization() == "Bearer t"


async def test_a_token_beside_a_plugin_goes_first(tmp_path: Path) -> None:
    command = script(tmp_path, "said(token='plugin')")
    user = {"token": "fixed", "exec": {"command": str(command), "apiVersion": V1, "interactiveMode": "Never"}}
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "https://h"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(json.dumps(config))
    loaded = load_config(kubeconfig=str(tmp_path / "config"))
    assert dict(await loaded.credentials.headers()) == {"Authorization": "Bearer fixed"}
    assert runs(tmp_path) == 0
