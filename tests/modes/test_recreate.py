"""Jobs that are created again: their manifests, and what is done about those that are left half done."""

from __future__ import annotations

import json
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from msgspec.structs import replace

from reroll.controller.result import Again, Done
from reroll.core.applied import STANDS_IN_FOR, decode
from reroll.core.compare import ConfigChange
from reroll.core.decision import Decision, How, Kind
from reroll.core.records import Applied, Change, ConfigId, WorkloadId
from reroll.kube.errors import Unreachable
from reroll.modes import recreate
from reroll.modes.recreate import HOOKS
from tests.controller.played import IMPORT, JOBS, World
from tests.controller.played import job as a_played_job

IMPORT_PATH = f"{JOBS}/import"

APPLIED = Applied("t", "k", {"configmap/app": {"level": "d"}})
CHANGE = ConfigChange(ConfigId("configmap", "shop", "app"), ("level",), change=Change(1.0, 1.0, 7))
AGAIN = Decision(Kind.ROLL, "changed", changes=(CHANGE,), applied=APPLIED, mark="m", how=How.AGAIN)
UID_LABELS = {
    "controller-uid": "u",
    "batch.kubernetes.io/controller-uid": "u",
    "job-name": "import",
    "batch.kubernetes.io/job-name": "import",
}


def a_job(**spec: Any) -> dict[str, Any]:
    """A Job as an API server has it."""
    template = {
        "metadata": {"creationTimestamp": None, "labels": {**UID_LABELS, "app": "a"}},
        "spec": {"x": 1},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "import",
            "namespace": "shop",
            "uid": "u",
            "resourceVersion": "5",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{}],
            "labels": {**UID_LABELS, "team": "web"},
            "annotations": {"note": "kept"},
            "finalizers": ["foregroundDeletion", "example.com/keep"],
            "ownerReferences": [{"kind": "App", "name": "a", "uid": "o"}],
        },
        "spec": {"selector": {"matchLabels": {"controller-uid": "u"}}, "template": template, **spec},
        "status": {"active": 1},
    }


def again(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(recreate.again(job, AGAIN))
    return found


def test_what_is_the_servers_is_left_out_and_what_is_the_owners_is_kept() -> None:
    job = a_job(backoffLimit=3)
    before = json.dumps(job)
    made = again(job)
    assert json.dumps(job) == before, "what it is made of is not written into"
    record = made["metadata"]["annotations"].pop("reroll.dev/applied")
    assert decode(record) == APPLIED
    assert made == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "import",
            "namespace": "shop",
            "labels": {"team": "web"},
            "annotations": {"note": "kept"},
            "finalizers": ["example.com/keep"],
            "ownerReferences": [{"kind": "App", "name": "a", "uid": "o"}],
        },
        "spec": {
            "backoffLimit": 3,
            "template": {
                "metadata": {"labels": {"app": "a"}, "annotations": {"reroll.dev/config": "m"}},
                "spec": {"x": 1},
            },
        },
    }


def test_a_selector_of_its_own_stays_with_its_labels() -> None:
    made = again(a_job(manualSelector=True))
    assert made["spec"]["selector"] == {"matchLabels": {"controller-uid": "u"}}
    assert made["spec"]["template"]["metadata"]["labels"] == {**UID_LABELS, "app": "a"}


def test_one_with_next_to_nothing() -> None:
    bare = {"metadata": {"name": "a", "namespace": "shop"}, "spec": {"template": {"spec": {}}}}
    made = again(bare)
    assert made["metadata"].keys() == {"name", "namespace", "annotations"}
    assert made["spec"]["template"]["metadata"]["annotations"] == {"reroll.dev/config": "m"}


def test_whose_it_is_is_told_by_the_record() -> None:
    assert recreate.is_of(recreate.again(a_job(), AGAIN), AGAIN)
    assert not recreate.is_of(json.dumps(a_job()).encode(), AGAIN)
    assert not recreate.is_of(
        recreate.again(a_job(), AGAIN), replace(AGAIN, applied=replace(APPLIED, template="other"))
    )
    assert not recreate.is_of(b'{"metadata": {}}', AGAIN)


def test_a_stand_in_holds_all_of_what_it_stands_in_for() -> None:
    manifest = recreate.again(a_job(backoffLimit=3), AGAIN)
    name, body = recreate.stand_in(manifest, "u")
    made = json.loads(body)
    assert made["metadata"]["name"] == name != "import"
    assert made["spec"]["suspend"] is True
    assert "finalizers" not in made["metadata"], "it would not go"
    assert made["metadata"]["annotations"]["reroll.dev/stands-in-for"] == "import example.com/keep"
    # As the API server has it, with what that puts in.
    made["metadata"] |= {"uid": "s", "resourceVersion": "9", "managedFields": [{}]}
    made["spec"]["selector"] = {"matchLabels": {"controller-uid": "s"}}
    made["spec"]["template"]["metadata"]["labels"] |= UID_LABELS
    assert [recreate.behind(made)[0], json.loads(recreate.behind(made)[1])] == [
        "import",
        json.loads(manifest),
    ]


