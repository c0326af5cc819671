"""The kubelet of the sandbox, in virtual time: when pods start, what they run with, and how they end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reroll.sandbox.content import Content
from reroll.sandbox.kinds import CONFIG_MAP, DEPLOYMENT, EVENT, NODE, POD, SECRET
from reroll.sandbox.storage import Object
from tests.sandbox.play import NAMESPACE, Play, condition, playing, template

pytestmark = pytest.mark.looptime

FROM_CONFIG: dict[str, Any] = {"envFrom": [{"configMapRef": {"name": "conf"}}]}
FROM_SECRET: dict[str, Any] = {"envFrom": [{"secretRef": {"name": "login"}}]}
MOUNTED: dict[str, Any] = {
    "volumes": [{"name": "v", "configMap": {"name": "conf"}}],
    "volumeMounts": [
        {"name": "v", "mountPath": "/conf"},
        {"name": "v", "mountPath": "/bound.conf", "subPath": "MODE"},
    ],
}


RULE = {"sandbox.reroll.dev/crash-if": "MODE=b.d"}


def pod(play: Play, name: str = "web", **spec: Any) -> Object:
    made = template(**spec)
    meta = {"name": name, "namespace": NAMESPACE, **made["metadata"]}
    return play.storage.create(POD, {"metadata": meta, "spec": made["spec"]})


def state(pod: Object) -> Object:
    (container,) = pod["status"]["containerStatuses"]
    found: Object = container["state"]
    return found


def waits_for(pod: Object) -> str:
    return str(state(pod).get("waiting", {}).get("reason", ""))


def env(play: Play, name: str = "web") -> dict[str, str]:
    content: Content = play.rollouts.kubelet.content(play.get(POD, name))
    return {name: one.value.decode() for held in content.containers for name, one in held.env.items()}


def files(play: Play) -> dict[str, str]:
    content = play.rollouts.kubelet.content(play.get(POD, "web"))
    return {path: one.value.decode() for held in content.containers for path, one in held.files.items()}


def warnings(play: Play) -> list[tuple[str, str]]:
    return [(event["reason"], event["note"]) for event in play.storage.objects(EVENT)]


def texts(value: Any) -> Iterator[str]:
    """Every text in an object."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    else:
        yield str(value)


