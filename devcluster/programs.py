"""The programs that reroll's manifest tools work with, real ones: Helm 3, Helm 4 and kustomize.

Built from the Go modules pinned in `tools/`, each when it is first asked for, once per machine; the cache is that
of the dev cluster, of which they are otherwise independent: a pin here builds no control plane anew.

    python -m devcluster.programs helm3     prints where the program lies
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from functools import cache
from pathlib import Path
from typing import Final

from devcluster import binaries
from devcluster.binaries import Binary, GoMissing, cache_root
from devcluster.versions import DevClusterError

__all__ = ["PROGRAMS", "DevClusterError", "GoMissing", "program"]

PROGRAMS: Final = {
    "helm3": Binary(
        "helm3",
        "tools/helm3",
        "helm.sh/helm/v3/cmd/helm",
        "-X helm.sh/helm/v3/internal/version.version=v3.22.0",
    ),
    "helm4": Binary(
        "helm4",
        "tools/helm4",
        "helm.sh/helm/v4/cmd/helm",
        "-X helm.sh/helm/v4/internal/version.version=v4.3.1",
    ),
    "kustomize": Binary("kustomize", "tools/kustomize", "sigs.k8s.io/kustomize/kustomize/v5"),
}


@cache
def program(name: str) -> Path:
    """The executable of this name, built if need be; progress goes to stderr.

    Two builds at once on one machine: the second waits, then finds the work done.

    Raises:
        GoMissing: it was not built before, and there is no Go, or one too old.
        DevClusterError: the build failed.
    """
    binary = PROGRAMS[name]
    sources = hashlib.sha256(f"{binaries.RECIPE}\n{binary}\n".encode())
    for path in sorted((binaries.HERE / binary.module).glob("go.*")):
        sources.update(path.name.encode() + path.read_bytes())
    folder = cache_root() / "programs"
    target = folder / f"{name}-{sources.hexdigest()[:16]}"
    if target.exists():
        return target
    if not shutil.which("go"):
        raise GoMissing(f"{name} is built with Go, and there is no 'go' on PATH: install Go 1.26 or newer")
    folder.mkdir(parents=True, exist_ok=True)
    with binaries._lock(folder / f"{name}.lock"):
        if not target.exists():
            partial = folder / f"{target.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            started = time.monotonic()
            binaries._compile(binary, partial, "", None)
            (partial / name).rename(target)
            shutil.rmtree(partial)
            print(f"built {target} in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return target


if __name__ == "__main__":
    print(program(sys.argv[1]))
