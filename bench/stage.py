"""The real control plane, the objects on it, and an own watch that tells when a pod template changed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from bench.contestants import ROOT
from bench.delay import far_away
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.kube.errors import AlreadyExists, NotFound
from reroll.kube.reflector import Collection, Reflector
from reroll.kube.resources import CONFIG_MAPS, NAMESPACES, SECRETS, Resource

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False)
HOME = "bench-accounts"
"""The namespace of the contestants' ServiceAccounts, and of what they keep for themselves."""
FOLLOWED = {"reroll.dev/auto": "true", "reloader.stakater.com/auto": "true"}
"""The annotations of all contestants, on every Deployment: only one of their controllers runs at a time."""

Key = tuple[str, str]
"""(namespace, name) of a Deployment."""


class Meta(msgspec.Struct, gc=False, rename="camel"):
    """metadata, as far as it is read."""

    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    generation: int = 0


class Spec(msgspec.Struct, gc=False):
    """spec of a Deployment."""

    template: msgspec.Raw


class Deployment(msgspec.Struct, gc=False):
    """A Deployment, as little of it as tells whether its template changed."""

    metadata: Meta
    spec: Spec


class Templates:
    """When which Deployment's pod template changed, by the loop's clock. A reflector's handler.

    It shares the machine with those it measures, so nothing here looks through what it has: `changes` holds
    what came since `begin` only, and who waits is woken by the arrival of a change.
    """

    def __init__(self) -> None:
        self.changes: dict[Key, list[float]] = {}
        self.last_event = 0.0
        """When anything at all of a Deployment last changed."""
        self.events = 0
        """How many came of Deployments since the start, whatever they told."""
        self.news = asyncio.Event()
        self._last: dict[Key, tuple[int, bytes]] = {}

    def begin(self) -> float:
        """Forget the changes so far; returns the time."""
        self.changes = {}
        return asyncio.get_running_loop().time()

    def of(self, namespace: str) -> dict[str, list[float]]:
        """Name -> times of the changes since `begin`, of one namespace."""
        return {name: times for (place, name), times in self.changes.items() if place == namespace}

    def upsert(self, obj: Deployment, *, live: bool) -> None:
        now = asyncio.get_running_loop().time()
        self.last_event = now
        self.events += 1
        key = (obj.metadata.namespace, obj.metadata.name)
        before = self._last.get(key)
        if before is not None and before[0] == obj.metadata.generation:
            return  # only its status or metadata
        template = bytes(obj.spec.template)
        self._last[key] = (obj.metadata.generation, template)
        if before is not None and before[1] != template:
            self.changes.setdefault(key, []).append(now)
            self.news.set()

    def delete(self, namespace: str, name: str, *, live: bool, version: str) -> None:
        self._last.pop((namespace, name), None)
        self.last_event = asyncio.get_running_loop().time()

    def known(self) -> Iterable[Key]:
        return list(self._last)

    def synced(self) -> None:
        pass


