"""Runs the end-to-end suite of stakater/Reloader itself, with `reroll reloader` in Reloader's place.

    python -m tests.reloader.suite --source ~/src/Reloader [SUITE ...]

`--source` is a checkout of Reloader; it is copied, and the copy built with Go. The suite installs Reloader's chart by
`helm`: a stand-in (`helm.py`) installs it for real and starts the program on this machine with the arguments and the
environment of the chart's Deployment, for the dev cluster's nodes run nothing. What else the suite needs of a
cluster, Argo Rollouts, OpenShift and the CSI driver with Vault, is played (`cluster_parts.py`).

Exit code: 0 if every spec passed. This takes about half an hour, so it is no part of `make test`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from devcluster.programs import program

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[2]
SUITES: Final = ("argo", "csi", "advanced", "annotations", "flags", "core")

_VAULT: Final = """type kube = kubernetes.Interface

func execInVaultPod(ctx context.Context, _ kube, _ *rest.Config, args []string) error {
	if out, err := osexec.CommandContext(ctx, "vault", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("vault: %s: %w", out, err)
	}
	return nil
}
"""


def main() -> int:
    """Build, run, and tell. Returns the exit code."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="reroll-suite-") as name:
        work = Path(name)
        source = _copied(options.source, work, options.replace)
        print(f"building {len(options.suites)} suites", file=sys.stderr, flush=True)
        built = work / "built"
        built.mkdir()
        packages = [f"./test/e2e/{suite}" for suite in options.suites]
        # A folder, for one package too.
        subprocess.run(["go", "test", "-mod=mod", "-c", "-o", f"{built}/", *packages], cwd=source, check=True)
        with _dev_cluster() as kubeconfig:
            environ = _environ(work, kubeconfig, options.peer)
            parts = subprocess.Popen(
                [sys.executable, str(HERE / "cluster_parts.py")], env=environ, stdout=subprocess.PIPE
            )
            try:
                assert parts.stdout is not None
                if not parts.stdout.readline():
                    raise SystemExit("the parts of the cluster could not be played: see above")
                passed = [_run(suite, source, built, environ, options) for suite in options.suites]
            finally:
                parts.terminate()
                parts.wait()
    return 0 if all(passed) else 1


def _options() -> Any:
    parser = argparse.ArgumentParser(description="Runs Reloader's end-to-end suite with reroll in its place.")
    parser.add_argument("suites", nargs="*", default=SUITES, metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--source", type=Path, required=True, help="a checkout of stakater/Reloader")
    parser.add_argument(
        "--peer", help="a program to run in place of reroll reloader, such as Reloader itself"
    )
    parser.add_argument(
        "--replace", action="append", default=[], metavar="MODULE=DIR", help="as go mod edit takes it"
    )
    parser.add_argument("--label-filter", default="", help="as ginkgo takes it")
    parser.add_argument("--keep", type=Path, help="a folder for the logs")
    options = parser.parse_args()
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"there is no suite {', '.join(sorted(unknown))}: there are {', '.join(SUITES)}")
    return options


def _copied(source: Path, work: Path, replaced: Sequence[str]) -> Path:
    """The copy that is built. What the suite runs in Vault's pod runs a program of ours."""
    copy = work / "source"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".git"))
    file = copy / "test" / "e2e" / "utils" / "csi.go"
    text = file.read_text()
    text, found = re.subn(r"func execInVaultPod\(.*?\n}\n", lambda _: _VAULT, text, flags=re.DOTALL)
    if found != 1:
        raise SystemExit(f"{file} is not as expected: this is for Reloader 1.4.21")
    text = text.replace('\t"fmt"\n', '\t"fmt"\n\tosexec "os/exec"\n', 1)
    for package in ('"bytes"', 'corev1 "k8s.io/api/core/v1"', "scheme", "remotecommand"):
        last = package if '"' in package else rf'"k8s.io/client-go/[a-z]+/{package}"'
        text = re.sub(rf"\t{last}\n", "", text, count=1)
    file.write_text(text)
    for one in replaced:
        subprocess.run(["go", "mod", "edit", f"-replace={one}"], cwd=copy, check=True)
    return copy


@contextmanager
def _dev_cluster() -> Iterator[str]:
    """The kubeconfig of a control plane of our own."""
    command = [sys.executable, str(ROOT / "devcluster" / "cluster.py"), "run", "--until-stdin-closes"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cluster:
        assert cluster.stdin is not None
        assert cluster.stdout is not None
        try:
            line = cluster.stdout.readline()
            if not line:
                raise SystemExit("the dev cluster did not start: see above")
            yield json.loads(line)["kubeconfig"]
        finally:
            cluster.stdin.close()


def _environ(work: Path, kubeconfig: str, peer: str | None) -> dict[str, str]:
    """Stand-ins come first on PATH."""
    tools = work / "tools"
    tools.mkdir()
    for name in ("helm", "vault"):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / name}.py" "$@"\n')
        tool.chmod(0o755)
    (work / "vault").mkdir()
    ours = f"{Path(sys.executable).parent / 'reroll'} reloader"
    return {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "KUBECONFIG": kubeconfig,
        "SUITE_FOLDER": str(work),
        "SUITE_HELM": str(program("helm3")),
        "SUITE_PROGRAM": peer or ours,
    }


def _run(suite: str, source: Path, built: Path, environ: dict[str, str], options: Any) -> bool:
    """One suite, and a line about it. True if nothing failed."""
    report = built / f"{suite}.json"
    log = (options.keep or built) / f"{suite}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(built / f"{suite}.test"), "-ginkgo.v", f"-ginkgo.json-report={report}"]
    if options.label_filter:
        command.append(f"-ginkgo.label-filter={options.label_filter}")
    with log.open("wb") as file:
        # The suites find the chart by the folder they run in.
        subprocess.run(command, cwd=source / "test" / "e2e" / suite, env=environ, stdout=file, stderr=file)
    if not report.exists():
        print(f"{suite}: it ended early\n{log.read_text()[-2000:]}", flush=True)
        return False
    specs = [
        spec
        for part in json.loads(report.read_text())
        for spec in part["SpecReports"] or ()
        if spec["LeafNodeType"] == "It" or spec["State"] == "failed"
    ]
    counts = Counter(spec["State"] for spec in specs)
    print(f"{suite}: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())), flush=True)
    bad = [spec for spec in specs if spec["State"] not in ("passed", "skipped", "pending")]
    for spec in bad:
        print("  " + " / ".join([*spec["ContainerHierarchyTexts"], spec["LeafNodeText"]]), flush=True)
    return not bad


if __name__ == "__main__":
    sys.exit(main())
