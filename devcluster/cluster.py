#!/usr/bin/env python3
"""A real Kubernetes control plane for tests and demos, on loopback, in a few seconds.

The command over `binaries.py`, `components.py` and `supervisor.py`: `build` once per machine; `run` in
the foreground (what tests and demos use); `up`, `status` and `down` for one that stays. It needs Python
3.11 and its standard library, and Go for the build. What a program reads goes to stdout, the rest to
stderr. See docs/devcluster.md.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever python3 is there, unlike the package
    sys.exit(f"devcluster: needs Python 3.11 or newer, this is {sys.version.split()[0]}")

# Run as a script, Python looks for modules next to it; `devcluster` is a package of the folder above.
sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from devcluster.binaries import GoMissing, build, built, cache_root  # noqa: E402
from devcluster.supervisor import Interrupted, Supervisor, write_privately  # noqa: E402
from devcluster.versions import DEFAULT, RELEASES, VARIABLE, DevClusterError, Release, chosen  # noqa: E402

STOP_SECONDS = 30
# An exit code of its own: whoever runs the tests skips what needs Go, and takes nothing else for that.
NO_GO = 3


def main() -> int:
    """Run the command line and return the exit code: 0 done, 1 a failure named on stderr, 3 no (new enough) Go."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.action(arguments))
    except DevClusterError as error:
        print(f"devcluster: {error}", file=sys.stderr)
        return NO_GO if isinstance(error, GoMissing) else 1
    except KeyboardInterrupt:
        return 130


def _build(arguments: argparse.Namespace) -> int:
    release = chosen(arguments.kubernetes)
    if arguments.find:
        found = built(release)
        if found is None:
            raise DevClusterError(
                f"Kubernetes {release.version} is not built yet: "
                f"run 'devcluster/cluster.py build --kubernetes {release.version}' (some minutes, once)"
            )
    else:
        found = build(release, with_parent=arguments.with_parent)
    print(found)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    release = chosen(arguments.kubernetes)
    programs, stages = _programs(release, with_parent=arguments.until_stdin_closes)
    with contextlib.ExitStack() as stack:
        if arguments.state_file:
            stack.enter_context(_held(Path(arguments.state_file)))
        supervisor = Supervisor(release, programs, stages, arguments.nodes, arguments.until_stdin_closes)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        try:
            line = json.dumps(supervisor.start())
            if arguments.state_file:
                write_privately(Path(arguments.state_file), line)
            print(line, flush=True)
            supervisor.hold()
        except Interrupted:
            return 0
        finally:
            # From here on a second Ctrl-C must not leave things half stopped.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            if arguments.state_file:
                Path(arguments.state_file).unlink(missing_ok=True)
            supervisor.stop()
    return 0


