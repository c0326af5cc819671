"""The snapshot: what is in it, what must never be, and that a controller starts from it as from the cluster."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest

from reroll.controller.digest_key import DigestKeySecret
from reroll.core.digests import DigestKey
from reroll.core.records import ConfigId, WorkloadId
from reroll.insight.simulation.bad_input import BadInput
from reroll.insight.simulation.capture import capture
from reroll.insight.simulation.changes import Changes
from reroll.insight.simulation.result import Simulation
from reroll.insight.simulation.run import simulate
from reroll.insight.simulation.scenario import from_options
from reroll.insight.simulation.snapshot import is_snapshot, key_line, read_key, read_snapshot
from reroll.insight.simulation.world import World
from reroll.settings import Settings
from tests.controller.conftest import NewWorkload, Stage

VALUE = "correct-horse-battery"
PLAIN = "staple-in-a-config-map"
HEADER: dict[str, Any] = {
    "format": "reroll-snapshot",
    "version": 1,
    "made": "2026-11-23T08:00:00Z",
    "cluster": "https://c",
    "by": "reroll test",
    "key": {"id": DigestKey(bytes(32)).id, "of": "cluster"},
}
CONFIG_MAP = {
    "kind": "ConfigMap",
    "metadata": {"namespace": "shop", "name": "app", "resourceVersion": "5"},
    "digests": {"level": "AAAAAAAAAAAAAAAA"},
}


def file(*lines: dict[str, Any], header: dict[str, Any] = HEADER, end: int | None = None) -> bytes:
    closing = [{"end": len(lines) if end is None else end}]
    return b"".join(msgspec.json.encode(line) + b"\n" for line in (header, *lines, *closing))


def read(text: bytes, key: DigestKey | None = None) -> World:
    return read_snapshot(io.BytesIO(text), "f", key)


def run(world: World, *options: tuple[str, str], **settings: Any) -> Simulation:
    steps = from_options(options, "default")
    return simulate(
        world, Changes(steps, world.key, io.BytesIO(), default_namespace="default"), Settings(**settings)
    )


def test_it_is_told_by_its_beginning() -> None:
    assert is_snapshot(file())
    assert not is_snapshot(b"apiVersion: v1")
    assert not is_snapshot(b'{"apiVersion": "v1"}')


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        (
            file(header={**HEADER, "version": 2}),
            "f:1",
            "version 2, and this reroll reads version 1: read it with",
        ),
        (file(header={**HEADER, "version": 0}), "f:1", "make it again"),
        (file(header={"format": "reroll-snapshot"}), "f:1", "no first line"),
        (file(CONFIG_MAP)[:-10], "f:2", "cut off after this line"),
        (file(CONFIG_MAP)[:-20], "f:2", "the file is cut off here"),
        (file(CONFIG_MAP)[:100], "f:1", "no first line"),
        (file(CONFIG_MAP, end=2), "f:3", "2 lines should stand before, not 1"),
        (file(CONFIG_MAP, CONFIG_MAP), "f:3", "configmap/shop/app stands in the snapshot twice"),
        (file({**CONFIG_MAP, "digests": {"a": "%"}}), "f:2", "a digest that is none"),
        (file({**CONFIG_MAP, "digests": {"a": "AAAA"}}), "f:2", "not 12 bytes"),
        (file({**CONFIG_MAP, "kind": "Secret", "digests": None}), "f:2", "no digests"),
        (file({**CONFIG_MAP, "kind": "Gadget"}), "f:2", "'Gadget' is not known"),
        (file({**CONFIG_MAP, "metadata": {"name": "app"}}), "f:2", "no namespace"),
        (file(CONFIG_MAP) + b"{}\n", "f:4", "something follows"),
        (b"", "f:1", "no first line"),
    ],
)
def test_a_file_that_is_newer_cut_or_damaged_is_told_by_line(text: bytes, where: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        read(text)
    assert str(caught.value).startswith(f"{where}: ")


def test_of_some_namespaces_only_these_can_be_asked_about() -> None:
    world = read(file(CONFIG_MAP, header={**HEADER, "namespaces": ["shop"]}))
    with pytest.raises(ValueError, match="the namespace other is not in it"):
        run(world, namespaces=("other",))


def test_a_key_file_is_the_key_or_is_told(tmp_path: Any) -> None:
    path = tmp_path / "key"
    path.write_text(key_line(DigestKey(bytes(32))))
    key = read_key(str(path))
    assert read(file(), key).secrets_comparable
    assert not read(file()).secrets_comparable
    with pytest.raises(BadInput, match="the key file holds"):
        read(file(), DigestKey(bytes(range(32))))
    path.write_text("too short")
    with pytest.raises(BadInput, match="holds no digest key"):
        read_key(str(path))


# --- of a real cluster -------------------------------------------------------------------------------


WORKLOADS = {"web": "Deployment", "files": "StatefulSet", "agent": "DaemonSet"}


def container() -> dict[str, Any]:
    refs = {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}
    return {"env": [refs], "envFrom": [{"secretRef": {"name": "db"}}]}


async def taken(stage: Stage, *, known: bool = True, **options: Any) -> tuple[bytes, DigestKey]:
    """A snapshot of the stage's namespace."""
    out = io.BytesIO()
    secret = DigestKeySecret(stage.client, stage.namespace, "reroll-digest-key")
    key = await secret.read() if known else None
    used = await capture(
        stage.client, out, now=1_800_000_000.0, namespaces=(stage.namespace,), key=key, **options
    )
    return out.getvalue(), used


