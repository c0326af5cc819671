"""What the secrets-store CSI driver rotates, with its CustomResourceDefinitions and no driver: the tests write the
SecretProviderClassPodStatuses as it does."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from reroll.app import Controller
from reroll.controller.class_statuses import CLASS, STATUS
from reroll.core.records import ConfigId, ConfigRecord
from tests.conftest import Cluster, Kubectl
from tests.controller.conftest import Stage, definition
from tests.reloader.conftest import Running

R = "reloader.stakater.com"
NAMED, TYPED = f"secretproviderclass.{R}/reload", f"secretproviderclass.{R}/auto"
AUTO, EXCLUDE = f"{R}/auto", f"secretproviderclasses.exclude.{R}/reload"
MARK = f"{R}/last-reloaded-from"
FLAGS = ("--reload-strategy=annotations", "--enable-csi-integration=true")


@pytest.fixture(scope="module")
def driver(cluster: Cluster, kubectl: Kubectl) -> Iterator[None]:
    """The definitions are there. As the driver has it, the status is no subresource: each change is a generation."""
    if not getattr(cluster, "tokens", None):
        pytest.skip("installs CustomResourceDefinitions, which a cluster of the environment may have already")
    names = [f"crd/{kind.plural}.{kind.group}" for kind in (CLASS, STATUS)]
    items = [definition(kind, status_subresource=False) for kind in (CLASS, STATUS)]
    kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
    yield
    kubectl("delete", "--ignore-not-found", "--timeout=60s", *names)


class Vault:
    """The classes and statuses of the stage's namespace."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._uids = itertools.count(1)
        self.path = f"/apis/{STATUS.group}/v1/namespaces/{stage.namespace}"

    async def provider(self, name: str, annotations: dict[str, str] | None = None) -> None:
        await self.stage.client.create(
            f"{self.path}/{CLASS.plural}",
            msgspec.json.encode(
                {
                    "apiVersion": f"{CLASS.group}/v1",
                    "kind": CLASS.kind,
                    "metadata": {"name": name, "annotations": annotations or {}},
                    "spec": {"provider": "vault"},
                }
            ),
        )

    async def mounted(self, pod: str, provider: str, version: str) -> None:
        """A pod has mounted it, at its start."""
        await self.stage.client.create(
            f"{self.path}/{STATUS.plural}",
            msgspec.json.encode(
                {
                    "apiVersion": f"{STATUS.group}/v1",
                    "kind": STATUS.kind,
                    "metadata": {"name": f"{pod}-{provider}"},
                    "status": {
                        "secretProviderClassName": provider,
                        "targetPath": self._target(),
                        "objects": [{"id": "db", "version": version}],
                    },
                }
            ),
        )

    async def change(self, pod: str, provider: str, **patch: Any) -> None:
        path = f"{self.path}/{STATUS.plural}/{pod}-{provider}"
        await self.stage.client.patch(path, msgspec.json.encode(patch))

    def _target(self) -> str:
        """Where it is mounted on the node: each pod has a place of its own."""
        return f"/var/lib/kubelet/pods/{next(self._uids)}/volumes/kubernetes.io~csi/secrets/mount"

    async def mounted_into(self, pod: str, provider: str, version: str) -> None:
        """A pod has mounted it at its start, and the status of the former pod of this name is there still."""
        objects = [{"id": "db", "version": version}]
        await self.change(pod, provider, status={"objects": objects, "targetPath": self._target()})

    async def gone(self, pod: str, provider: str) -> None:
        """The pod is gone, and its status is collected as garbage."""
        await self.stage.client.delete(f"{self.path}/{STATUS.plural}/{pod}-{provider}")

    async def rotated(self, pod: str, provider: str, version: str) -> None:
        await self.change(pod, provider, status={"objects": [{"id": "db", "version": version}]})

    async def deploy(
        self,
        name: str,
        provider: str,
        annotations: dict[str, str],
        *,
        init: bool = False,
        kind: str = "Deployment",
    ) -> None:
        volume = {
            "name": "secrets",
            "csi": {
                "driver": "secrets-store.csi.k8s.io",
                "readOnly": True,
                "volumeAttributes": {"secretProviderClass": provider},
            },
        }
        main: dict[str, Any] = {"name": "main", "image": "example.invalid/app:1"}
        mounts = [{"name": "secrets", "mountPath": "/mnt/secrets"}]
        pod: dict[str, Any] = {"containers": [main], "volumes": [volume]}
        if init:
            pod["initContainers"] = [{**main, "name": "init", "volumeMounts": mounts}]
        else:
            main["volumeMounts"] = mounts
        main["envFrom"] = [{"configMapRef": {"name": "app", "optional": True}}]
        await self.stage.create(
            {
                "apiVersion": "apps/v1",
                "kind": kind,
                "metadata": {"name": name, "annotations": annotations},
                "spec": {
                    **({"serviceName": name} if kind == "StatefulSet" else {}),
                    "selector": {"matchLabels": {"app": name}},
                    "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
                },
            }
        )

    async def mark(self, name: str) -> dict[str, Any] | None:
        found = await self.stage.get("Deployment", name)
        value = (found["spec"]["template"]["metadata"].get("annotations") or {}).get(MARK)
        return json.loads(value) if value else None

    async def reloaded(self, name: str, before: dict[str, Any] | None = None) -> dict[str, Any]:
        async def other() -> dict[str, Any] | None:
            mark = await self.mark(name)
            return mark if mark != before else None

        return await self.stage.until(other, f"{name} was not reloaded")  # type: ignore[no-any-return]

    async def rest(self, control: Controller) -> None:
        """Wait until everything done so far was seen, and nothing is left to do. A watch delivers in order: a status
        that is made now, of a class of its own, comes after all others."""
        if control.watches.of_optional():
            name = f"marker-{next(self._uids)}"
            await self.mounted("marker", name, "1")
            marker = ConfigId("secretproviderclass", self.stage.namespace, name)

            async def seen() -> bool:
                return isinstance(control.store.configs.state(marker), ConfigRecord)

            await self.stage.until(seen, "a status was not seen")
        await self.stage.quiet(control)


