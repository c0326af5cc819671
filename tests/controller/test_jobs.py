"""Jobs are created again under their names; what could be lost on the way is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reroll.app import Controller
from reroll.kube.errors import Forbidden, Unreachable
from tests.conftest import Kubectl
from tests.controller.conftest import Stage

Json = dict[str, Any]
LEVEL = [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]


def job(name: str = "import", *, runs: bool = True, **fields: Any) -> Json:
    """A Job. `runs`: its pod finds no node, so that it does not come to its end."""
    pod: Json = {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "example.invalid/app:1", "env": LEVEL}],
    }
    if runs:
        pod["nodeSelector"] = {"no": "such-node"}
    metadata = {"name": name, "annotations": {"reroll.dev/auto": "true"}, **fields.pop("metadata", {})}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {"backoffLimit": 3, "template": template, **fields},
    }


async def running(stage: Stage, name: str = "import", **fields: Any) -> Json:
    """A ConfigMap, and a Job of it that was adopted."""
    await stage.config_map("app", {"level": "info"})
    await stage.create(job(name, **fields))
    await stage.adopted(name, "Job")
    found: Json = await stage.get("Job", name)
    return found


async def again(stage: Stage, old: Json) -> Json:
    """The Job that took its place."""

    async def another() -> Json | None:
        try:
            found: Json = await stage.get("Job", old["metadata"]["name"])
        except Exception:
            return None
        return found if found["metadata"]["uid"] != old["metadata"]["uid"] else None

    found: Json = await stage.until(another, "it was not created again")
    return found


async def test_one_that_runs_is_created_again_once(stage: Stage) -> None:
    async with stage.controller() as control:
        owner = (
            await stage.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}})
        )["metadata"]
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
        metadata = {
            "labels": {"team": "web"},
            "annotations": {"reroll.dev/auto": "true", "note": "kept"},
            "ownerReferences": [reference],
            "finalizers": [],
        }
        old = await running(stage, metadata=metadata, activeDeadlineSeconds=3600)
        await stage.quiet(control)
        before = records(control)
        await stage.set("ConfigMap", "app", {"level": "debug"})
        new = await again(stage, old)
        await stage.quiet(control)
        assert (await stage.get("Job", "import"))["metadata"]["uid"] == new["metadata"]["uid"]
        await stage.until(lambda: alone(stage), "its stand-in is still there")

        assert new["metadata"]["labels"] == {"team": "web"}
        assert new["metadata"]["annotations"]["note"] == "kept"
        assert new["metadata"]["ownerReferences"] == old["metadata"]["ownerReferences"]
        assert new["spec"]["selector"] != old["spec"]["selector"]
        labels = new["spec"]["template"]["metadata"]["labels"]
        assert labels["batch.kubernetes.io/controller-uid"] == new["metadata"]["uid"]
        assert labels["app"] == "import"
        mark = new["spec"]["template"]["metadata"]["annotations"].pop("reroll.dev/config")
        assert mark
        for side in (old, new):
            del side["spec"]["selector"]
            for label in ("batch.kubernetes.io/controller-uid", "controller-uid"):
                del side["spec"]["template"]["metadata"]["labels"][label]
            side["spec"]["template"]["metadata"].pop("annotations", None)
            side["spec"]["template"]["metadata"].pop("creationTimestamp", None)
        assert new["spec"] == old["spec"]

        # The record came with it, and the labels that hold the new uid are no change of its template.
        assert records(control) == before
        [event] = await stage.until(lambda: stage.events("import"), "no Event")
        assert event["reason"] == "Rolled"
        assert "created again" in event["note"]

        await stage.set("ConfigMap", "app", {"level": "trace"})
        await again(stage, new)
    async with stage.controller() as control:
        last = await stage.get("Job", "import")
        await stage.quiet(control)
        assert (await stage.get("Job", "import"))["metadata"]["uid"] == last["metadata"]["uid"]


async def alone(stage: Stage) -> bool:
    """There is no Job but the one that the tests are about."""
    items = stage._json(await stage.client.list_page(stage.path("Job")))["items"]
    return [item["metadata"]["name"] for item in items] == ["import"]


def records(control: Controller) -> float:
    """How often a record was corrected so far."""
    found = control.metrics.registry.get_sample_value("reroll_decisions_total", {"kind": "record"})
    assert found is not None
    return found


async def test_the_pods_of_the_old_one_go_with_it(stage: Stage) -> None:
    async with stage.controller():
        old = await running(stage)
        await stage.until(lambda: pods_of(stage, old), "it has no pod")
        await stage.set("ConfigMap", "app", {"level": "debug"})
        new = await again(stage, old)
        await stage.until(lambda: pods_of(stage, new), "the new one has no pod")

        async def gone() -> bool:
            return not await pods_of(stage, old)

        await stage.until(gone, "the old pod is still there")


async def pods_of(stage: Stage, owner: Json) -> list[Json]:
    items = stage._json(await stage.client.list_page(stage.path("Pod")))["items"]
    return [
        pod
        for pod in items
        if any(ref["uid"] == owner["metadata"]["uid"] for ref in pod["metadata"].get("ownerReferences", ()))
    ]


async def test_one_that_is_finished_is_left_alone(stage: Stage) -> None:
    async with stage.controller() as control:
        await stage.config_map("app", {"level": "info"})
        created = await stage.create(job(runs=False))

        async def complete() -> bool:
            status = (await stage.get("Job", "import"))["status"]
            return any(
                c["type"] == "Complete" and c["status"] == "True" for c in status.get("conditions", ())
            )

        await stage.until(complete, "it did not come to its end")
        await stage.set("ConfigMap", "app", {"level": "debug"})
        await stage.quiet(control)
        found = await stage.get("Job", "import")
        assert found["metadata"]["uid"] == created["metadata"]["uid"]
        assert await stage.events("import") == []


async def test_one_that_is_suspended_is_recorded_and_stays(stage: Stage) -> None:
    async with stage.controller() as control:
        old = await running(stage, suspend=True)
        await stage.set("ConfigMap", "app", {"level": "debug"})
        await stage.quiet(control)
        await stage.patch("Job", "import", {"spec": {"suspend": False}})
        await stage.quiet(control)
        found = await stage.get("Job", "import")
        assert found["metadata"]["uid"] == old["metadata"]["uid"]


async def test_one_with_a_selector_of_its_own_keeps_it(stage: Stage) -> None:
    async with stage.controller():
        selector = {"matchLabels": {"app": "import"}}
        old = await running(stage, manualSelector=True, selector=selector)
        await stage.set("ConfigMap", "app", {"level": "debug"})
        new = await again(stage, old)
        assert new["spec"]["selector"] == selector
        assert new["spec"]["template"]["metadata"]["labels"] == {"app": "import"}


POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %(name)s}
spec:
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %(name)s}}
    resourceRules:
      - {apiGroups: [batch], apiVersions: [v1], operations: [CREATE], resources: [jobs]}
  validations:
    - {expression: "has(object.metadata.labels) && 'approved' in object.metadata.labels", message: not approved}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %(name)s}
spec: {policyName: %(name)s, validationActions: [Deny]}
"""