class TestLife:
    async def test_it_is_ready_a_while_after_it_started(self, play: Play) -> None:
        pod(play)
        await play.rest(0.4)
        assert play.status(POD, "web")["phase"] == "Running"
        assert condition(play.get(POD, "web"), "Ready") == ("False", "ContainersNotReady")
        await play.rest(0.2)
        assert condition(play.get(POD, "web"), "Ready")[0] == "True"
        assert state(play.get(POD, "web")) == {"running": {"startedAt": "2026-01-01T00:00:00Z"}}

    async def test_a_pod_may_say_how_long(self, play: Play) -> None:
        pod(play, annotations={"sandbox.reroll.dev/ready-after": "1m"})
        await play.rest(59)
        assert condition(play.get(POD, "web"), "Ready")[0] == "False"
        await play.rest(2)
        assert condition(play.get(POD, "web"), "Ready")[0] == "True"

    async def test_it_has_a_node_an_address_and_a_start(self, play: Play) -> None:
        pod(play)
        pod(play, "other")
        await play.rest()
        assert play.get(POD, "web")["spec"]["nodeName"] == "sandbox"
        addresses = {play.status(POD, name)["podIP"] for name in ("web", "other")}
        assert len(addresses) == 2
        assert play.status(POD, "web")["startTime"] == "2026-01-01T00:00:00Z"

    async def test_without_a_node_it_waits_for_one(self, play: Play) -> None:
        pod(play, nodeSelector={"disk": "ssd"})
        await play.rest()
        assert condition(play.get(POD, "web"), "PodScheduled") == ("False", "Unschedulable")
        assert [reason for reason, _ in warnings(play)] == ["FailedScheduling"]
        play.storage.create(NODE, {"metadata": {"name": "fast", "labels": {"disk": "ssd"}}})
        await play.rest()
        assert play.get(POD, "web")["spec"]["nodeName"] == "fast"
        assert condition(play.get(POD, "web"), "Ready")[0] == "True"

    async def test_it_takes_a_while_to_end(self) -> None:
        async with playing(terminate_after=2.0) as play:
            pod(play)
            await play.rest(1)
            play.storage.delete(POD, NAMESPACE, "web")
            await play.rest(1)
            assert play.get(POD, "web")["metadata"]["deletionGracePeriodSeconds"] == 30
            await play.rest(2)
            assert play.storage.find(POD, NAMESPACE, "web") is None

    async def test_no_longer_than_its_grace_period(self) -> None:
        async with playing(terminate_after=10.0) as play:
            pod(play)
            await play.rest(1)
            play.storage.delete(POD, NAMESPACE, "web", grace=1)
            await play.rest(1.5)
            assert play.storage.find(POD, NAMESPACE, "web") is None

    async def test_init_containers_come_first_and_end(self, play: Play) -> None:
        first = {"name": "first", "image": "init:1", **FROM_CONFIG}
        pod(play, initContainers=[first])
        await play.rest()
        status = play.status(POD, "web")
        assert (
            status["initContainerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
        )
        assert waits_for(play.get(POD, "web")) == "PodInitializing"
        assert condition(play.get(POD, "web"), "Initialized")[0] == "False"
        play.config_map("conf", MODE="good")
        await play.rest()
        status = play.status(POD, "web")
        assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
        assert condition(play.get(POD, "web"), "Ready")[0] == "True"


class TestMissing:
    @pytest.mark.parametrize("kind", ["configMap", "secret"])
    async def test_a_variable_is_an_error_until_its_source_appears(self, play: Play, kind: str) -> None:
        pod(play, envFrom=[{f"{kind}Ref": {"name": "conf"}}])
        await play.rest(60)
        found = play.get(POD, "web")
        message = f'{kind.lower()} "conf" not found'
        assert found["status"]["phase"] == "Pending"
        assert state(found) == {"waiting": {"reason": "CreateContainerConfigError", "message": message}}
        assert warnings(play) == [("Failed", f"Error: {message}")]
        put = play.config_map if kind == "configMap" else play.secret
        put("conf", MODE="good")
        await play.rest()
        assert condition(play.get(POD, "web"), "Ready")[0] == "True"
        assert env(play) == {"MODE": "good"}

    async def test_a_key_too(self, play: Play) -> None:
        ref = {"name": "conf", "key": "MODE"}
        pod(play, env=[{"name": "MODE", "valueFrom": {"configMapKeyRef": ref}}])
        play.config_map("conf", other="x")
        await play.rest()
        assert waits_for(play.get(POD, "web")) == "CreateContainerConfigError"
        play.config_map("conf", MODE="good")
        await play.rest()
        assert env(play) == {"MODE": "good"}

    async def test_a_volume_keeps_the_container_from_being_created(self, play: Play) -> None:
        pod(play, **MOUNTED)
        await play.rest(60)
        assert waits_for(play.get(POD, "web")) == "ContainerCreating"
        note = 'MountVolume.SetUp failed for volume "v" : configmap "conf" not found'
        assert warnings(play) == [("FailedMount", note)]
        play.config_map("conf", MODE="good")
        await play.rest()
        assert files(play) == {"/conf/MODE": "good", "/bound.conf": "good"}
        assert condition(play.get(POD, "web"), "Ready")[0] == "True"

    async def test_the_event_is_about_the_pod(self, play: Play) -> None:
        made = pod(play, **FROM_CONFIG)
        await play.rest()
        (event,) = play.storage.objects(EVENT)
        assert event["type"] == "Warning"
        assert event["regarding"]["uid"] == made["metadata"]["uid"]
        assert event["metadata"]["namespace"] == NAMESPACE

    async def test_a_rollout_waits_with_its_pod(self, play: Play) -> None:
        play.deployment()
        await play.rest()
        play.spec(DEPLOYMENT, "web", template=template(**FROM_CONFIG))
        await play.rest()
        assert play.sizes() == [1, 1]
        play.config_map("conf", MODE="good")
        await play.rest()
        assert play.sizes() == [0, 1]


class TestContent:
    async def test_variables_stay_as_they_were_at_the_start(self, play: Play) -> None:
        play.config_map("conf", MODE="old")
        pod(play, **FROM_CONFIG)
        await play.rest()
        play.config_map("conf", MODE="new")
        await play.rest(60)
        assert env(play) == {"MODE": "old"}
        pod(play, "other", **FROM_CONFIG)
        await play.rest()
        assert env(play, "other") == {"MODE": "new"}

    async def test_files_follow_after_the_kubelets_sync_and_sub_paths_never(self) -> None:
        async with playing(kubelet_sync=10.0) as play:
            play.config_map("conf", MODE="old")
            pod(play, **MOUNTED)
            await play.rest()
            play.config_map("conf", MODE="new", MORE="x")
            await play.rest(9)
            assert files(play) == {"/conf/MODE": "old", "/bound.conf": "old"}
            await play.rest(2)
            assert files(play) == {"/conf/MODE": "new", "/conf/MORE": "x", "/bound.conf": "old"}

    async def test_files_of_an_object_that_is_gone_stay(self, play: Play) -> None:
        play.config_map("conf", MODE="old")
        pod(play, **MOUNTED)
        await play.rest()
        play.storage.delete(CONFIG_MAP, NAMESPACE, "conf")
        await play.rest(60)
        assert files(play)["/conf/MODE"] == "old"
        play.config_map("conf", MODE="new")
        await play.rest(60)
        assert files(play)["/conf/MODE"] == "new"

    async def test_optional_files_appear(self, play: Play) -> None:
        volume = {"name": "v", "configMap": {"name": "conf", "optional": True}}
        pod(play, volumes=[volume], volumeMounts=MOUNTED["volumeMounts"][:1])
        await play.rest()
        assert files(play) == {}
        play.config_map("conf", MODE="new")
        await play.rest()
        assert files(play) == {"/conf/MODE": "new"}

    async def test_who_runs_the_old_value_is_told(self, play: Play) -> None:
        play.config_map("conf", MODE="old")
        pod(play, **FROM_CONFIG)
        await play.rest()
        assert play.rollouts.kubelet.stale(play.get(POD, "web")) == []
        play.config_map("conf", MODE="new")
        (finding,) = play.rollouts.kubelet.stale(play.get(POD, "web"))
        assert (finding.where, finding.runs, finding.now) == ("MODE", "old", "new")

    async def test_a_secret_shows_nowhere(self, play: Play, capsys: pytest.CaptureFixture[str]) -> None:
        play.secret("login", PASSWORD="hunter2", MODE="bad")
        pod(play, annotations={"sandbox.reroll.dev/crash-if": "PASSWORD=hunter."}, **FROM_SECRET)
        await play.rest()
        play.secret("login", PASSWORD="hunter3")
        assert waits_for(play.get(POD, "web")) == "CrashLoopBackOff"
        shown = [*texts(play.get(POD, "web")["status"]), *texts(play.storage.objects(EVENT))]
        shown += [repr(play.rollouts.kubelet.stale(play.get(POD, "web")))]
        shown += [repr(play.rollouts.kubelet.content(play.get(POD, "web"))), *capsys.readouterr()]
        assert not [text for text in shown if "hunter2" in text or "hunter3" in text]

    async def test_it_is_forgotten_with_the_pod(self, play: Play) -> None:
        play.config_map("conf", MODE="old")
        made = pod(play, **FROM_CONFIG)
        await play.rest()
        play.storage.delete(POD, NAMESPACE, "web")
        await play.rest()
        assert play.rollouts.kubelet.content(made).containers == ()
        play.config_map("conf", MODE="new")
        await play.rest()


class TestCrash:
    async def test_it_loops_until_a_restart_finds_better(self, play: Play) -> None:
        play.config_map("conf", MODE="bad")
        pod(play, annotations=RULE, **FROM_CONFIG)
        await play.rest(0.5)
        found = play.get(POD, "web")
        (container,) = found["status"]["containerStatuses"]
        assert waits_for(found) == "CrashLoopBackOff"
        assert container["lastState"]["terminated"]["exitCode"] == 1
        assert container["restartCount"] == 0
        await play.rest(10)
        (container,) = play.status(POD, "web")["containerStatuses"]
        # After 1, 2 and 4 seconds.
        assert container["restartCount"] == 3
        assert [reason for reason, _ in warnings(play)] == ["BackOff"]
        play.config_map("conf", MODE="good")
        await play.rest(60)
        assert condition(play.get(POD, "web"), "Ready")[0] == "True"
        assert env(play) == {"MODE": "good"}

    async def test_a_file_is_a_reason_too(self, play: Play) -> None:
        play.config_map("conf", MODE="bad")
        pod(play, annotations=RULE, **MOUNTED)
        await play.rest()
        assert waits_for(play.get(POD, "web")) == "CrashLoopBackOff"

    @pytest.mark.parametrize("value", ["good", "badly", "abad"])
    async def test_the_pattern_is_for_the_whole_value(self, play: Play, value: str) -> None:
        play.config_map("conf", MODE=value)
        pod(play, annotations=RULE, **FROM_CONFIG)
        await play.rest()
        assert condition(play.get(POD, "web"), "Ready")[0] == "True"

    async def test_a_pattern_that_is_none_says_so(self, play: Play) -> None:
        pod(play, annotations={"sandbox.reroll.dev/crash-if": "MODE=("})
        await play.rest()
        (container,) = play.status(POD, "web")["containerStatuses"]
        message = container["lastState"]["terminated"]["message"]
        assert message == "sandbox.reroll.dev/crash-if holds no regular expression after MODE="

    async def test_a_rule_of_the_whole_sandbox(self) -> None:
        def crash(pod: Object, content: Content) -> str | None:
            return "no TOKEN is set" if "TOKEN" not in content.containers[0].env else None

        async with playing(crash=crash) as play:
            pod(play)
            pod(play, "other", env=[{"name": "TOKEN", "value": "x"}])
            await play.rest()
            (container,) = play.status(POD, "web")["containerStatuses"]
            assert container["lastState"]["terminated"]["message"] == "no TOKEN is set"
            assert condition(play.get(POD, "other"), "Ready")[0] == "True"

    async def test_a_file_that_turns_bad_later_is_no_reason(self) -> None:
        async with playing(kubelet_sync=0.1, ready_after=2.0) as play:
            play.config_map("conf", MODE="good")
            pod(play, annotations=RULE, **MOUNTED)
            await play.rest(1)
            play.config_map("conf", MODE="bad")
            await play.rest()
            assert files(play)["/conf/MODE"] == "bad"
            assert condition(play.get(POD, "web"), "Ready")[0] == "True"

    async def test_one_that_is_never_restarted_fails(self, play: Play) -> None:
        play.secret("login", MODE="bad")
        pod(play, annotations=RULE, restartPolicy="Never", **FROM_SECRET)
        await play.rest()
        assert play.status(POD, "web")["phase"] == "Failed"
        assert state(play.get(POD, "web"))["terminated"]["exitCode"] == 1
        play.put(SECRET, "login", data={})
        await play.rest()
        assert play.status(POD, "web")["phase"] == "Failed"
