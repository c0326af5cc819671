"""What becomes known of a SecretProviderClass by what pods have mounted, and what is done about it.

The driver is played: its statuses come as a watch or a list brings them. The decisions are the real ones.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reroll.controller.class_statuses import ClassStatuses, MountedObject, PodStatus, StatusObject
from reroll.controller.store import Store
from reroll.core.applied import encode
from reroll.core.decide import decide
from reroll.core.decision import Decision, Kind, Situation
from reroll.core.digests import DigestKey
from reroll.core.observe import ManagedFields, ObjectMeta, WorkloadObject, WorkloadSpec
from reroll.core.records import Applied, ConfigId, ConfigRecord, Unknown, WorkloadId

VAULT = ConfigId("secretproviderclass", "shop", "vault")
WEB = WorkloadId("Deployment", "shop", "web")


class Driver:
    """The driver's statuses, as a watch or a list brings them, and what is decided because of them."""

    def __init__(self) -> None:
        self.arrived: list[tuple[str, str, int]] = []
        self.asked: list[WorkloadId] = []
        self.version = 0
        self.applied: Applied | None = None
        self.rolls = 0
        self._generations: dict[str, int] = {}
        self._objects: dict[str, StatusObject] = {}
        self.start()

    def start(self) -> None:
        """A controller starts, and knows nothing but what it lists."""
        self.store = Store(
            DigestKey(bytes(32)),
            ask=lambda workload, cause: self.asked.append(workload),
            arrived=lambda event, config, version: self.arrived.append((event, config.name, version)),
            now=lambda: 1000.0 + self.version,
        )
        self.store.put_workload(_mounting_workload(), "Deployment", live=False)
        self.statuses = ClassStatuses(self.store)
        for obj in self._objects.values():
            self.statuses.put_status(obj, live=False)
        self.statuses.synced("")

    # --- what the driver does ------------------------------------------------------------------------

    def mounted(self, pod: str, content: str, *, live: bool = True, target: str = "") -> None:
        """A pod starts. Where a status of its name is there still, the driver puts the mount into that."""
        self.version += 1
        self._put(pod, content, target=target or f"/pods/{self.version}", live=live)

    def rotated(self, pod: str, content: str, *, live: bool = True) -> None:
        """Another version is mounted into a pod that runs."""
        self.version += 1
        status = self._objects[pod].status
        assert status is not None
        self._put(pod, content, target=status.target_path, live=live)

    def _put(self, pod: str, content: str, *, target: str, live: bool) -> None:
        generation = self._generations[pod] = self._generations.get(pod, 0) + 1
        before = self._objects.get(pod)
        now = datetime.fromtimestamp(self.version, UTC).isoformat()
        meta = ObjectMeta(
            pod,
            "shop",
            uid=before.metadata.uid if before is not None else f"{pod}-{self.version}",
            resource_version=str(self.version),
            generation=generation,
            creation_timestamp=before.metadata.creation_timestamp if before is not None else now,
            managed_fields=[ManagedFields("driver", now, fields_v1=msgspec.Raw(b'{"f:status":{}}'))],
        )
        status = PodStatus("vault", [MountedObject("password", content)], target)
        self._objects[pod] = StatusObject(meta, status)
        self.statuses.put_status(self._objects[pod], live=live)

    def gone(self, pod: str) -> None:
        """A pod is gone, and its status is collected as garbage."""
        self.version += 1
        del self._objects[pod], self._generations[pod]
        self.statuses.drop_status("shop", pod)

    # --- what is known of it -------------------------------------------------------------------------

    def state(self) -> ConfigRecord:
        state = self.store.configs.state(VAULT)
        assert isinstance(state, ConfigRecord), state
        return state

    def decide(self) -> Decision:
        """Decide on the workload that mounts it, and do it."""
        entry = self.store.workload(WEB)
        assert entry is not None
        decision = decide(
            Situation(
                workload=replace(entry.record, applied=self.applied),
                policy=entry.policy,
                consumed=entry.consumed,
                states={c.config: self.store.configs.state(c.config) for c in entry.consumed},
                key_id=self.store.configs.key.id,
                now=1e6,
            )
        )
        self.applied = decision.applied or self.applied
        self.rolls += decision.kind is Kind.ROLL
        return decision

    def kinds(self, times: int = 1) -> list[Kind]:
        return [self.decide().kind for _ in range(times)]