class Stage:
    """What the scenarios do to the cluster, as its admin. `audit_log`: None where there is none to be read."""

    def __init__(
        self, client: Client, source: Path, files: Path, audit_log: Path | None, *, accounts: bool = True
    ) -> None:
        self.client = client
        self._accounts = accounts
        self.templates = Templates()
        self._source = source
        self._files = files
        self._audit_log = audit_log
        self._made: list[str] = []

    @property
    def now(self) -> float:
        """The loop's time, as of all times here."""
        return asyncio.get_running_loop().time()

    # --- who acts ------------------------------------------------------------------------------------

    async def kubeconfig(self, name: str) -> Path:
        """A kubeconfig with the token of a ServiceAccount of this name, which may do anything.

        Not a user of system:masters, whom the API server exempts from Priority and Fairness. On the sandbox,
        which has one token for everybody, it is the only kubeconfig that there is.
        """
        if not self._accounts:
            return self._source
        path = self._files / f"{name}.kubeconfig"
        if path.exists():
            return path
        await self.namespace(HOME)
        await self.create(ACCOUNTS, HOME, {"metadata": {"name": name}})
        binding = {
            "metadata": {"name": f"{HOME}-{name}"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"kind": "ServiceAccount", "namespace": HOME, "name": name}],
        }
        await self.create(BINDINGS, "", binding)
        body = msgspec.json.encode({"spec": {"expirationSeconds": 24 * 3600}})
        answer = await self.client.create(ACCOUNTS.path(HOME, name) + "/token", body, attempts=4)
        token = msgspec.json.decode(answer)["status"]["token"]
        path.touch(0o600)
        path.write_text(json.dumps(kubeconfig_with_token(self._source, name, token)))
        return path

    @asynccontextmanager
    async def from_afar(self, name: str, round_trip: float) -> AsyncIterator[Path]:
        """A kubeconfig as that of `kubeconfig`, of a server that is so many seconds away for as long as the body
        runs."""
        near = await self.kubeconfig(name)
        if not round_trip:
            yield near
            return
        given = yaml.safe_load(near.read_text())
        server = urlsplit(given["clusters"][0]["cluster"]["server"])
        async with far_away(server.hostname or "", server.port or 443, round_trip) as port:
            path = near.with_name(f"{name}-{round_trip:g}.kubeconfig")
            path.touch(0o600)
            path.write_text(json.dumps(moved(given, f"{server.scheme}://127.0.0.1:{port}")))
            yield path

    def audit_lines(self) -> int:
        """How many lines the audit log has now."""
        if self._audit_log is None:
            return 0
        with self._audit_log.open("rb") as file:
            return sum(1 for _ in file)

    def requests(self, name: str, after: int) -> list[str] | None:
        """Verbs of a contestant's requests in the audit log after so many lines; None if there is no log."""
        if self._audit_log is None:
            return None
        lines = self._audit_log.read_text().splitlines()[after:]
        return verbs(lines, f"system:serviceaccount:{HOME}:{name}")

    # --- objects -------------------------------------------------------------------------------------

    async def create(self, resource: Resource, namespace: str, manifest: dict[str, Any]) -> None:
        """Create it; one that is there already stays as it is."""
        with suppress(AlreadyExists):
            await self.client.create(resource.path(namespace), msgspec.json.encode(manifest), attempts=6)

    async def namespace(self, name: str) -> str:
        """Create a namespace, and return its name."""
        await self.create(NAMESPACES, "", {"metadata": {"name": name}})
        self._made.append(name)
        return name

    async def config_map(self, namespace: str, name: str, data: dict[str, str]) -> None:
        """Create a ConfigMap."""
        await self.create(CONFIG_MAPS, namespace, {"metadata": {"name": name}, "data": data})

    async def secret(self, namespace: str, name: str, data: dict[str, str]) -> None:
        """Create a Secret."""
        await self.create(SECRETS, namespace, {"metadata": {"name": name}, "stringData": data})

    async def deployment(
        self, namespace: str, name: str, configs: Iterable[str], *, paused: bool = False
    ) -> None:
        """A Deployment of one pod that takes the key `a` of each ConfigMap into its environment."""
        env = [
            {"name": f"V{i}", "valueFrom": {"configMapKeyRef": {"name": config, "key": "a"}}}
            for i, config in enumerate(configs)
        ]
        labels = {"app": name}
        spec = {"containers": [{"name": "main", "image": "example.invalid/app", "env": env}]}
        manifest = {
            "metadata": {"name": name, "annotations": FOLLOWED},
            "spec": {
                "replicas": 1,
                "paused": paused,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }
        await self.create(DEPLOYMENTS, namespace, manifest)

    async def change(self, namespace: str, name: str, value: str) -> float:
        """Set the key `a` of a ConfigMap; returns the time of the server's answer."""
        body = msgspec.json.encode({"data": {"a": value}})
        await self.client.patch(CONFIG_MAPS.path(namespace, name), body, attempts=4)
        return self.now

    async def many(self, each: Callable[[int], Awaitable[object]], count: int, at_once: int = 60) -> None:
        """Run `each` of 0..count-1, so many at once."""
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await each(number)

        await asyncio.gather(*(work() for _ in range(at_once)))

    async def tidy(self) -> None:
        """Delete every namespace that was made here, and wait until they are gone."""
        for name in self._made:
            with suppress(NotFound):
                await self.client.delete(NAMESPACES.path(None, name))
        for name in self._made:
            with suppress(NotFound):
                while True:
                    await self.client.get(NAMESPACES.path(None, name))
                    await asyncio.sleep(0.5)

    # --- waiting -------------------------------------------------------------------------------------

    async def calm(self, seconds: float = 3.0, most: float = 240.0) -> None:
        """Until no Deployment has changed in any way for so long: all rollouts are over."""
        start = self.now
        while (  # noqa: ASYNC110
            self.now - max(self.templates.last_event, start) < seconds and self.now - start < most
        ):
            await asyncio.sleep(0.1)

    async def until(self, condition: Callable[[], bool], most: float) -> bool:
        """True once the condition on `templates` holds, False if it did not in so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most):
                while not condition():
                    self.templates.news.clear()
                    await self.templates.news.wait()
        return condition()


def verbs(lines: Iterable[str], user: str) -> list[str]:
    """Verbs of a user's finished requests in lines of an audit log, without watches and leases."""
    found = []
    for line in lines:
        event = json.loads(line)
        if (
            event["user"]["username"] == user
            and event["stage"] == "ResponseComplete"
            and event["verb"] != "watch"
            and event.get("objectRef", {}).get("resource") != "leases"
        ):
            found.append(event["verb"])
    return found


def kubeconfig_with_token(source: Path, name: str, token: str) -> dict[str, Any]:
    """A kubeconfig for the current cluster of the file `source`, with another user. Raises KeyError, StopIteration."""
    given = yaml.safe_load(source.read_text())
    context = next(c["context"] for c in given["contexts"] if c["name"] == given["current-context"])
    cluster = dict(next(c["cluster"] for c in given["clusters"] if c["name"] == context["cluster"]))
    if authority := cluster.get("certificate-authority"):
        cluster["certificate-authority"] = str((source.parent / authority).absolute())
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": "bench", "user": name, "namespace": HOME}}],
        "current-context": name,
    }