async def adopted(stage: Stage, new_workload: NewWorkload) -> None:
    await stage.config_map("app", {"level": PLAIN, "other": "1"})
    await stage.secret("db", {"password": VALUE})
    # As kubectl apply leaves it: the whole object, values and all, in an annotation.
    last = {"kubectl.kubernetes.io/last-applied-configuration": f'{{"stringData":{{"password":"{VALUE}"}}}}'}
    await stage.patch("Secret", "db", {"metadata": {"annotations": last}})
    await stage.create(new_workload("web", container=container()))
    await stage.create(new_workload("files", kind="StatefulSet", replicas=0, container=container()))
    on_delete = {"updateStrategy": {"type": "OnDelete"}}
    await stage.create(new_workload("agent", kind="DaemonSet", container=container(), **on_delete))
    async with stage.controller() as control:
        for name, kind in WORKLOADS.items():
            await stage.adopted(name, kind)
        await stage.quiet(control)


async def in_thread(world: World, *options: tuple[str, str], **settings: Any) -> Simulation:
    """simulate runs a loop of its own, and this test has one already."""
    import asyncio

    return await asyncio.to_thread(run, world, *options, **settings)


async def test_a_controller_starts_from_it_as_from_the_cluster(
    stage: Stage, new_workload: NewWorkload
) -> None:
    await adopted(stage, new_workload)
    text, key = await taken(stage)
    whole = text.decode()
    assert VALUE not in whole
    assert PLAIN not in whole
    assert "last-applied" not in whole
    home = stage.namespace
    world = read(text)
    assert ConfigId("secret", home, "db") in world.configs
    found = await in_thread(world)
    assert (found.rolls, found.start.adopted, found.start.recorded) == ((), 0, 0)

    found = await in_thread(read(text), ("set", f"configmap/{home}/app:level=other"))
    rolls = {roll.workload: roll.notes for roll in found.rolls}
    assert rolls.keys() == {f"daemonset/{home}/agent", f"deployment/{home}/web"}
    assert "OnDelete" in rolls[f"daemonset/{home}/agent"][0]
    [stay] = found.stays
    assert (stay.workload, stay.decision) == (f"statefulset/{home}/files", "record")
    assert "no replicas" in stay.reason

    # The digest of a ConfigMap's value has no key: what is set can be compared with what is there.
    same = await in_thread(read(text), ("set", f"configmap/{home}/app:level={PLAIN}"))
    assert [made.effect for made in same.changes] == ["nothing"]

    # That of a Secret's has: without the key anything that is set is another value, and that is said.
    change = ("set", f"secret/{home}/db:password={VALUE}")
    found = await in_thread(read(text), change)
    assert f"deployment/{home}/web" in {roll.workload for roll in found.rolls}
    assert any("--key-file" in note for note in found.notes)
    found = await in_thread(read(text, key), change)
    assert [made.effect for made in found.changes] == ["nothing"]
    assert found.notes == ()