def _mounting_workload() -> WorkloadObject:
    volume = {
        "name": "secrets",
        "csi": {
            "driver": "secrets-store.csi.k8s.io",
            "volumeAttributes": {"secretProviderClass": "vault"},
        },
    }
    main = {"name": "main", "volumeMounts": [{"name": "secrets", "mountPath": "/mnt"}]}
    template = {"spec": {"containers": [main], "volumes": [volume]}}
    meta = ObjectMeta("web", "shop", uid="u", resource_version="1", generation=1)
    meta.annotations = {"reroll.dev/auto": "true"}
    return WorkloadObject(meta, WorkloadSpec(template=msgspec.Raw(msgspec.json.encode(template))))


@pytest.fixture
def driver() -> Driver:
    """Three pods that run since a while, adopted."""
    driver = Driver()
    for pod in ("web-0", "web-1", "web-2"):
        driver.mounted(pod, "a", live=False)
    driver.statuses.synced("")
    assert driver.kinds(2) == [Kind.ADOPT, Kind.SKIP]
    assert driver.arrived == [], "what is found at the start is no news"
    driver.asked.clear()
    return driver


class TestARotation:
    def test_is_one_rollout(self, driver: Driver) -> None:
        driver.rotated("web-2", "b")
        assert driver.kinds(2) == [Kind.ROLL, Kind.SKIP]
        driver.rotated("web-1", "b")
        driver.rotated("web-0", "b")
        assert driver.kinds() == [Kind.SKIP]
        assert driver.arrived == [("update", "vault", 4)]

    @pytest.mark.parametrize("same_name", [True, False])
    @pytest.mark.parametrize("remounted", [True, False], ids=["into the old status", "status anew"])
    def test_is_not_taken_back_by_the_end_of_its_pod(
        self, driver: Driver, same_name: bool, remounted: bool
    ) -> None:
        """C1: a StatefulSet replaces the pod first that was rotated first. Its class went back to the old content, and
        forth again, each time with a rollout."""
        driver.rotated("web-2", "b")
        state = driver.state()
        assert driver.kinds() == [Kind.ROLL]
        if not remounted:
            driver.gone("web-2")
            assert driver.state() == state
            assert driver.kinds() == [Kind.SKIP]
        driver.mounted("web-2" if same_name else "web-3", "b")
        assert driver.state() == state
        driver.rotated("web-0", "b")
        driver.gone("web-1")
        driver.mounted("web-1", "b")
        driver.gone("web-0")
        driver.mounted("web-0", "b")
        assert driver.kinds() == [Kind.SKIP]
        assert driver.rolls == 1
        assert driver.arrived == [("update", "vault", 4)]

    def test_in_the_middle_of_which_another_controller_starts(self, driver: Driver) -> None:
        """It sees old pods that were rotated last before, and a new one: the record on the workload says the rest."""
        for pod in ("web-0", "web-1", "web-2"):
            driver.rotated(pod, "b")
        driver.rotated("web-2", "c")
        assert driver.kinds() == [Kind.ROLL]
        driver.gone("web-2")
        driver.mounted("web-2", "c")
        driver.start()
        assert driver.kinds() == [Kind.SKIP]
        driver.rotated("web-1", "c")
        assert driver.kinds() == [Kind.SKIP]
        driver.rotated("web-1", "d")
        assert driver.kinds() == [Kind.ROLL]

    def test_that_a_later_list_tells_of(self, driver: Driver) -> None:
        driver.rotated("web-1", "b", live=False)
        driver.rotated("web-2", "b", live=False)
        assert driver.asked == [], "of a list all is taken together"
        driver.statuses.synced("")
        assert driver.asked == [WEB]
        assert driver.kinds() == [Kind.ROLL]
        assert driver.arrived == [("update", "vault", 4)]

    def test_back_is_a_change_again(self, driver: Driver) -> None:
        driver.rotated("web-1", "b")
        driver.decide()
        driver.rotated("web-1", "a")
        assert driver.kinds() == [Kind.ROLL]

    def test_that_every_pod_was_replaced_after_needs_no_rollout(self, driver: Driver) -> None:
        driver.rotated("web-2", "b")
        for pod in ("web-2", "web-1", "web-0"):
            assert not driver.state().read_at_start
            driver.mounted(pod, "b")
        assert driver.state().read_at_start
        assert driver.kinds(2) == [Kind.RECORD, Kind.SKIP]


