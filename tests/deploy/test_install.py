"""The manifests: least privilege by the letter, and enough of it on a real API server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import yaml
from msgspec.structs import replace

from reroll import __version__
from reroll.app import Controller
from reroll.controller import class_statuses
from reroll.core import kinds
from reroll.kube.config import load_config
from reroll.settings import Settings, load
from tests.controller.conftest import definition

if TYPE_CHECKING:
    from tests.conftest import Cluster, Kubectl

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
BASE = DEPLOY / "kustomize" / "base"
USER = "system:serviceaccount:reroll:reroll"

Objects = list[dict[str, Any]]


def read(path: Path) -> Objects:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def the(objects: Objects, kind: str, name: str = "reroll") -> dict[str, Any]:
    (found,) = [obj for obj in objects if obj["kind"] == kind and obj["metadata"]["name"] == name]
    return found


def granted(objects: Objects, kind: str, name: str = "reroll") -> set[tuple[str, str, str]]:
    """(group, resource, verb) of all rules of one role."""
    return {
        (group, resource, verb)
        for rule in the(objects, kind, name)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


# --- by the letter -------------------------------------------------------------------------------------


def test_install_yaml_is_the_base_rendered() -> None:
    rendered = [
        document
        for name in yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
        for document in read(BASE / name)
    ]
    assert read(DEPLOY / "install.yaml") == rendered
    assert {path.name for path in BASE.iterdir()} - {"kustomization.yaml"} == {
        *yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    }


def test_the_pod_may_do_nothing_it_need_not() -> None:
    objects = read(DEPLOY / "install.yaml")
    spec = the(objects, "Deployment")["spec"]["template"]["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "volumes"}
    assert the(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    assert spec["automountServiceAccountToken"] is True
    assert set(container["resources"]) == {"requests", "limits"}
    assert f"USER {spec['securityContext']['runAsUser']}:" in (DEPLOY.parent / "Dockerfile").read_text()


def test_the_pod_is_probed_where_it_listens() -> None:
    (container,) = the(read(DEPLOY / "install.yaml"), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["controller", "--listen=:8080"]
    (port,) = container["ports"]
    assert port == {"name": "http", "containerPort": 8080}
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


def test_the_image_is_this_version() -> None:
    (container,) = the(read(DEPLOY / "install.yaml"), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"ghcr.io/reroll-dev/reroll:{__version__}"


@pytest.mark.parametrize(
    "path", sorted(DEPLOY.rglob("*.yaml")), ids=lambda path: str(path.relative_to(DEPLOY))
)
def test_no_rule_has_a_wildcard(path: Path) -> None:
    for obj in read(path):
        for rule in obj.get("rules", ()):
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"deletecollection", "update", "escalate", "bind"} & set(rule["verbs"])
            # A Job is rolled by being deleted and created again. Of config objects, copies go that nothing names.
            may = ["configmaps", "secrets"] if path.parent.name == "versions" else ["jobs"]
            assert "delete" not in rule["verbs"] or rule["resources"] == may


def test_what_is_bound_is_there() -> None:
    objects = read(DEPLOY / "install.yaml")
    account = {"kind": "ServiceAccount", "name": "reroll", "namespace": "reroll"}
    for binding, role in (("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")):
        bound = the(objects, binding)
        assert bound["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": "reroll"}
        assert bound["subjects"] == [account]
        the(objects, role)
    assert the(objects, "Role")["rules"][0]["resourceNames"] == [Settings().key_secret]
    (bound,) = [obj for obj in read(ROLE) if obj["kind"] == "RoleBinding"]
    assert bound["subjects"] == [account]


ROLE = DEPLOY / "kustomize" / "namespaced" / "role" / "role.yaml"


def test_one_namespace_needs_no_more_than_all() -> None:
    """Only the namespace itself is read another way."""
    everywhere = granted(read(DEPLOY / "install.yaml"), "ClusterRole")
    there = granted(read(ROLE), "Role", "reroll-workloads")
    assert there - everywhere == {("", "namespaces", "get")}
    assert everywhere - there == {("", "namespaces", "list"), ("", "namespaces", "watch")}


# --- on a real API server --------------------------------------------------------------------------------


APP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: app}
data: {LEVEL: info, UNUSED: a}
---
apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {password: first}
---
"""

ENV = [
    {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "LEVEL"}}},
    {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
]
KINDS = {kind.kind.lower(): kind for kind in kinds.KINDS.values()}
RESOURCES = ",".join(f"{kind.plural}.{kind.version}.{kind.group}" for kind in KINDS.values())