def _up(arguments: argparse.Namespace) -> int:
    release = chosen(arguments.kubernetes)
    state_file = _state_file()
    state = _running(state_file)
    if state is None:
        _programs(release)  # builds here, where its progress is seen
        log = state_file.with_suffix(".log")
        with log.open("w") as output:
            process = subprocess.Popen(
                [
                    sys.executable,
                    __file__,
                    "run",
                    "--nodes",
                    str(arguments.nodes),
                    "--kubernetes",
                    release.version,
                    "--state-file",
                    state_file,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                start_new_session=True,
            )
        try:
            while (state := _running(state_file)) is None:
                if process.poll() is not None:
                    raise DevClusterError(f"the start failed: {log.read_text().strip()}")
                time.sleep(0.05)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
        _say_numbers(state)
    elif (runs := state.get("kubernetes", "another version")) != release.version:
        raise DevClusterError(
            f"the one that runs is Kubernetes {runs}, not {release.version}: stop it with 'down' first"
        )
    print(f"export KUBECONFIG={state['kubeconfig']}")
    return 0


def _down(_: argparse.Namespace) -> int:
    state_file = _state_file()
    state = _running(state_file)
    if state is None:
        print("dev cluster: not running", file=sys.stderr)
        return 0
    os.kill(state["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _is_held(state_file):
        if time.monotonic() > deadline:
            raise DevClusterError(f"process {state['pid']} did not stop within {STOP_SECONDS} s: kill it")
        time.sleep(0.05)
    print("dev cluster: stopped", file=sys.stderr)
    return 0


def _status(_: argparse.Namespace) -> int:
    state = _running(_state_file())
    if state is None:
        print("not running")
        return 1
    version = f"Kubernetes {state['kubernetes']}, " if "kubernetes" in state else ""
    print(f"running: {version}{state['server']}, {state['nodes']} nodes, process {state['pid']}")
    print(f"export KUBECONFIG={state['kubeconfig']}")
    return 0


def _programs(release: Release, with_parent: bool = False) -> tuple[dict[str, Path], Path]:
    """Paths of all programs by name, and the folder of kwok's stages.

    etcd, kube-apiserver and kubectl are those of KUBEBUILDER_ASSETS where it is set. It has no controllers,
    and without them nothing rolls, so these come from our own build in any case.
    """
    directory = build(release, with_parent)
    programs = {
        path.name: path for path in directory.iterdir() if path.is_file() and path.name != "build.log"
    }
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        for name in ("etcd", "kube-apiserver", "kubectl"):
            path = Path(assets) / name
            if path.is_file():
                programs[name] = path
            elif name != "kubectl":
                raise DevClusterError(f"KUBEBUILDER_ASSETS is {assets}, and there is no {name} in it")
    return programs, directory / "stages"


def _interrupt(number: int, frame: object) -> NoReturn:
    raise Interrupted


def _say_numbers(state: dict[str, Any]) -> None:
    memory = f", {state['memory_mb']} MB in all" if state["memory_mb"] else ""
    what = f"Kubernetes {state['kubernetes']} up in {state['start_seconds']} s{memory}"
    print(f"dev cluster: {what}: {state['server']}", file=sys.stderr)


def _state_file() -> Path:
    cache_root().mkdir(parents=True, exist_ok=True)
    return cache_root() / "up.json"


@contextlib.contextmanager
def _held(state_file: Path) -> Iterator[None]:
    """Hold the lock that says that the owner of `state_file` runs: unlike a process id, it can't be stale."""
    with state_file.with_suffix(".lock").open("w") as handle:
        # Tried for a while, for whoever asks whether it's held takes it for a moment.
        for attempt in reversed(range(20)):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not attempt:
                    message = f"another dev cluster already runs with {state_file}"
                    raise DevClusterError(message) from None
                time.sleep(0.05)
        state_file.unlink(missing_ok=True)
        yield


def _is_held(state_file: Path) -> bool:
    with state_file.with_suffix(".lock").open("a") as handle:
        try:
            # Shared, so that two who ask at once don't take each other for the owner.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _running(state_file: Path) -> dict[str, Any] | None:
    """The state of the cluster that `up` started, or None when none is up and ready."""
    if not _is_held(state_file):
        return None
    try:
        state: dict[str, Any] = json.loads(state_file.read_text())
    except FileNotFoundError:
        return None
    return state


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cluster.py",
        description="A real Kubernetes control plane on loopback, with fake nodes on which pods really become Ready.",
        epilog="example: devcluster/cluster.py up && kubectl get nodes; docs/devcluster.md tells more",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, action: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(action=action)
        return sub

    make = command("build", _build, "build what isn't built yet and print the folder of the programs")
    make.add_argument("--find", action="store_true", help="don't build: print the folder, or fail at once")
    make.add_argument("--with-parent", action="store_true", help="give up when the starting process ends")
    run = command("run", _run, "run in the foreground; prints one line of JSON when ready")
    run.add_argument("--until-stdin-closes", action="store_true", help="stop when stdin ends, too")
    run.add_argument("--state-file", metavar="FILE", help="where to write that line as well, while it runs")
    up = command("up", _up, "start one that stays, and print how to reach it")
    for sub in (run, up):
        sub.add_argument("--nodes", type=int, default=4, metavar="N", help="fake nodes (default: 4)")
    for sub in (make, run, up):
        sub.add_argument(
            "--kubernetes",
            metavar="VERSION",
            help=f"one of {', '.join(RELEASES)} (default: {VARIABLE} of the environment, else {DEFAULT})",
        )
    command("status", _status, "tell whether the one of 'up' runs; exit code 1 when not")
    command("down", _down, "stop the one of 'up' and remove its data")
    return parser


if __name__ == "__main__":
    sys.exit(main())
