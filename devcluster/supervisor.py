"""Starts the control plane, watches over it, and leaves nothing behind.

The last step of the dev cluster: `binaries.py` has built the programs, `components.py` says how they
are called, `cluster.py` is the command that people and tests run. One supervisor owns one control plane
and its data directory. Its end is the end of both, however it comes: a signal, a closed stdin, a dead
component, or SIGKILL, against which two things stand: Linux kills the children with their parent
(PR_SET_PDEATHSIG), and a small shell, the janitor, wakes when the pipe from the supervisor breaks.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from devcluster.components import (
    CONTEXTS,
    Component,
    Layout,
    components,
    new_layout,
    node,
    write_configuration,
)
from devcluster.versions import DevClusterError, Release

# How long the start may take. Tried on 2 cores: 5 s; a machine that builds something else at the same
# time needs several times that. Below the 120 s after which pytest would give up, and say less.
START_SECONDS = 90

# Reads the children's process ids, then waits for the pipe to break. `forget` says that they have ended
# in order, so that no process that got one of their ids since is killed.
JANITOR = """
trap '' INT TERM HUP
pids=
while read -r line; do
  case $line in forget) pids= ;; *) pids="$pids $line" ;; esac
done
if [ -n "$pids" ]; then kill -9 $pids 2>/dev/null; fi
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"""


class Interrupted(BaseException):
    """A signal came, or stdin closed: stop everything, and that is no failure."""


class ComponentDied(DevClusterError):
    """A component ended by itself; the message has its name and the end of its log."""

    def __init__(self, name: str, code: int, log: str) -> None:
        tail = "\n".join(f"    {line[:400]}" for line in log.splitlines()[-12:]) or "    (its log is empty)"
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        super().__init__(f"{name} {ended}; the end of its log:\n{tail}")
        # The words differ between libraries; these are the kernel's, which all of them pass on.
        self.port_taken = "address already in use" in log


class Supervisor:
    """One control plane of `release` with `nodes` fake nodes, of the programs given by name.

    `until_stdin_closes`: the end of stdin is taken for a request to stop, at every moment.
    """

    def __init__(
        self,
        release: Release,
        programs: dict[str, Path],
        stages: Path,
        nodes: int,
        until_stdin_closes: bool,
    ) -> None:
        self._release = release
        self._programs, self._stages, self._nodes = programs, stages, nodes
        self._stdin = sys.stdin.fileno() if until_stdin_closes else None
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._janitor: subprocess.Popen[str] | None = None
        self._data: Path | None = None

    def start(self) -> dict[str, Any]:
        """Start everything and return, once pods can run, what a user of it has to know (JSON-able).

        Raises:
            DevClusterError: a component died or the start took too long.
            Interrupted: a request to stop came meanwhile.
        """
        try:
            return self._start()
        except ComponentDied as died:
            if not died.port_taken:
                raise
            # Somebody took a port between our choosing it and the component's binding it.
            self.stop()
            return self._start()

    def hold(self) -> None:
        """Watch over the components until a request to stop comes, which is raised as Interrupted."""
        while True:
            self._pause(0.5)

    def stop(self) -> None:
        """Kill what runs and remove the data. Safe to call at any time, and more than once.

        Killed, not asked: the data goes with them, and the API server would wait for its watches.
        """
        for child in self._children.values():
            child.kill()
        for child in self._children.values():
            child.wait()
        self._children.clear()
        if self._janitor and self._janitor.stdin:
            self._janitor.stdin.write("forget\n")
            self._janitor.stdin.close()
            # The janitor removes the data: should we be killed just now, nothing is lost.
            self._janitor.wait()
            self._janitor = None
        if self._data:
            shutil.rmtree(self._data, ignore_errors=True)
            self._data = None

    def _start(self) -> dict[str, Any]:
        started = time.monotonic()
        self._data = Path(tempfile.mkdtemp(prefix="reroll-devcluster-"))
        self._janitor = subprocess.Popen(
            ["/bin/sh", "-c", JANITOR, "janitor", str(self._data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C is for the supervisor alone, here as with the components.
            start_new_session=True,
        )
        layout = new_layout(self._data)
        subprocess.run([self._programs["pki"], layout.pki], check=True, stdin=subprocess.DEVNULL)
        write_configuration(layout, self._stages)
        etcd, api_server, others = components(layout, self._release, self._programs)

        self._spawn(etcd)
        self._wait("etcd to listen", lambda: _listens(layout.etcd_port), started)
        self._spawn(api_server)
        self._wait("the API server's port", lambda: _listens(layout.api_port), started)
        api = Api(layout)
        self._wait("the API server to be ready", lambda: api.get("/readyz") is not None, started)
        for component in others:
            self._spawn(component)
        for number in range(self._nodes):
            api.post("/api/v1/nodes", node(f"node-{number}"))
        self._wait("the nodes to be Ready", lambda: _nodes_ready(api, self._nodes), started)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait("the default service account", lambda: api.get(account) is not None, started)

        return {
            "kubernetes": self._release.version,
            "kubeconfig": str(layout.kubeconfig),
            "server": layout.server,
            "audit_log": str(layout.audit_log),
            "data_dir": str(layout.data),
            "kubectl": str(self._programs["kubectl"]),
            "ca": str(layout.pki / "ca.crt"),
            "tokens": {user: layout.tokens[user] for user in CONTEXTS},
            "nodes": self._nodes,
            "pid": os.getpid(),
            "pids": {name: child.pid for name, child in self._children.items()},
            "start_seconds": round(time.monotonic() - started, 1),
            "memory_mb": self._memory_mb(),
        }

    def _spawn(self, component: Component) -> None:
        assert self._data
        with self._log(component.name).open("wb") as log:
            child = subprocess.Popen(
                component.command,
                cwd=self._data,
                # No proxy between components, and a home of their own for what they may write there.
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(self._data)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
        self._children[component.name] = child
        if self._janitor and self._janitor.stdin:
            self._janitor.stdin.write(f"{child.pid}\n")
            self._janitor.stdin.flush()

    def _log(self, name: str) -> Path:
        assert self._data
        return self._data / f"{name}.log"

    def _wait(self, what: str, done: Callable[[], bool], started: float) -> None:
        while not done():
            self._pause(0.03)
            if time.monotonic() - started > START_SECONDS:
                tails = [f"{name}: {_last_line(self._log(name))}" for name in self._children]
                raise DevClusterError(
                    f"waited {START_SECONDS} s for {what}; the last line of each log:\n    "
                    + "\n    ".join(tails)
                )

    def _pause(self, seconds: float) -> None:
        """Wait a little; a dead component or the end of stdin is raised."""
        if self._stdin is None:
            time.sleep(seconds)
        elif select.select([self._stdin], [], [], seconds)[0] and not os.read(self._stdin, 4096):
            raise Interrupted
        for name, child in self._children.items():
            if (code := child.poll()) is not None:
                raise ComponentDied(name, code, self._log(name).read_text(errors="replace"))

    def _memory_mb(self) -> int | None:
        """Resident memory of all components, in megabytes; None where there's no /proc."""
        total = 0
        try:
            for child in self._children.values():
                status = Path(f"/proc/{child.pid}/status").read_text()
                total += int(status.split("VmRSS:")[1].split()[0])
        except (OSError, IndexError):
            return None
        return round(total / 1000)