class TestAPodThatStarts:
    def test_in_a_users_deploy_is_no_change(self, driver: Driver) -> None:
        """C2: the vault has moved on, and each new pod mounts what it holds now."""
        state = driver.state()
        for number in range(3):
            driver.mounted(f"new-{number}", "b")
            assert driver.kinds() == [Kind.SKIP]
            driver.gone(f"web-{number}")
            if number < 2:
                assert driver.state().digests == state.digests
                assert driver.kinds() == [Kind.SKIP]
        assert driver.kinds(2) == [Kind.RECORD, Kind.SKIP]
        assert driver.arrived == [], "nor is it news for a webhook"

    def test_while_the_vault_moves_on_twice_is_no_change(self, driver: Driver) -> None:
        for number, content in enumerate("bcc"):
            driver.mounted(f"new-{number}", content)
            driver.gone(f"web-{number}")
        assert driver.rolls == 0
        assert driver.kinds(2) == [Kind.RECORD, Kind.SKIP]
        driver.rotated("new-0", "c")
        assert driver.kinds() == [Kind.ROLL], "this pod has started with b"

    def test_in_place_of_one_that_was_evicted_rolls_no_others(self, driver: Driver) -> None:
        driver.gone("web-1")
        driver.mounted("web-1", "b")
        decision = driver.decide()
        assert decision.kind is Kind.SKIP
        assert "pods that started later have a newer version mounted" in decision.notes[0]
        driver.start()
        assert driver.kinds() == [Kind.SKIP], "nor does a restart of the controller"
        driver.rotated("web-0", "b")
        assert driver.kinds() == [Kind.ROLL]

    def test_leaves_a_rotation_a_change(self, driver: Driver) -> None:
        driver.rotated("web-0", "b")
        driver.mounted("new", "c")
        assert driver.kinds(2) == [Kind.ROLL, Kind.SKIP]
        assert driver.state().mounted != ()


class TestTheEndOfAll:
    def test_leaves_what_is_recorded(self, driver: Driver) -> None:
        driver.rotated("web-0", "b")
        driver.decide()
        for pod in ("web-0", "web-1", "web-2"):
            driver.gone(pod)
        assert isinstance(driver.store.configs.state(VAULT), Unknown)
        recorded = driver.applied
        assert driver.kinds() == [Kind.SKIP]
        driver.mounted("web-0", "c")
        assert driver.kinds(2) == [Kind.RECORD, Kind.SKIP]
        assert driver.applied != recorded

    def test_leaves_nothing_behind(self, driver: Driver) -> None:
        driver.rotated("web-0", "b")
        for pod in ("web-0", "web-1", "web-2"):
            driver.gone(pod)
        held = (driver.statuses._announced, driver.statuses._listed, driver.statuses._of_class)
        assert held == ({}, set(), {})


def test_a_list_that_brings_nothing_new(driver: Driver) -> None:
    driver.rotated("web-2", "a", live=False)  # a label, with another version
    driver.statuses.synced("")
    assert driver.arrived == []
    assert driver.asked == []


def test_another_digest_key_is_no_news(driver: Driver) -> None:
    objects = list(driver._objects.values())
    driver.rotated("web-0", "b")
    driver.arrived.clear()
    driver.store.configs.rekey(DigestKey(b"k" * 32))
    driver.statuses.forget_digests()
    for obj in objects:
        driver.statuses.put_status(obj, live=False)
    driver.statuses.synced("")
    assert driver.arrived == []
    assert driver.state().read_at_start