@pytest.mark.parametrize("marks", ["env-vars", "annotations", "wave"])
async def test_the_marks_of_other_tools_are_no_change_by_somebody_else(
    stage: Stage, new_workload: NewWorkload, marks: str
) -> None:
    await stage.config_map("app", {"level": "info"})
    env = [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]
    await stage.create(new_workload("web", container={"env": env}))
    async with stage.controller(marks=marks) as control:
        await stage.adopted("web")
        await stage.set("ConfigMap", "app", {"level": "debug"})
        await stage.rolled("web", 1)
        await stage.quiet(control)
    text, _ = await taken(stage)
    found = await in_thread(read(text), ("set", f"configmap/{stage.namespace}/app:level=trace"))
    assert (found.start.adopted, found.start.recorded) == (0, 0)
    assert [roll.workload for roll in found.rolls] == [f"deployment/{stage.namespace}/web"]


async def test_marks_that_another_tool_left_behind_are_part_of_the_template(
    stage: Stage, new_workload: NewWorkload
) -> None:
    """As after a migration from Reloader: the controller that runs takes them for what they are, anybody's."""
    await stage.config_map("app", {"level": "info"})
    left = {"name": "STAKATER_APP_CONFIGMAP", "value": "0" * 40}
    env = [left, {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]
    await stage.create(new_workload("web", container={"env": env}))
    async with stage.controller() as control:
        await stage.adopted("web")
        await stage.quiet(control)
    await stage.pods_older_than_now("web")
    await stage.set("ConfigMap", "app", {"level": "debug"})
    text, _ = await taken(stage)
    found = await in_thread(read(text))
    assert (found.start.recorded, found.start.rolled) == (0, 1)


async def test_what_changed_while_no_controller_ran_rolls_at_the_start(
    stage: Stage, new_workload: NewWorkload
) -> None:
    await adopted(stage, new_workload)
    for name in ("web", "agent"):
        await stage.pods_older_than_now(name)
    await stage.set("Secret", "db", {"password": VALUE + "2"})
    text, _ = await taken(stage)
    assert VALUE not in text.decode()
    found = await in_thread(read(text))
    assert {(roll.workload.split("/")[-1], roll.at, roll.reason) for roll in found.rolls} == {
        (name, None, "secret/db changed (password): container main: envFrom") for name in ("web", "agent")
    }
    # Without the cluster's key that can't be told, and is not guessed.
    text, _ = await taken(stage, known=False)
    found = await in_thread(read(text))
    assert found.rolls == ()
    assert any("without the cluster's digest key" in note for note in found.notes)


async def test_with_values_only_those_of_config_maps_are_in_it(
    stage: Stage, new_workload: NewWorkload
) -> None:
    await adopted(stage, new_workload)
    text, _ = await taken(stage, with_values=True)
    assert PLAIN in text.decode()
    assert VALUE not in text.decode()
    plain, _ = await taken(stage)
    home = stage.namespace
    config = ConfigId("configmap", home, "app")
    assert read(text).configs[config].digests == read(plain).configs[config].digests
    workload = WorkloadId("Deployment", home, "web")
    assert read(text).pods == read(plain).pods
    assert read(text).pods is not None
    assert workload in (read(text).pods or {})
