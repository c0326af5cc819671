"""Builds the binaries of the control plane, once per machine, from the Go modules pinned in `modules/`.

The first step of the dev cluster: everything that `supervisor.py` starts comes from here. The cache
lies outside the repository, in a directory named after all that decides what the build yields, so a
clone, a branch or a second checkout with the same pins builds nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devcluster.versions import DevClusterError, Release

HERE = Path(__file__).resolve().parent
# Raised by hand when the way of building changes and old binaries must not be taken for new ones.
RECIPE = "1"
# The toolchain line of go.mod, by which an older Go fetches a newer one by itself, came with this release.
OLDEST_GO_THAT_UPGRADES_ITSELF = (1, 21)


class GoMissing(DevClusterError):
    """There is no Go, or one too old to build with."""


@dataclass(frozen=True)
class Binary:
    """One program to build: its file name, the folder of its Go module, its package, its linker flags."""

    name: str
    module: str
    package: str
    ldflags: str = ""


def binaries_of(release: Release) -> tuple[Binary, ...]:
    """What a control plane of this release consists of; the quick ones first, so that a broken set-up shows within
    seconds and not after minutes."""
    flags = _linker_flags(release)
    kubernetes = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    return (
        Binary("pki", "pki", "."),
        Binary("etcd", "modules/etcd", "go.etcd.io/etcd/server/v3"),
        Binary("kwok", "modules/kwok", "sigs.k8s.io/kwok/cmd/kwok"),
        *(Binary(name, release.module, f"k8s.io/kubernetes/cmd/{name}", flags) for name in kubernetes),
    )


def _linker_flags(release: Release) -> str:
    return " ".join(
        f"-X {package}.{name}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in (
            ("gitVersion", f"v{release.version}"),
            ("gitMajor", "1"),
            ("gitMinor", release.minor),
            # A module from the proxy doesn't tell its commit; kubectl needs some value here, not a true one.
            ("gitCommit", "reroll-devcluster"),
            ("gitTreeState", "archive"),
            ("buildDate", release.published),
        )
    )


# What the fake kubelet does, from the kwok module itself: never committed, always of the same version.
STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat/node-heartbeat.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)


def cache_root() -> Path:
    """Where builds and the state of `up` lie: `$XDG_CACHE_HOME/reroll/devcluster`, else under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reroll" / "devcluster"


def built(release: Release) -> Path | None:
    """The directory of the finished build of this release, or None. Needs no Go and takes no time.

    Without Go its version can't be told, and any build of these very sources will do.
    """
    if shutil.which("go"):
        with contextlib.suppress(DevClusterError):
            directory = cache_root() / _key(release, *_go(release))
            return directory if directory.is_dir() else None
    found = sorted(cache_root().glob(f"{_sources(release)}-*"), key=lambda path: path.stat().st_mtime)
    complete = [path for path in found if path.suffix != ".partial"]
    return complete[-1] if complete else None