def workload(kind: kinds.WorkloadKind, name: str = "web", **annotations: str) -> dict[str, Any]:
    """A workload of any kind. Jobs find no node, so that they don't come to their end."""
    labels = {"app": f"{name}-{kind.kind.lower()}"}
    spec: dict[str, Any] = {"containers": [{"name": "web", "image": "app:1", "env": ENV}]}
    of_kind: dict[str, Any] = {"selector": {"matchLabels": labels}} if kind.id in kinds.WORKLOAD_KINDS else {}
    if kind in (kinds.CRON_JOB, kinds.JOB):
        spec |= {"restartPolicy": "Never", "nodeSelector": {"no": "such-node"}}
    if kind is kinds.CRON_JOB:
        of_kind["schedule"] = "0 0 29 2 *"
    if kind is kinds.STATEFUL_SET:
        of_kind["serviceName"] = name
    template: dict[str, Any] = {"metadata": {"labels": labels}, "spec": spec}
    for field in reversed(kind.template[1:]):
        template = {field: template}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "annotations": {"reroll.dev/auto": "true"}
            | {f"reroll.dev/{k}": v for k, v in annotations.items()},
        },
        "spec": of_kind | template,
    }


class Running:
    """The controller as the service account sees the cluster, and what an administrator sees of it."""

    def __init__(self, controller: Controller, kubectl: Kubectl, namespace: str) -> None:
        self.controller = controller
        self.kubectl = kubectl
        self.namespace = namespace

    async def run_kubectl(self, *arguments: str, input: str | None = None) -> str:
        return await asyncio.to_thread(self.kubectl, *arguments, "-n", self.namespace, input=input)

    async def marks(self) -> dict[str, str | None]:
        """Kind -> `reroll.dev/config` on its pod template."""
        found: dict[str, str | None] = {}
        for name, obj in (await self.objects()).items():
            for field in KINDS[name].template:
                obj = obj[field]
            found[name] = obj["metadata"].get("annotations", {}).get("reroll.dev/config")
        return found

    async def objects(self) -> dict[str, dict[str, Any]]:
        """Kind -> the one that is named web."""
        found = json.loads(await self.run_kubectl("get", RESOURCES, "-o", "json"))["items"]
        return {obj["kind"].lower(): obj for obj in found if obj["metadata"]["name"] == "web"}

    async def generations(self) -> dict[str, int]:
        return {name: obj["metadata"]["generation"] for name, obj in (await self.objects()).items()}

    async def adopted(self) -> bool:
        entries = [e for e in self.controller.store.entries() if e.record.id.namespace == self.namespace]
        # And the one in the mode `restart`.
        return len(entries) == len(KINDS) + 1 and all(
            e.record.applied and not e.record.unsaved for e in entries
        )

    async def pods(self) -> set[str]:
        """Uids of the pods in the mode `restart`."""
        listed = await self.run_kubectl("get", "pods", "-l", "app=gentle-deployment", "-o", "json")
        return {pod["metadata"]["uid"] for pod in json.loads(listed)["items"]}

    async def rolled_after(self, change: Callable[[], Awaitable[object]]) -> dict[str, str | None]:
        before = await self.marks()
        await change()

        async def all_rolled() -> bool:
            now = await self.marks()
            return all(now.get(kind) not in (None, before[kind]) for kind in KINDS)

        await eventually(all_rolled, "every workload follows")
        return await self.marks()

    async def set_config(self, **data: str) -> None:
        await self.run_kubectl("patch", "configmap", "app", "--patch", json.dumps({"data": data}))

    async def set_password(self, value: str) -> None:
        await self.run_kubectl(
            "patch", "secret", "db", "--patch", json.dumps({"stringData": {"password": value}})
        )


async def eventually(holds: Callable[[], Awaitable[object]], what: str, seconds: float = 60) -> None:
    """Wait until something holds: a bound against a test that hangs, not a measurement."""
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def in_a_pod(
    deployment: dict[str, Any],
    cluster: Cluster,
    kubectl: Kubectl,
    namespace: str,
    directory: Path,
    *,
    streaming: bool = True,
) -> AsyncIterator[Running]:
    """The controller, with the settings of the Deployment and all that its pod would be given to log in.

    It listens nowhere, and settles sooner. Without `streaming` it lists in pages, as for a server that has no
    streaming lists.
    """
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environ = {variable["name"]: variable["value"] for variable in container.get("env", ())}
    settings = replace(load(environ=environ), listen="", settle=0.1)

    directory.mkdir()
    assert cluster.ca
    shutil.copy(cluster.ca, directory / "ca.crt")
    (directory / "namespace").write_text("reroll")
    (directory / "token").write_text(kubectl("create", "token", "reroll", "-n", "reroll").strip())
    server = urlsplit(cluster.server)
    place = {
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
        "HOME": str(directory),
    }
    config = load_config(environ=place, service_account_directory=str(directory))
    assert config.in_cluster

    controller = Controller(config, settings)
    for reflector in controller.watches.required:
        reflector._streaming = streaming
    task = asyncio.create_task(controller.run())
    try:
        await eventually(lambda: _done(controller.working or task.done()), "the controller works")
        assert not task.done()
        yield Running(controller, kubectl, namespace)
    finally:
        controller.stop()
        await task