@pytest.fixture
async def vault(stage: Stage, driver: None) -> AsyncIterator[Vault]:
    found = Vault(stage)
    yield found
    items = msgspec.json.decode(await stage.client.list_page(f"{found.path}/{STATUS.plural}"))["items"]
    for item in items:
        await stage.client.delete(f"{found.path}/{STATUS.plural}/{item['metadata']['name']}")


async def test_one_rotation_is_one_reload_however_many_pods_there_are(
    stage: Stage, vault: Vault, reloader: Running
) -> None:
    await vault.provider("db")
    for pod in ("web-1", "web-2", "web-3"):
        await vault.mounted(pod, "db", "1")
    await vault.deploy("web", "db", {NAMED: "db"})
    async with reloader(stage, *FLAGS) as control:
        await stage.adopted("web")
        await vault.rotated("web-1", "db", "2")
        first = await vault.reloaded("web")
        assert (first["type"], first["name"]) == ("SECRETPROVIDERCLASS", "db")
        await vault.rotated("web-2", "db", "2")
        await vault.mounted("web-4", "db", "2")  # a pod of the new template
        await vault.rotated("web-3", "db", "2")
        await vault.rest(control)
        assert await vault.mark("web") == first
        await vault.rotated("web-4", "db", "3")
        await vault.reloaded("web", first)


PODS = ("web-0", "web-1", "web-2")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
async def test_a_rotation_pod_after_pod_is_one_reload(
    stage: Stage, vault: Vault, reloader: Running, kind: str
) -> None:
    """The driver takes minutes to rotate all pods. Meanwhile the reload replaces them, the one that was rotated first
    before the others: what is known of the class must not go back with its status."""
    for pod in PODS:
        await vault.mounted(pod, "db", "1")
    await vault.deploy("web", "db", {NAMED: "db"}, kind=kind)
    async with stage.watched(), reloader(stage, *FLAGS) as control:
        await stage.adopted("web", kind)
        await vault.rotated("web-2", "db", "2")
        await stage.rolled("web", 1, kind)
        await vault.gone("web-2", "db")
        await vault.rest(control)
        await stage.rolled("web", 1, kind)
        await vault.mounted("web-2", "db", "2")
        await vault.rotated("web-0", "db", "2")
        await vault.rest(control)
        await stage.rolled("web", 1, kind)
        await vault.mounted_into("web-1", "db", "2")
        await vault.gone("web-0", "db")
        await vault.mounted("web-0", "db", "2")
        await vault.rest(control)
        await stage.rolled("web", 1, kind)
        await vault.rotated("web-1", "db", "3")
        await stage.rolled("web", 2, kind)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