def test_a_record_that_somebody_else_wrote_casts_no_doubt_on_it(driver: Driver) -> None:
    """C3: nothing would ever read it again, and the workload waited for ever."""
    assert driver.applied is not None
    for version, digest in ((2, "one"), (3, "another")):
        obj = _mounting_workload()
        obj.metadata.resource_version = str(version)
        applied = Applied(
            "t", driver.applied.key_id, {"secretproviderclass/vault": {"*": "", "password": digest}}
        )
        assert obj.metadata.annotations is not None
        obj.metadata.annotations["reroll.dev/applied"] = encode(applied)
        driver.store.put_workload(obj, "Deployment", live=True)
    assert not driver.state().ignored


PODS = ("web-0", "web-1", "web-2")
steps = st.lists(
    st.tuples(
        st.sampled_from(["vault", "rotate", "replace", "surge", "remount", "deploy", "restart", "decide"]),
        st.sampled_from(PODS),
    ),
    max_size=40,
)


class Play:
    """Three pods, a vault, and a rollout that replaces pods in any order."""

    def __init__(self) -> None:
        self.driver = Driver()
        self.vault = 1
        self.started: dict[str, int] = {}
        self.mounted: dict[str, int] = {}
        self.to_replace: set[str] = set()
        for pod in PODS:
            self.start(pod)
        self.decide()

    def start(self, pod: str) -> None:
        self.driver.mounted(pod, str(self.vault))
        self.started[pod] = self.mounted[pod] = self.vault
        self.to_replace.discard(pod)

    def rotate(self, pod: str) -> None:
        if self.mounted[pod] != self.vault:
            self.driver.rotated(pod, str(self.vault))
            self.mounted[pod] = self.vault

    def replace(self, pod: str, how: str = "replace") -> None:
        """`remount`: the status of the old pod is there still when the new one mounts; `surge`: another pod of the same
        workload is there meanwhile."""
        if how == "surge":
            self.driver.mounted(f"{pod}-surge", str(self.vault))
        if how != "remount":
            self.driver.gone(pod)
        self.start(pod)
        if how == "surge":
            self.driver.gone(f"{pod}-surge")

    def decide(self) -> None:
        if self.driver.decide().kind is Kind.ROLL:
            self.to_replace |= set(PODS)

    def step(self, what: str, pod: str) -> None:
        if what == "vault":
            self.vault += 1
        elif what == "rotate":
            self.rotate(pod)
        elif what == "deploy":
            self.to_replace |= set(PODS)
        elif what == "restart":
            self.driver.start()
        elif what == "decide":
            self.decide()
        elif pod in self.to_replace:
            self.replace(pod, what)

    def end(self) -> None:
        """The driver gets round, and rollouts come to their end."""
        for _ in range(3):
            for pod in PODS:
                self.rotate(pod)
            self.decide()
            for pod in sorted(self.to_replace):
                self.replace(pod)
            self.decide()


@given(steps)
def test_every_rotation_is_followed_once_in_whatever_order_pods_come_and_go(
    steps: list[tuple[str, str]],
) -> None:
    play = Play()
    for what, pod in steps:
        play.step(what, pod)
    play.end()
    assert play.started == play.mounted, "a pod has something else mounted than it has read"
    assert not play.to_replace
    assert play.driver.rolls <= play.vault - 1, "a content was rolled for twice"
    assert play.driver.kinds(1) == [Kind.SKIP]


@given(steps)
def test_without_rotation_nothing_is_rolled(steps: list[tuple[str, str]]) -> None:
    play = Play()
    # After a restart, a status into which another pod's mount was put can't be told from one that was rotated.
    without = "remount" if ("restart", PODS[0]) in steps else "restart"
    for what, pod in steps:
        if what not in ("rotate", without):
            play.step(what, pod)
        play.decide()
    assert play.driver.rolls == 0