async def _done(value: bool) -> bool:
    return value


def collide_once(running: Running) -> None:
    """Have somebody else write to each workload between the next decision and its patch."""
    client = running.controller.client
    real, met = client.patch, set[str]()

    async def patch(path: str, body: bytes, **options: Any) -> bytes:
        # Not at a patch of the one in the mode `restart`: then `web` may be read again before its own.
        kind = next((kind for kind in KINDS if path.endswith(f"/{kind}s/web")), "")
        if kind and kind not in met:
            met.add(kind)
            await running.run_kubectl("annotate", kind, "web", "note=somebody else was here")
        return await real(path, body, **options)

    client.patch = patch  # type: ignore[method-assign]


async def use_everything(
    deployment: dict[str, Any], cluster: Cluster, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    """All that a controller asks of a server: both ways to read, adoption, rollouts, a conflict, Events that
    repeat, a restart."""
    workloads = [workload(kind) for kind in KINDS.values()]
    workloads.append(workload(kinds.DEPLOYMENT, "gentle", mode="restart"))
    manifest = APP + yaml.safe_dump_all(workloads)
    await asyncio.to_thread(kubectl, "apply", "-n", namespace, "-f", "-", input=manifest)

    async with in_a_pod(deployment, cluster, kubectl, namespace, tmp_path / "first") as running:
        await eventually(running.adopted, "every workload is adopted")
        assert set((await running.marks()).values()) == {None}
        await eventually(running.pods, "it has a pod")
        pods = await running.pods()
        await running.rolled_after(lambda: running.set_config(LEVEL="debug"))
        collide_once(running)
        # The same keys again: the same Event again, which becomes a series at the end.
        await running.rolled_after(lambda: running.set_config(LEVEL="warning"))
        last = await running.rolled_after(lambda: running.set_password("second"))

        async def restarted() -> bool:
            now = await running.pods()
            return bool(now) and not now & pods

        await eventually(restarted, "the pods are replaced")

    async with in_a_pod(
        deployment, cluster, kubectl, namespace, tmp_path / "second", streaming=False
    ) as running:
        await eventually(running.adopted, "every workload is known")
        await running.set_config(UNUSED="b")
        assert await running.marks() == last
        await running.rolled_after(lambda: running.set_password("third"))
        # Made once, and changed once for each of the four changes that somebody reads. A Deployment's generation
        # counts annotations too: its adoption, and the note of somebody else.
        # And the Job is another one.
        assert await running.generations() == dict.fromkeys(KINDS, 5) | {"deployment": 7, "job": 1}


def guard(name: str = "reroll-only-annotates") -> str:
    """An admission policy that docs/security.md proposes."""
    text = (DEPLOY.parent / "docs" / "security.md").read_text()
    examples: list[str] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (found,) = [example for example in examples if f"policyName: {name}\n" in example]
    return found


def used(
    cluster: Cluster, since: int, *, only: Collection[str] | None = None
) -> dict[str, set[tuple[str, str, str]]]:
    """Namespace -> the (group, resource, verb) that the service account asked for, and got. `only`: in these
    namespaces, because in others that go away nothing can be created."""
    found: dict[str, set[tuple[str, str, str]]] = {}
    requests = cluster.requests_of(USER)[since:]
    assert requests
    for event in requests:
        if only is not None and (event.get("objectRef") or {}).get("namespace", "") not in only:
            continue
        assert event["responseStatus"]["code"] not in (401, 403), (event["verb"], event["requestURI"])
        about = event.get("objectRef")
        if about is None:
            # Discovery, which anybody who is logged in may read.
            assert re.fullmatch(r"/apis/[\w.-]+/\w+", event["requestURI"])
            assert event["verb"] == "get"
            continue
        resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        found.setdefault(about.get("namespace", ""), set()).add(
            (about.get("apiGroup", ""), resource, event["verb"])
        )
    return found


@pytest.fixture(scope="module")
def ours(cluster: Cluster, kubectl: Kubectl) -> Iterator[None]:
    """The names that install.yaml uses are free afterwards."""
    if not cluster.tokens:
        pytest.skip("installs reroll under its own names, which a cluster of the environment may have in use")
    optional = [*(kind for kind in KINDS.values() if kind.optional), *class_statuses.KINDS.values()]
    definitions = yaml.safe_dump_all([definition(kind, status_subresource=False) for kind in optional])
    kubectl("apply", "-f", "-", input=definitions)
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", "-", input=definitions)
    yield
    kubectl("delete", "--ignore-not-found", "--timeout=60s", "-f", "-", input=definitions)
    kubectl("delete", "namespace", "reroll", "--ignore-not-found", "--timeout=60s")


@pytest.fixture
def fresh(ours: None, kubectl: Kubectl) -> Iterator[None]:
    """Nothing is granted, and there is no digest key yet; the namespace, slow to delete, may stay."""
    yield
    kubectl("delete", "clusterrole,clusterrolebinding", "reroll", "--ignore-not-found")
    kubectl("delete", "-f", "-", "--ignore-not-found", input=guard())
    kubectl("delete", "role,rolebinding,deployment,secret", "--all", "-n", "reroll")


@pytest.mark.timeout(300)
async def test_installed_in_all_namespaces(
    fresh: None, cluster: Cluster, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    since = len(cluster.requests_of(USER))
    await asyncio.to_thread(kubectl, "apply", "-f", str(DEPLOY / "install.yaml"))
    # Admitted under the restricted Pod Security Standard, which the namespace demands.
    await asyncio.to_thread(
        kubectl, "rollout", "status", "deployment/reroll", "-n", "reroll", "--timeout=60s"
    )
    policy = guard()
    await asyncio.to_thread(kubectl, "apply", "-f", "-", input=policy)
    objects = read(DEPLOY / "install.yaml")
    await use_everything(the(objects, "Deployment"), cluster, kubectl, namespace, tmp_path)

    asked = used(cluster, since)
    own = granted(objects, "Role")
    everywhere = granted(objects, "ClusterRole")
    # Nothing was refused (see `used`), and what is granted was used: no verb is there that the code can do without.
    assert asked.pop("reroll") >= own
    assert set().union(*asked.values()) == everywhere

    # The policy was in force all the while: what reroll does passes it, and another image does not.
    patch = json.dumps({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "other"}]}}}})
    arguments = ("patch", "deployment", "web", "-n", namespace, "--patch", patch)
    with pytest.raises(AssertionError, match="reroll changes annotations and nothing else"):
        await asyncio.to_thread(kubectl, *arguments, f"--as={USER}")
    await asyncio.to_thread(kubectl, *arguments)