def build(release: Release, with_parent: bool = False) -> Path:
    """Build what isn't built yet of this release and return the directory of the binaries; progress goes to stderr.

    Two builds at once on one machine: the second waits, then finds the work done. The directory appears
    under its name only when it is whole. `with_parent`: give up when the process that started this one ends.

    Raises:
        GoMissing: there is no Go, or one too old, and nothing was built before.
        DevClusterError: a build failed.
    """
    if not shutil.which("go"):
        if found := built(release):
            return found
        raise GoMissing(
            "the dev cluster is built with Go, and there is no 'go' on PATH: "
            "install Go 1.26 or newer (package golang, or go.dev/dl)"
        )
    directory = cache_root() / _key(release, *_go(release))
    if directory.is_dir():
        return directory
    with _lock(cache_root() / "build.lock"):
        if directory.is_dir():
            return directory
        partial = directory.with_name(directory.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _say(f"dev cluster: building Kubernetes {release.version}, once per machine, some minutes")
        started = time.monotonic()
        parent = os.getppid() if with_parent else None
        binaries = binaries_of(release)
        for number, binary in enumerate(binaries, 1):
            _compile(binary, partial, f"({number}/{len(binaries)})", parent)
        _copy_stages(partial / "stages")
        partial.rename(directory)
        _say(f"dev cluster: built in {time.monotonic() - started:.0f} s: {directory}")
    return directory


def _go(release: Release) -> tuple[str, str, str]:
    """Version, operating system and architecture that Go builds with and for, from the newest module's view."""
    # Outside of any module, for there a Go that is too old answers too, instead of failing its own way.
    answer = _run_go(["env", "GOVERSION", "GOOS", "GOARCH", "GOTOOLCHAIN"], Path("/")).split()
    version, goos, goarch, toolchain = [*answer, "", "", "", ""][:4]
    have, need = _release(version), max(_needed(HERE / b.module / "go.mod") for b in binaries_of(release))
    if have < need and (have < OLDEST_GO_THAT_UPGRADES_ITSELF or toolchain == "local"):
        raise GoMissing(
            f"the dev cluster needs Go {'.'.join(map(str, need))} or newer, and {shutil.which('go')} is "
            f"{version.removeprefix('go')}: install a newer Go (go.dev/dl)"
        )
    return version, goos, goarch


def _release(text: str) -> tuple[int, ...]:
    """`go1.26.8` as (1, 26, 8); an unreleased Go (`devel ...`) counts as the newest."""
    match = re.match(r"(?:go)?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in match[1].split(".")) if match else (999,)


def _needed(gomod: Path) -> tuple[int, ...]:
    match = re.search(r"^go (\S+)$", gomod.read_text(), re.MULTILINE)
    return _release(match[1]) if match else (1,)


def _key(release: Release, version: str, goos: str, goarch: str) -> str:
    return f"{_sources(release)}-{goos}-{goarch}-{version.replace(' ', '_')}"


def _sources(release: Release) -> str:
    """The release and a hash of all that its build is made of; other releases' pins have no part in it."""
    binaries = binaries_of(release)
    digest = hashlib.sha256(f"{RECIPE}\n{binaries}\n{STAGES}\n".encode())
    for folder in sorted({binary.module for binary in binaries}):
        for path in sorted([*(HERE / folder).glob("go.*"), *(HERE / folder).glob("*.go")]):
            digest.update(f"{path.relative_to(HERE)}\0".encode() + path.read_bytes() + b"\0")
    return f"{release.version}-{digest.hexdigest()[:16]}"


def _compile(binary: Binary, directory: Path, number: str, parent: int | None) -> None:
    log = directory / "build.log"
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {binary.ldflags}".strip()]
    command += ["-o", str(directory / binary.name), binary.package]
    started = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=HERE / binary.module,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                _progress(f"dev cluster: building {binary.name} {number}", time.monotonic() - started)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=1)
                if parent not in (None, os.getppid()):
                    raise DevClusterError("gave up the build, for the process that started it has ended")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        # Kept where the next attempt doesn't wipe it.
        kept = shutil.copy(log, cache_root() / "build-failed.log")
        _end_progress()
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        raise DevClusterError(f"building {binary.name} failed (whole output: {kept}):\n{tail}")
    _finished(f"dev cluster: built {binary.name} {number}", time.monotonic() - started)


def _copy_stages(target: Path) -> None:
    module = _run_go(["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"], HERE / "modules/kwok").strip()
    target.mkdir()
    for stage in STAGES:
        # Read and written anew: files of the module cache are read-only, and their copies would be so too.
        (target / Path(stage).name).write_bytes((Path(module) / "kustomize/stage" / stage).read_bytes())


def _run_go(arguments: list[str], cwd: Path) -> str:
    done = subprocess.run(["go", *arguments], cwd=cwd, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise DevClusterError(f"'go {' '.join(arguments)}' failed: {lines[-1]}")
    return done.stdout


def _environment() -> dict[str, str]:
    # No cgo, so that no C compiler is needed; no workspace of a folder above may change the pins.
    return os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("dev cluster: waiting for another build on this machine to end")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


_last_line = [""]


def _progress(what: str, seconds: float) -> None:
    """One line that counts up on a terminal; in a pipe a line at the start and then every 30 seconds."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}, {seconds:.0f} s", end="", file=sys.stderr, flush=True)
        return
    line = what if seconds < 30 else f"{what}, {seconds // 30 * 30:.0f} s so far"
    if line != _last_line[0]:
        _last_line[0] = line
        _say(line)


def _finished(what: str, seconds: float) -> None:
    _end_progress()
    _say(f"{what} in {seconds:.0f} s")


def _end_progress() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