async def test_where_the_new_one_would_be_refused_the_old_one_stays(stage: Stage, kubectl: Kubectl) -> None:
    policy = POLICY % {"name": stage.namespace}
    async with stage.controller() as control:
        old = await running(stage)
        await asyncio.to_thread(kubectl, "apply", "-f", "-", input=policy)
        try:
            await stage.until(lambda: refused(stage), "the policy is not in force")
            await stage.set("ConfigMap", "app", {"level": "debug"})
            [event] = await stage.until(lambda: stage.events("import"), "no Event")
            assert (event["type"], event["reason"]) == ("Warning", "Failed")
            assert "not approved" in event["note"]
            found = await stage.get("Job", "import")
            assert found["metadata"]["uid"] == old["metadata"]["uid"]
            assert "deletionTimestamp" not in found["metadata"]
            # Once it is approved, it follows by itself.
            await stage.patch("Job", "import", {"metadata": {"labels": {"approved": "yes"}}})
            await again(stage, old)
        finally:
            await asyncio.to_thread(kubectl, "delete", "-f", "-", input=policy)
        assert control.acting.lead is not None
        assert not control.acting.lead.term.modes.all_unfinished()


async def refused(stage: Stage) -> bool:
    try:
        await stage.client.create(stage.path("Job") + "?dryRun=All", stage.encode(job("probe")))
    except Exception as error:
        return "not approved" in str(error)
    return False