@pytest.mark.timeout(300)
async def test_installed_for_one_namespace(
    fresh: None, cluster: Cluster, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    since = len(cluster.requests_of(USER))
    # As deploy/README.md says it: copy the example's folder, and put the name in three places.
    kustomize = tmp_path / "kustomize"
    shutil.copytree(DEPLOY / "kustomize", kustomize)
    overlay = kustomize / "namespaced"
    (overlay / "namespaces" / "shop").rename(overlay / "namespaces" / namespace)
    for path in (overlay / "kustomization.yaml", overlay / "namespaces" / namespace / "kustomization.yaml"):
        path.write_text(path.read_text().replace("shop", namespace))
    rendered = await asyncio.to_thread(kubectl, "kustomize", str(overlay))
    objects = list(yaml.safe_load_all(rendered))
    assert not {"ClusterRole", "ClusterRoleBinding"} & {obj["kind"] for obj in objects}
    await asyncio.to_thread(kubectl, "apply", "-f", "-", input=rendered)
    await use_everything(the(objects, "Deployment"), cluster, kubectl, namespace, tmp_path)

    asked = used(cluster, since)
    assert asked.pop("reroll") == granted(objects, "Role")
    assert asked.pop(namespace) == granted(objects, "Role", "reroll-workloads")
    assert not asked


def test_kustomize_renders_install_yaml(cluster: Cluster) -> None:
    rendered = subprocess.run(
        [cluster.kubectl, "kustomize", str(BASE)], capture_output=True, text=True, check=True
    ).stdout

    def sorted_by_name(objects: Objects) -> Objects:
        return sorted(objects, key=lambda obj: (obj["kind"], obj["metadata"]["name"]))

    installed = read(DEPLOY / "install.yaml")
    assert sorted_by_name(list(yaml.safe_load_all(rendered))) == sorted_by_name(installed)