class Api:
    """The few requests that the start needs, as `admin`."""

    def __init__(self, layout: Layout) -> None:
        self._port = layout.api_port
        self._context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
        self._headers = {
            "Authorization": f"Bearer {layout.tokens['admin']}",
            "Content-Type": "application/json",
        }

    def get(self, path: str) -> Any | None:
        """The object, or None while the server can't tell: not there, not ready, not listening."""
        status, body = self._request("GET", path, None)
        return body if status == 200 else None

    def post(self, path: str, content: dict[str, object]) -> None:
        """Create an object.

        Raises:
            DevClusterError: the server refused it.
        """
        status, body = self._request("POST", path, json.dumps(content))
        if status != 201:
            raise DevClusterError(f"the API server answered {status} to POST {path}: {body}")

    def _request(self, method: str, path: str, content: str | None) -> tuple[int, Any]:
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=10, context=self._context)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, content, self._headers)
                answer = connection.getresponse()
                text = answer.read().decode()
            except (OSError, http.client.HTTPException) as error:
                return 0, str(error)
            with contextlib.suppress(ValueError):
                return answer.status, json.loads(text)
            return answer.status, text


def _nodes_ready(api: Api, count: int) -> bool:
    """Ready, and rid of the taint under which every node is born, so that pods are scheduled at once."""
    found = api.get("/api/v1/nodes")
    if found is None:
        return False
    ready = [
        item
        for item in found["items"]
        if not item["spec"].get("taints")
        and any(c["type"] == "Ready" and c["status"] == "True" for c in item["status"].get("conditions", []))
    ]
    return len(ready) >= count


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "(empty)"


def _die_with(parent: int) -> Callable[[], None] | None:
    """What a child calls before it becomes the component: on Linux, have it killed when `parent` ends."""
    if sys.platform != "linux":
        return None
    # Loaded here and not in the child: between fork and exec as little as possible may happen.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    set_parent_death_signal = 1

    def prepare() -> None:
        prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the call
            os._exit(1)

    return prepare


def write_privately(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle: IO[str]
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
        handle.write(text)
    temporary.replace(path)