async def test_a_quota_that_the_old_one_fills_is_no_reason_to_keep_it(stage: Stage) -> None:
    async with stage.controller():
        old = await running(stage)
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "one"},
            "spec": {"hard": {"count/jobs.batch": "1"}},
        }
        path = f"/api/v1/namespaces/{stage.namespace}/resourcequotas"
        await stage.client.create(path, stage.encode(quota))

        async def full() -> bool:
            found = stage._json(await stage.client.get(f"{path}/one"))
            return bool(found.get("status", {}).get("used", {}).get("count/jobs.batch") == "1")

        await stage.until(full, "the quota was not counted")
        await stage.set("ConfigMap", "app", {"level": "debug"})
        await again(stage, old)


class Lossy:
    """Makes requests of a controller for Jobs fail: `before` they reach the server, or after (the answer is lost)."""

    def __init__(
        self, control: Controller, method: str, times: int, *, before: bool, error: Exception
    ) -> None:
        self.failed = 0
        real = getattr(control.client, method)

        async def lossy(path: str, body: bytes | None = None, **options: Any) -> bytes:
            aside = "dryRun" in path or b"stands-in-for" in (body or b"")
            if "/jobs" not in path or aside or self.failed >= times:
                found: bytes = await real(path, body, **options)
                return found
            self.failed += 1
            if not before:
                await real(path, body, **options)
            raise error

        setattr(control.client, method, lossy)


LOST = Unreachable("lost on the way")


@pytest.mark.parametrize(
    ("method", "before", "error"),
    [
        ("delete", True, LOST),
        ("delete", False, LOST),
        ("create", True, LOST),
        ("create", False, LOST),
        ("create", True, Forbidden("not today", status=403)),
    ],
    ids=["delete unsent", "delete unanswered", "create unsent", "create unanswered", "create refused"],
)
async def test_a_request_that_fails_loses_no_job(
    stage: Stage, method: str, before: bool, error: Exception
) -> None:
    async with stage.controller() as control:
        old = await running(stage)
        lossy = Lossy(control, method, 1, before=before, error=error)
        await stage.set("ConfigMap", "app", {"level": "debug"})
        new = await again(stage, old)
        await stage.quiet(control)
        assert lossy.failed == 1
        assert (await stage.get("Job", "import"))["metadata"]["uid"] == new["metadata"]["uid"]
        assert control.acting.lead is not None
        assert not control.acting.lead.term.modes.all_unfinished()
        if method == "create" and before:

            async def told() -> bool:
                return any(event["reason"] == "Failed" for event in await stage.events("import"))

            await stage.until(told, "no Event says that it failed")


async def test_what_is_refused_for_long_is_tried_for_ever_and_told(stage: Stage) -> None:
    async with stage.controller() as control:
        old = await running(stage)
        lossy = Lossy(control, "create", 4, before=True, error=Forbidden("not today", status=403))
        await stage.set("ConfigMap", "app", {"level": "debug"})
        [event] = await stage.until(lambda: stage.events("import"), "no Event")
        assert event["type"] == "Warning"
        assert "deleted to be created again" in event["note"]
        assert "not today" in event["note"]
        assert event["regarding"]["uid"] == old["metadata"]["uid"]
        await again(stage, old)
        assert lossy.failed == 4


async def test_a_controller_that_is_stopped_in_between_finishes_first(stage: Stage) -> None:
    async with stage.controller() as control:
        old = await running(stage)
        lossy = Lossy(control, "create", 3, before=True, error=LOST)
        await stage.set("ConfigMap", "app", {"level": "debug"})
        await stage.until(lambda: asyncio.sleep(0, lossy.failed), "it was not tried")
    new = await stage.get("Job", "import")
    assert new["metadata"]["uid"] != old["metadata"]["uid"]


