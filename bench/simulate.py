"""What `reroll simulate` costs on a large snapshot: time and memory of the whole command.

    python -m bench.simulate [--small]

A cluster is made up and written as a snapshot of it would be: Deployments that each take a ConfigMap of their
own and a Secret of their own, and one ConfigMap that a tenth of them share. The change is of the shared one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench.command import Ran, reroll
from bench.result import Result
from bench.table import goal
from reroll.core.applied import APPLIED, encode
from reroll.core.digests import DigestKey, config_map_digests, secret_digests, text
from reroll.core.observe import ConfigMapObject, ObjectMeta, SecretObject
from reroll.core.records import Applied
from reroll.core.template import template_hash
from reroll.insight.simulation import snapshot

_KEY = DigestKey(bytes(range(32)))
_MADE = "2026-11-23T08:00:00Z"
_PER_NAMESPACE = 100


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate")
    parser.add_argument("--small", action="store_true", help="a tenth of it, to see that it works")
    workloads = 1_000 if parser.parse_args().small else 10_000
    print(f"{workloads} workloads, {2 * workloads} config objects")
    for result in measure(workloads):
        limit = goal(result.row)
        aim = f"   (aim: at most {limit:g} {result.unit})" if limit and workloads == 10_000 else ""
        print(f"{result.row:32} {result.value:8.2f} {result.unit}{aim}   {result.note}")
    return 0


def measure(workloads: int) -> list[Result]:
    """Rows: of a cluster whose workloads were adopted before, and of one that reroll sees for the first time."""
    rows: list[Result] = []
    for name, adopted in (("simulate", True), ("simulate, all to adopt", False)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cluster.snapshot"
            with path.open("wb") as file:
                file.writelines(lines(workloads, adopted=adopted))
            size = path.stat().st_size / 1e6
            ran, rolled = _run(path)
        note = f"{rolled} rolled, of a file of {size:.0f} MB, {ran.cpu:.1f} s of CPU"
        rows.append(Result(f"{name}: seconds", "s", ran.seconds, note))
        rows.append(Result(f"{name}: memory", "MB", ran.megabytes, note))
    return rows


def lines(workloads: int, *, adopted: bool) -> Iterator[bytes]:
    """The snapshot."""
    header = snapshot.Header(
        format=snapshot.FORMAT,
        version=snapshot.VERSION,
        made=_MADE,
        cluster="https://made.up",
        by="bench",
        key=snapshot.Key(_KEY.id, "cluster"),
    )
    yield snapshot.header_line(header)
    count = 0
    for number in range(workloads):
        namespace, own = f"team-{number // _PER_NAMESPACE}", f"app-{number}"
        config_map = ConfigMapObject(_meta(namespace, own, 3 * number), {"level": "info", "n": str(number)})
        secret = SecretObject(_meta(namespace, own, 3 * number + 1), {"password": "aHVudGVyMg=="})
        content = secret_digests(namespace, own, secret.data, _KEY)
        yield snapshot.config_map_line(config_map, immutable=False, with_values=False)
        yield snapshot.secret_line(secret, immutable=False, content=content)
        shares = number % 10 == 0 and number < _PER_NAMESPACE * 100
        spec = _Spec(_template(own, shares=shares))
        meta = _meta(namespace, own, 3 * number + 2)
        meta.annotations = {"reroll.dev/auto": "true"}
        if adopted:
            configs: dict[str, Any] = {
                f"configmap/{own}": _recorded(*config_map_digests(config_map.data, None)),
                f"secret/{own}": _recorded(*content),
            }
            if shares:
                configs["configmap/shared"] = _recorded(*config_map_digests({"level": "info"}, None))
            record = Applied(template_hash(spec.template), _KEY.id, configs)
            meta.annotations[APPLIED] = encode(record)
        yield snapshot.workload_line("Deployment", meta, spec)
        count += 3
        if number % _PER_NAMESPACE == 0:
            shared = ConfigMapObject(_meta(namespace, "shared", 3 * workloads + number), {"level": "info"})
            yield snapshot.config_map_line(shared, immutable=False, with_values=False)
            count += 1
    yield snapshot.end_line(count)


class _Spec(msgspec.Struct):
    template: msgspec.Raw
    replicas: int = 1


def _meta(namespace: str, name: str, number: int) -> ObjectMeta:
    return ObjectMeta(
        name=name,
        namespace=namespace,
        uid=f"00000000-0000-4000-8000-{number:012d}",
        resource_version=str(1000 + number),
        generation=1,
        creation_timestamp=_MADE,
        labels={"app": name},
    )


def _template(own: str, *, shares: bool) -> msgspec.Raw:
    """As a server has it, about 2 kB."""
    env_from = [{"configMapRef": {"name": own}}, {"secretRef": {"name": own}}]
    if shares:
        env_from.append({"configMapRef": {"name": "shared"}})
    probe = {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10}
    container = {
        "name": "main",
        "image": f"registry.invalid/team/{own}:1.2.3",
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": f"SETTING_{i}", "value": f"a value of some length {i}"} for i in range(12)],
        "envFrom": env_from,
        "livenessProbe": probe,
        "readinessProbe": probe,
        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
        "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    spec = {"containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": "Always"}
    labels = {"app": own, "app.kubernetes.io/name": own, "app.kubernetes.io/part-of": "bench"}
    return msgspec.Raw(msgspec.json.encode({"metadata": {"labels": labels}, "spec": spec}))


def _recorded(keys: tuple[str, ...], joined: bytes) -> dict[str, str]:
    size = len(joined) // len(keys)
    found = {key: text(joined[i * size : (i + 1) * size]) for i, key in enumerate(keys)}
    return {"*": "", **found}


def _run(path: Path) -> tuple[Ran, int]:
    """(what it cost, workloads rolled) of the command."""
    options = [f"--set=configmap/team-{n}/shared:level=debug" for n in range(100)]
    there = sum(1 for line in path.open("rb") if b'"name":"shared"' in line[:200])
    ran = reroll("simulate", str(path), "-o", "json", *options[:there])
    return ran, len(msgspec.json.decode(ran.output)["rolls"])


if __name__ == "__main__":
    sys.exit(main())