async def test_a_deploy_after_the_vault_has_moved_on_needs_no_reload(
    stage: Stage, vault: Vault, reloader: Running, kind: str
) -> None:
    """Its pods mount what the vault holds now, whether the driver rotates what others have mounted or not."""
    for pod in PODS:
        await vault.mounted(pod, "db", "1")
    await vault.deploy("web", "db", {NAMED: "db"}, kind=kind)
    async with stage.watched(), reloader(stage, *FLAGS) as control:
        before = await stage.adopted("web", kind)
        image = {"containers": [{"name": "main", "image": "example.invalid/app:2"}]}
        await stage.client.patch(
            stage.path(kind, "web"),
            json.dumps({"spec": {"template": {"spec": image}}}).encode(),
            content_type="application/strategic-merge-patch+json",
        )
        for pod in PODS:
            await vault.mounted(f"new-{pod}", "db", "2")
            await vault.rest(control)
            await vault.gone(pod, "db")
            await vault.rest(control)
        await stage.rolled("web", 1, kind)  # the deploy itself

        async def recorded() -> bool:
            now = await stage.adopted("web", kind)
            return bool(now["configs"] != before["configs"])

        await stage.until(recorded, "what its pods have read was not recorded")
        await vault.rotated("new-web-0", "db", "3")
        await stage.rolled("web", 2, kind)


async def test_pods_that_start_with_it_need_no_reload(stage: Stage, vault: Vault, reloader: Running) -> None:
    await vault.mounted("web-1", "db", "1")
    await vault.deploy("web", "db", {AUTO: "true"})
    async with reloader(stage, *FLAGS) as control:
        await stage.adopted("web")
        path = f"{vault.path}/{STATUS.plural}/web-1-db"
        await stage.client.delete(path)  # scaled to nothing, rotated in the vault, and scaled up again
        await vault.mounted("web-2", "db", "2")
        await vault.rest(control)
        assert await vault.mark("web") is None
        await vault.rotated("web-2", "db", "3")
        await vault.reloaded("web")


@pytest.mark.parametrize(
    ("annotations", "init", "reloads"),
    [
        ({NAMED: "db"}, True, True),
        ({TYPED: "true"}, False, True),
        ({AUTO: "true"}, True, True),
        ({f"configmap.{R}/auto": "true"}, False, False),
        ({AUTO: "true", EXCLUDE: "db"}, False, False),
        ({AUTO: "true", EXCLUDE: "other"}, False, True),
    ],
)
async def test_who_is_reloaded(
    stage: Stage, vault: Vault, reloader: Running, annotations: dict[str, str], init: bool, reloads: bool
) -> None:
    await vault.mounted("web-1", "db", "1")
    await vault.deploy("web", "db", annotations, init=init)
    async with reloader(stage, *FLAGS) as control:
        await vault.rest(control)
        await vault.change("web-1", "db", metadata={"labels": {"a": "b"}})
        await vault.rest(control)
        assert await vault.mark("web") is None
        await vault.rotated("web-1", "db", "2")
        if reloads:
            await vault.reloaded("web")
        else:
            await vault.rest(control)
            assert await vault.mark("web") is None


async def test_the_typed_annotation_is_not_for_other_types(
    stage: Stage, vault: Vault, reloader: Running
) -> None:
    await stage.config_map("app", {"key": "1"})
    await vault.mounted("web-1", "db", "1")
    await vault.deploy("web", "db", {TYPED: "true"})
    async with reloader(stage, *FLAGS) as control:
        await stage.adopted("web")
        await stage.set("ConfigMap", "app", {"key": "2"})
        await vault.rest(control)
        assert await vault.mark("web") is None


async def test_a_class_that_is_ignored(stage: Stage, vault: Vault, reloader: Running) -> None:
    await vault.provider("db", {f"{R}/ignore": "true"})
    await vault.mounted("web-1", "db", "1")
    await vault.deploy("web", "db", {NAMED: "db"})
    async with reloader(stage, *FLAGS) as control:
        await vault.rest(control)
        await vault.rotated("web-1", "db", "2")
        await vault.rest(control)
        assert await vault.mark("web") is None


async def test_without_the_flag_nothing_is_watched(stage: Stage, vault: Vault, reloader: Running) -> None:
    await vault.mounted("web-1", "db", "1")
    await vault.deploy("web", "db", {NAMED: "db"})
    async with reloader(stage, "--reload-strategy=annotations") as control:
        assert not control.watches.of_optional()
        await vault.rotated("web-1", "db", "2")
        await vault.rest(control)
        assert await vault.mark("web") is None