class TestAControllerThatIsKilledInBetween:
    """What it has deleted is created by the next one, from the stand-in."""

    async def killed(self, stage: Stage, after: str, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Json:
        """The Job as it was. The process ends after the request `after` ("delete" of the old, or "create" of the
        new one, or nothing but the stand-in was done)."""
        async with stage.controller() as control:
            old = await running(stage, **fields)
            reached = asyncio.Event()

            async def end() -> None:
                reached.set()
                await asyncio.Event().wait()

            create, delete = control.client.create, control.client.delete

            async def ending_create(path: str, body: bytes, **options: Any) -> bytes:
                if path.endswith("/jobs") and b"stands-in-for" not in body:
                    if after == "delete":
                        await end()
                    await create(path, body, **options)
                    await end()
                found: bytes = await create(path, body, **options)
                return found

            async def ending_delete(path: str, *arguments: Any, **options: Any) -> bytes:
                if after == "stand-in":
                    await end()
                found: bytes = await delete(path, *arguments, **options)
                return found

            control.client.create = ending_create  # type: ignore[method-assign]
            control.client.delete = ending_delete  # type: ignore[method-assign]
            await stage.set("ConfigMap", "app", {"level": "debug"})
            async with asyncio.timeout(10):
                await reached.wait()
            # A process that is killed does nothing more: neither what its actors are at, nor what a stop would finish.
            monkeypatch.setattr("reroll.controller.lead.FINISH_WITHIN", 0.0)
            for task in asyncio.all_tasks():
                if task.get_name().startswith("actor "):
                    task.cancel()
        return old

    @pytest.mark.parametrize("after", ["stand-in", "delete", "create"])
    async def test_the_next_one_goes_on(
        self, stage: Stage, after: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("reroll.modes.recreate._LEFT_BEHIND", 0.2)
        metadata = {"annotations": {"reroll.dev/auto": "true", "note": "kept"}, "labels": {"team": "web"}}
        old = await self.killed(stage, after, monkeypatch, metadata=metadata, activeDeadlineSeconds=3600)
        items = stage._json(await stage.client.list_page(stage.path("Job")))["items"]
        [stand_in] = [job for job in items if job["metadata"]["name"] != "import"]
        assert stand_in["spec"]["suspend"] is True
        assert (len(items) == 1) is (after == "delete")
        async with stage.controller(settle=0) as control:
            new = await again(stage, old)
            await stage.until(lambda: alone(stage), "its stand-in is still there")
            await stage.quiet(control)
            assert (await stage.get("Job", "import"))["metadata"]["uid"] == new["metadata"]["uid"]
        assert new["metadata"]["labels"] == {"team": "web"}
        assert new["metadata"]["annotations"].keys() == {"reroll.dev/auto", "reroll.dev/applied", "note"}
        assert not new["spec"].get("suspend")
        assert new["spec"]["activeDeadlineSeconds"] == 3600
        assert new["spec"]["template"]["metadata"]["annotations"].keys() == {"reroll.dev/config"}


async def test_a_finalizer_of_the_old_one_is_waited_for(stage: Stage) -> None:
    async with stage.controller():
        metadata = {"annotations": {"reroll.dev/auto": "true"}, "finalizers": ["example.com/keep"]}
        old = await running(stage, metadata=metadata)
        await stage.set("ConfigMap", "app", {"level": "debug"})

        async def going() -> bool:
            return "deletionTimestamp" in (await stage.get("Job", "import"))["metadata"]

        await stage.until(going, "it was not deleted")
        await stage.patch("Job", "import", {"metadata": {"finalizers": None}})
        new = await again(stage, old)
        assert "example.com/keep" in new["metadata"]["finalizers"]
        await stage.patch("Job", "import", {"metadata": {"finalizers": None}})


async def test_somebody_elses_successor_is_taken_as_it_is(stage: Stage) -> None:
    """A GitOps tool was quicker: its Job was made after the change, and is not made again."""
    async with stage.controller() as control:
        old = await running(stage)
        real = control.client.create

        async def create(path: str, body: bytes, **options: Any) -> bytes:
            if path.endswith("/jobs") and b"stands-in-for" not in body:
                control.client.create = real  # type: ignore[method-assign]
                await stage.create(job())
            found: bytes = await real(path, body, **options)
            return found

        control.client.create = create  # type: ignore[method-assign]
        await stage.set("ConfigMap", "app", {"level": "debug"})
        new = await again(stage, old)
        await stage.adopted("import", "Job")
        await stage.quiet(control)
        assert (await stage.get("Job", "import"))["metadata"]["uid"] == new["metadata"]["uid"]
        # It has no mark: it is not ours.
        assert "annotations" not in new["spec"]["template"]["metadata"]