def test_the_name_of_a_stand_in_is_that_of_no_other_job() -> None:
    def name(of: str, uid: str) -> str:
        found = recreate.stand_in(
            recreate.again({**a_job(), "metadata": {**a_job()["metadata"], "name": of}}, AGAIN), uid
        )
        return found[0]

    assert name("import", "u") == name("import", "u") != name("import", "v")
    assert len(name("a" * 63, "u")) <= 63


def test_without_a_record_nothing_is_made() -> None:
    with pytest.raises(ValueError, match="record"):
        recreate.again(a_job(), replace(AGAIN, applied=None))


class TestAStandInThatWasLeft:
    """Its controller is gone: killed, or it lost the lead."""

    async def left(self, *, finalizers: tuple[str, ...] = (), deleted: bool = True) -> World:
        """The Job ``import`` was to be deleted; only its stand-in is sure."""
        world = World()
        world.config(version=1, PORT="1")
        world.server.put(JOBS, a_played_job(finalizers=finalizers))
        world.tell(IMPORT_PATH, live=False)
        await world.reconcile(IMPORT)
        world.config(version=100, PORT="2")
        away = ("create" if deleted else "delete", "import")
        world.server.fail = lambda *request: Unreachable("away") if request == away else None
        with suppress(Unreachable):
            await world.reconcile(IMPORT)
        world.server.fail = lambda verb, name: None
        self.stand_in = next(name for name in world.server.names(JOBS) if name != "import")
        world.lose_the_lead()
        world.lead()
        for name in (self.stand_in, "import"):
            world.tell(f"{JOBS}/{name}")
        return world

    async def look(self, world: World) -> Any:
        return await world.reconcile(WorkloadId("Job", "shop", self.stand_in))

    async def looked_after(self, world: World) -> Any:
        """It is seen, and still there when it counts as left behind."""
        first = await self.look(world)
        assert isinstance(first, Again)
        assert first.after == 10.0
        world.now += 10.0
        return await self.look(world)

    async def test_its_job_is_created_after_a_while(self) -> None:
        world = await self.left()
        assert world.server.names(JOBS) == [self.stand_in]
        await self.looked_after(world)
        assert world.server.names(JOBS) == ["import"]
        assert world.mark(IMPORT_PATH)
        assert "suspend" not in world.server.objects[IMPORT_PATH]["spec"]

    async def test_it_stays_while_a_finalizer_holds_the_old_one(self) -> None:
        """C5: that the name is taken says nothing; it is the old Job, which is going."""
        world = await self.left(finalizers=("example.com/keep",))
        old = world.server.objects[IMPORT_PATH]["metadata"]["uid"]
        await self.looked_after(world)
        for _ in range(100):  # Kueue and Argo CD hold theirs for minutes
            assert isinstance(await self.look(world), Again)
            world.now += 1.5
        assert self.stand_in in world.server.names(JOBS)
        world.server.release(IMPORT_PATH)
        await self.look(world)
        assert world.server.names(JOBS) == ["import"]
        assert world.server.objects[IMPORT_PATH]["metadata"]["uid"] != old

    async def test_it_stays_for_a_while_where_the_old_one_was_not_deleted_yet(self) -> None:
        """The request may still be on its way."""
        world = await self.left(deleted=False)
        old = world.server.objects[IMPORT_PATH]["metadata"]["uid"]
        assert isinstance(await self.looked_after(world), Again)
        assert self.stand_in in world.server.names(JOBS)
        world.now += 60.0
        await self.look(world)
        assert world.server.names(JOBS) == ["import"]
        assert world.server.objects[IMPORT_PATH]["metadata"]["uid"] == old

    async def test_it_goes_where_somebody_has_made_the_job(self) -> None:
        world = await self.left()
        world.server.put(JOBS, a_played_job())
        made = world.server.objects[IMPORT_PATH]["metadata"]["uid"]
        await self.looked_after(world)
        assert world.server.names(JOBS) == ["import"]
        assert world.server.objects[IMPORT_PATH]["metadata"]["uid"] == made

    async def test_it_is_used_where_this_term_has_the_old_one_deleted_itself(self) -> None:
        world = await self.left(deleted=False)
        assert isinstance(await self.look(world), Again)
        assert await world.reconcile(IMPORT) == Done()
        assert world.server.names(JOBS) == ["import"]
        assert world.mark(IMPORT_PATH)

    async def test_one_that_somebody_else_made_is_left_alone(self) -> None:
        """C16: whoever can create Jobs could have reroll create others."""
        world = World()
        manifest = a_played_job("forged")
        manifest["metadata"]["annotations"][STANDS_IN_FOR] = "import"
        world.server.put(JOBS, manifest, "mallory")
        world.tell(f"{JOBS}/forged", live=False)
        self.stand_in = "forged"
        assert await self.looked_after(world) == Done()
        assert world.server.names(JOBS) == ["forged"]
        assert world.server.writes() == []

    async def test_one_that_is_not_in_scope_is_left_alone(self) -> None:
        world = await self.left()
        del world.server.objects[f"{JOBS}/{self.stand_in}"]["metadata"]["annotations"]["reroll.dev/auto"]
        world.server.objects[f"{JOBS}/{self.stand_in}"]["metadata"]["resourceVersion"] = "1000"
        world.tell(f"{JOBS}/{self.stand_in}")
        world.server.requests.clear()
        assert await self.looked_after(world) == Done()
        assert world.server.writes() == []


