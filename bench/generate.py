"""What `reroll generate` costs: the whole command on an overlay with 1,000 generators, against the real kustomize.

    python -m bench.generate [--small]

500 Deployments in a base; in the overlay a configMapGenerator and a secretGenerator for each, of literals, files and
env files. Both are processes of their own, one after the other in turn, so that start and imports count; what they
write has to be equal to the last byte.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from bench.command import Ran, reroll, run
from bench.result import Result
from devcluster.programs import program

_ROUNDS = 3
_GOAL = 1.0
"""Of issue 6: no slower than kustomize."""

_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-{n}
spec:
  replicas: 2
  selector:
    matchLabels:
      app: app-{n}
  template:
    metadata:
      labels:
        app: app-{n}
    spec:
      containers:
        - name: web
          image: registry.example.com/shop/web:1.{n}
          envFrom:
            - configMapRef:
                name: conf-{n}
          env:
            - name: PASSWORD
              valueFrom:
                secretKeyRef:
                  name: pw-{n}
                  key: PASSWORD
          volumeMounts:
            - name: files
              mountPath: /etc/app
      volumes:
        - name: files
          configMap:
            name: conf-{n}
"""


def overlay(folder: Path, generators: int) -> Path:
    """Write a base and an overlay with so many generators. Returns the overlay's folder."""
    base, prod = folder / "base", folder / "prod"
    base.mkdir()
    (prod / "files").mkdir(parents=True)
    half = generators // 2
    (base / "kustomization.yaml").write_text("resources:\n- apps.yaml\n")
    (base / "apps.yaml").write_text("---\n".join(_DEPLOYMENT.format(n=n) for n in range(half)))
    config_maps, secrets = ["configMapGenerator:\n"], ["secretGenerator:\n"]
    for n in range(half):
        lines = "".join(f"option.{i} = a setting of app {n}\n" for i in range(20))
        (prod / "files" / f"app-{n}.properties").write_text(lines)
        (prod / "files" / f"pw-{n}.env").write_text(f"USER=app-{n}\nPASSWORD=correct-horse-{n}\n")
        config_maps.append(
            f"- name: conf-{n}\n  literals:\n  - LEVEL=info\n  - URL=http://app-{n}.shop.svc/\n"
            f"  files:\n  - app.properties=files/app-{n}.properties\n"
        )
        secrets.append(f"- name: pw-{n}\n  envs:\n  - files/pw-{n}.env\n")
    text = "".join(["resources:\n- ../base\nnamespace: shop\n", *config_maps, *secrets])
    (prod / "kustomization.yaml").write_text(text)
    return prod


def main() -> int:
    """Print the rows."""
    parser = argparse.ArgumentParser(prog="python -m bench.generate")
    parser.add_argument("--small", action="store_true", help="a tenth of it, to see that it works")
    options = parser.parse_args()
    for result in measure(100 if options.small else 1_000):
        aim = f"   (aim: at most {_GOAL:g})" if result.row == "generate: times kustomize" else ""
        print(f"{result.row:32} {result.value:8.2f} {result.unit}{aim}   {result.note}")
    return 0


def measure(generators: int) -> list[Result]:
    """Rows: times kustomize's wall time, seconds and megabytes of both."""
    kustomize = program("kustomize")
    with tempfile.TemporaryDirectory() as name:
        prod = str(overlay(Path(name), generators))
        theirs: list[Ran] = []
        mine: list[Ran] = []
        for _ in range(_ROUNDS):
            theirs.append(run([str(kustomize), "build", prod]))
            mine.append(reroll("generate", prod))
    if {ran.output for ran in theirs} != {ran.output for ran in mine}:
        raise RuntimeError("what was written is not what kustomize writes")
    seconds, other = (statistics.median(ran.seconds for ran in each) for each in (mine, theirs))
    note = (
        f"{generators} generators, {generators // 2} Deployments, {len(mine[0].output) / 1e6:.1f} MB written"
    )
    return [
        Result("generate: times kustomize", "", seconds / other, note),
        *_of("generate", seconds, mine),
        *_of("generate: kustomize", other, theirs),
    ]


def _of(row: str, seconds: float, runs: list[Ran]) -> list[Result]:
    each = ", ".join(f"{ran.seconds:.2f}" for ran in runs)
    return [
        Result(f"{row}: seconds", "s", seconds, each),
        Result(f"{row}: memory", "MB", max(ran.megabytes for ran in runs)),
    ]


if __name__ == "__main__":
    sys.exit(main())