def moved(given: dict[str, Any], server: str) -> dict[str, Any]:
    """A kubeconfig of one cluster, with that server's address in place of its own; the certificate is still that of
    the real one's name."""
    cluster = given["clusters"][0]["cluster"]
    name = urlsplit(cluster["server"]).hostname
    there = {**cluster, "server": server}
    if server.startswith("https:"):
        there.setdefault("tls-server-name", name)
    return {**given, "clusters": [{**given["clusters"][0], "cluster": there}]}


@asynccontextmanager
async def stage(kubeconfig: Path | None = None, *, nodes: int = 4) -> AsyncIterator[Stage]:
    """The cluster of the kubeconfig, with what was made on it deleted at the end; or a fresh control plane with so many
    fake nodes, of 1,000 pods each."""
    async with AsyncExitStack() as stack:
        audit_log = None
        if source := kubeconfig:
            files = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reroll-bench-")))
        else:
            cluster = [sys.executable, str(ROOT / "devcluster" / "cluster.py"), "run", "--until-stdin-closes"]
            cluster += ["--nodes", str(nodes)]
            ready = await stack.enter_async_context(_process(cluster))
            source, files = Path(ready["kubeconfig"]), Path(ready["data_dir"])
            audit_log = Path(ready["audit_log"])
        found = await stack.enter_async_context(_watched(source, files, audit_log))
        yield found
        if kubeconfig:
            await found.tidy()


@asynccontextmanager
async def sandbox() -> AsyncIterator[Stage]:
    """A fresh ``reroll sandbox``, a process of its own as a control plane would be."""
    command = [sys.executable, "-m", "reroll", "sandbox", "-o", "json"]
    async with _process(command) as ready:
        source = Path(ready["kubeconfig"])
        async with _watched(source, source.parent, None, accounts=False) as found:
            yield found


@asynccontextmanager
async def _watched(
    source: Path, files: Path, audit_log: Path | None, *, accounts: bool = True
) -> AsyncIterator[Stage]:
    """The stage of a server that runs."""
    config = load_config(kubeconfig=str(source))
    async with Client(config, max_in_flight=100, field_manager="bench") as client:
        found = Stage(client, source, files, audit_log, accounts=accounts)
        watch = Reflector(client, Collection(DEPLOYMENTS, Deployment), found.templates)
        task = asyncio.create_task(watch.run())
        try:
            while not watch.statistics().synced:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _process(command: list[str]) -> AsyncIterator[dict[str, Any]]:
    """A server, ended with the body; gives what it says of itself in its first line. Raises RuntimeError."""
    process = subprocess.Popen(  # noqa: ASYNC220 - nothing else is going on in this process
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = await asyncio.to_thread(process.stdout.readline)
        if not line:
            raise RuntimeError("the server did not start, see above")
        yield json.loads(line)
    finally:
        # The dev cluster ends with its input, the sandbox by a signal.
        process.stdin.close()
        process.terminate()
        await asyncio.to_thread(process.wait, 60)
        process.stdout.close()
