"""Stands in for `helm` in Reloader's suite: installs the chart for real, and runs the program that it would run."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(os.environ["SUITE_FOLDER"])
PID: Final = FOLDER / "program.pid"
ALIVE: Final = "http://127.0.0.1:9090/live"
START_WITHIN, STOP_WITHIN = 60.0, 25.0  # seconds


def main(arguments: list[str]) -> int:
    """`upgrade --install RELEASE CHART --namespace N …` or `uninstall RELEASE …`; the exit code is helm's."""
    stop()
    code = subprocess.run([os.environ["SUITE_HELM"], *arguments]).returncode
    if arguments[0] == "upgrade" and code == 0:
        start(arguments[2], arguments[arguments.index("--namespace") + 1])
    return code


def start(release: str, namespace: str) -> None:
    """Run the program as the chart's Deployment would, until it answers."""
    shown = subprocess.check_output(
        ["kubectl", "get", "deployment", f"{release}-reloader", "-n", namespace, "-o", "json"]
    )
    container: dict[str, Any] = json.loads(shown)["spec"]["template"]["spec"]["containers"][0]
    fields = {"metadata.namespace": namespace, "metadata.name": f"{release}-0"}
    environ = dict(os.environ)
    for variable in container.get("env", ()):
        field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        if "value" in variable:
            environ[variable["name"]] = variable["value"]
        elif field in fields:
            environ[variable["name"]] = fields[field]
    command = [*shlex.split(os.environ["SUITE_PROGRAM"]), *container.get("args", ())]
    with (FOLDER / f"{release}.log").open("wb") as log:
        child = subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    PID.write_text(str(child.pid))
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline:
        if child.poll() is not None:
            break
        with suppress(OSError), urllib.request.urlopen(ALIVE, timeout=1):
            time.sleep(1.5)  # alive is not yet at work; in a cluster the chart's probes give it ten seconds
            return
        time.sleep(0.1)
    sys.exit(f"{shlex.join(command)} does not answer:\n{(FOLDER / f'{release}.log').read_text()}")


def stop() -> None:
    """End the program that runs, if one does."""
    if not PID.exists():
        return
    pid = int(PID.read_text())
    PID.unlink()
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_WITHIN
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