class TestTwoControllersAtOneJob:
    """A leader that does not know yet that it was replaced, or two without leader election. The one that deletes the
    Job stops; what the other one does in vain must not cost the stand-in, which is all that is left of the Job."""

    @pytest.mark.parametrize("stand_in_is_ours", [True, False])
    async def test_the_stand_in_outlives_the_one_that_deletes_in_vain(self, stand_in_is_ours: bool) -> None:
        world = World()
        world.config(version=1, PORT="1")
        world.server.put(JOBS, a_played_job(finalizers=("example.com/keep",)))
        world.tell(IMPORT_PATH, live=False)
        await world.reconcile(IMPORT)
        world.tell(IMPORT_PATH)
        other = World(server=deepcopy(world.server))
        other.config(version=1, PORT="1")
        other.tell(IMPORT_PATH, live=False)
        other.config(version=100, PORT="2")
        await other.reconcile(IMPORT)
        [name] = [name for name in other.server.names(JOBS) if name != "import"]

        def stops(verb: str, asked: str) -> None:
            """The other one makes the stand-in where ours has not, deletes the Job, and is gone."""
            if (verb, asked) == (("create", name) if stand_in_is_ours else ("get", "import")):
                world.server.meanwhile = lambda verb, name: None
                world.server.objects.setdefault(f"{JOBS}/{name}", other.server.objects[f"{JOBS}/{name}"])
                world.server.remove(IMPORT_PATH)

        world.server.meanwhile = stops
        world.config(version=100, PORT="2")
        await world.reconcile(IMPORT)
        assert ("delete", "import") in world.server.requests
        stand_in = WorkloadId("Job", "shop", name)
        for told in (name, "import"):
            world.tell(f"{JOBS}/{told}")

        assert isinstance(await world.reconcile(stand_in), Again)
        assert world.server.names(JOBS) == ["import", name]
        world.now += 10.0
        assert isinstance(await world.reconcile(stand_in), Again)
        world.server.release(IMPORT_PATH)
        await world.reconcile(stand_in)
        assert world.server.names(JOBS) == ["import"]
        assert world.mark(IMPORT_PATH)


class TestAHook:
    """Its tool waits for its end, and Helm takes a deletion for that (reports.md W6)."""

    @pytest.mark.parametrize("hook", HOOKS)
    async def test_it_is_left_alone_unless_it_is_named(self, hook: str) -> None:
        world = World(auto_all=True)
        manifest = a_played_job()
        manifest["metadata"]["annotations"][hook] = "pre-upgrade"
        del manifest["metadata"]["annotations"]["reroll.dev/auto"]
        await self.changed(world, manifest)
        assert world.server.writes() == []

    async def test_one_that_is_named_is_created_again(self) -> None:
        world = World(auto_all=True)
        manifest = a_played_job()
        manifest["metadata"]["annotations"][HOOKS[0]] = "pre-upgrade"
        await self.changed(world, manifest)
        assert "delete import" in world.server.writes()

    async def changed(self, world: World, manifest: dict[str, Any]) -> None:
        world.config(version=1, PORT="1")
        world.server.put(JOBS, manifest)
        world.tell(IMPORT_PATH, live=False)
        await world.reconcile(IMPORT)
        world.server.requests.clear()
        world.config(version=100, PORT="2")
        assert await world.reconcile(IMPORT) == Done()


def test_who_made_a_stand_in_is_told_by_the_server() -> None:
    def made(manager: str, *annotations: str) -> dict[str, Any]:
        fields: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{name}": {} for name in annotations}}}
        return {"manager": manager, "fieldsV1": fields}

    ours, theirs = made("reroll", STANDS_IN_FOR), made("mallory", "note")
    assert recreate.is_made_by({"metadata": {"managedFields": [theirs, ours]}}, "reroll")
    assert not recreate.is_made_by({"metadata": {"managedFields": [made("reroll", "note")]}}, "reroll")
    assert not recreate.is_made_by(
        {"metadata": {"managedFields": [made("mallory", STANDS_IN_FOR)]}}, "reroll"
    )
    assert not recreate.is_made_by({"metadata": {}}, "reroll")
