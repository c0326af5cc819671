"""Whatever anybody writes into one workload, no other is decided on differently, and nothing is raised beyond it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from reroll.controller.store import Store
from reroll.core.applied import APPLIED, decode, encode
from reroll.core.decide import decide
from reroll.core.decision import Decision, Situation
from reroll.core.digests import DigestKey
from reroll.core.kinds import KINDS
from reroll.core.observe import ConfigMapObject, NamespaceObject, decode_object
from reroll.core.proof import PodAges
from reroll.core.records import Applied, ConfigId, WorkloadId
from reroll.dialects import ALL

NOW = 1_800_000_000.0
UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What the reflector passes an object over for (`kube.reflector`)."""
FORGED = '{"v":1,"template":"","key":"","configs":{"x":null}}'
EVIL, VICTIM = (WorkloadId("Deployment", "shop", name) for name in ("evil", "victim"))


class Shop:
    """A store with a victim that follows by a pattern, and a hostile one beside it."""

    def __init__(self) -> None:
        self.asked: list[WorkloadId] = []
        self.faults = 0
        self.wanted: list[ConfigId] = []
        self.contents: dict[str, ConfigMapObject] = {}
        self.store = Store(
            DigestKey(bytes(32)),
            want=self.wanted.append,
            ask=lambda workload, cause: self.asked.append(workload),
            now=lambda: NOW,
            failed=self._count,
        )
        for kind in ("configmap", "secret", *KINDS):
            self.store.set_collection(kind, "", "")
        self.config(1, "app-1", "old")
        self.put("victim", version=2, recorded=None)
        first = self.decide(VICTIM)
        assert first.applied is not None
        self.put("victim", version=3, recorded=encode(first.applied))

    def _count(self) -> None:
        self.faults += 1

    def config(self, version: int, name: str, value: str) -> None:
        meta = {
            "name": name,
            "namespace": "shop",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        raw = json.dumps({"metadata": meta, "data": {"key": value}}).encode()
        self.contents[name] = msgspec.json.decode(raw, type=ConfigMapObject)
        self.store.configs.put_live("configmap", self.contents[name])

    def read(self) -> None:
        """What is wanted is read, as by `controller.reader`."""
        while self.wanted:
            self.store.configs.put_read("configmap", self.contents[self.wanted.pop().name])

    def put(self, name: str, *, version: int, recorded: str | None, live: bool = True, **more: Any) -> None:
        annotations = {"reroll.dev/follow": "configmap/app-*", **more.pop("annotations", {})}
        if recorded is not None:
            annotations[APPLIED] = recorded
        meta = {
            "name": name,
            "namespace": "shop",
            "uid": name,
            "generation": 1,
            "resourceVersion": str(version),
            "annotations": annotations,
            **more.pop("metadata", {}),
        }
        spec = {"replicas": 1, "template": {"spec": {"containers": [{"name": "c"}]}}, **more.pop("spec", {})}
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
        status = {"observedGeneration": 1, **counts, **more.pop("status", {})}
        kind = more.pop("kind", "Deployment")
        body = {"metadata": meta, "spec": spec, "status": status}
        obj = decode_object(KINDS[kind], json.dumps(body).encode())
        self.store.put_workload(obj, kind, live=live)

    def decide(self, workload: WorkloadId, pods: PodAges | None = None) -> Decision:
        entry, configs = self.store.workload(workload), self.store.configs
        assert entry is not None
        return decide(
            Situation(
                workload=entry.record,
                policy=entry.policy,
                consumed=entry.consumed,
                states={c.config: configs.state(c.config) for c in entry.consumed},
                key_id=configs.key.id,
                now=NOW,
                kind=KINDS[workload.kind],
                progress=entry.progress,
                pods=pods,
            )
        )

    def everything_happens(self) -> list[tuple[bool, bool, Decision]]:
        """All that makes the store see to several workloads at once, and what comes of it for the victim."""
        namespace = {"metadata": {"name": "shop", "annotations": {"reroll.dev/settle": "1s"}}}
        steps: list[Callable[[], None]] = [
            lambda: self.config(100, "app-2", "new"),
            lambda: self.config(101, "app-1", "other"),
            lambda: self.store.configs.drop(ConfigId("configmap", "shop", "app-2"), live=True, version=102),
            lambda: self.store.put_namespace(msgspec.convert(namespace, NamespaceObject)),
            lambda: self.store.set_dialects(ALL),
            lambda: self.store.set_collection("configmap", "", "it is being read"),
            lambda: self.store.set_collection("configmap", "", ""),
            lambda: self.store.drop_namespace("shop"),
        ]
        found = []
        for step in steps:
            self.asked.clear()
            step()
            followed = ConfigId("configmap", "shop", "app-1") in {
                c.config
                for entry in self.store.entries()
                if entry.record.id == VICTIM
                for c in entry.consumed
            }
            found.append((VICTIM in self.asked, followed, self.decide(VICTIM)))
        return found


ALONE = Shop().everything_happens()


def test_the_victim_is_seen_to() -> None:
    """What the others are compared with says something."""
    assert [asked for asked, _, _ in ALONE] == [True, True, True, True, True, False, True, True]
    assert {str(decision.kind.value) for _, _, decision in ALONE} >= {"wait"}


def test_a_forged_record_is_unreadable_and_harms_nobody() -> None:
    shop = Shop()
    shop.put("evil", version=4, recorded=None)
    shop.put("evil", version=5, recorded=FORGED)
    entry = shop.store.workload(EVIL)
    assert entry is not None
    assert "'x' is not KIND/NAME" in entry.record.applied_problem
    assert EVIL in shop.store.consumers(ConfigId("configmap", "shop", "app-1"))
    assert shop.everything_happens() == ALONE
    assert shop.faults == 0


class TestAFault:
    """There is always another one: what fails on one workload is counted, named once, and made good."""

    @pytest.fixture
    def shop(self, monkeypatch: pytest.MonkeyPatch) -> Shop:
        shop = Shop()
        shop.put("evil", version=4, recorded=None)
        self.fails = True
        derive = shop.store._derivation.entry

        def entry(record: Any, *rest: Any) -> Any:
            if record.id == EVIL and self.fails:
                raise KeyError("hunter2")
            return derive(record, *rest)

        monkeypatch.setattr(shop.store._derivation, "entry", entry)
        return shop

    def test_others_are_seen_to(self, shop: Shop) -> None:
        with capture_logs() as logs:
            assert shop.everything_happens() == ALONE
        assert shop.faults == 4, "an object appeared, defaults came and went, and the dialects were replaced"
        [named] = [entry for entry in logs if entry["log_level"] == "error"]
        assert (named["workload"], named["detail"]) == (str(EVIL), "KeyError")
        assert "hunter2" not in str(logs)

    def test_it_is_held_as_it_was_and_asked_about(self, shop: Shop) -> None:
        shop.asked.clear()
        shop.store.set_dialects(ALL)
        assert shop.asked == [VICTIM, EVIL]
        assert EVIL in shop.store.consumers(ConfigId("configmap", "shop", "app-1"))

    def test_its_next_event_makes_it_good(self, shop: Shop) -> None:
        shop.config(100, "app-2", "new")
        self.fails = False
        assert EVIL not in shop.store.consumers(ConfigId("configmap", "shop", "app-2"))
        shop.asked.clear()
        shop.put("evil", version=5, recorded=None)  # nothing but its version differs
        assert EVIL in shop.store.consumers(ConfigId("configmap", "shop", "app-2"))
        assert shop.asked == [EVIL]

    def test_what_is_taken_in_is_raised_and_taken_in_when_it_is_read_again(self, shop: Shop) -> None:
        annotations = {"reroll.dev/follow": "configmap/other"}
        with pytest.raises(KeyError):
            shop.put("evil", version=5, recorded=None, annotations=annotations)
        assert EVIL in shop.store.consumers(ConfigId("configmap", "shop", "app-1")), "as it was"
        self.fails = False
        shop.put("evil", version=5, recorded=None, annotations=annotations)
        assert EVIL in shop.store.consumers(ConfigId("configmap", "shop", "other"))
        assert EVIL not in shop.store.consumers(ConfigId("configmap", "shop", "app-1"))


# --- fuzzed ------------------------------------------------------------------------------------------------

texts = st.text(max_size=12) | st.sampled_from(
    ["", "true", "*", "configmap/app-*", "²", "9" * 5000, FORGED, "a\0b"]
)
numbers: st.SearchStrategy[object] = st.sampled_from(
    [0, 1, -1, 5, 6, 2**31, 2**63, 10**24, 10**400, True, None, "²", "3", 1.5, {}, []]
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
names: st.SearchStrategy[str] = texts | st.sampled_from(
    ["configmap/app-1", "configmap/shop/app-1", "secret/", "configmap/a/b/c", "configmap/a\nb"]
)
recorded = st.one_of(
    texts,
    anything.map(json.dumps),
    st.fixed_dictionaries(
        {
            "v": st.just(1),
            "template": texts,
            "key": texts,
            "configs": st.dictionaries(
                names, st.none() | texts | st.dictionaries(texts, texts, max_size=3), max_size=3
            ),
        },
        optional={
            "mark": texts,
            "by": texts,
            **dict.fromkeys(("since", "at", "again", "left", "of"), numbers),
        },
    ).map(json.dumps),
)
KEYS = [
    "auto",
    "follow",
    "search",
    "ignore",
    "mode",
    "settle",
    "on-delete",
    "on-create",
    "pause",
    "restarting",
    "config",
]
annotated = st.dictionaries(st.sampled_from([f"reroll.dev/{key}" for key in KEYS]) | texts, texts, max_size=4)
FIELDS = (
    "observedGeneration",
    "replicas",
    "updatedReplicas",
    "availableReplicas",
    "conditions",
    "phase",
    "restartedAt",
)
statuses = st.dictionaries(st.sampled_from(FIELDS), numbers | anything, max_size=4)
container = st.fixed_dictionaries(
    {"name": texts},
    optional={
        "envFrom": st.lists(
            st.fixed_dictionaries({"configMapRef": st.fixed_dictionaries({"name": names})}), max_size=2
        ),
        "env": anything,
    },
)
specs = st.fixed_dictionaries(
    {
        "template": anything
        | st.fixed_dictionaries({"metadata": anything, "spec": anything})
        | st.fixed_dictionaries(
            {"spec": st.fixed_dictionaries({"containers": st.lists(container, max_size=2)})}
        )
    },
    optional={
        "replicas": numbers,
        "updateStrategy": anything,
        "paused": anything,
        "minReadySeconds": numbers,
    },
)


class TestFuzzed:
    @settings(max_examples=200)
    @given(
        st.data(), st.sampled_from(["Deployment", "StatefulSet", "DaemonSet", "Rollout", "Job", "CronJob"])
    )
    def test_no_other_workload_notices(self, data: st.DataObject, kind: str) -> None:
        shop = Shop()
        for version in (4, 5, 6):
            try:
                shop.put(
                    "evil",
                    version=version,
                    kind=kind,
                    live=data.draw(st.booleans()),
                    recorded=data.draw(recorded),
                    annotations=data.draw(annotated),
                    metadata={"generation": version},
                    **({"spec": data.draw(specs)} if data.draw(st.booleans()) else {}),
                    **({"status": data.draw(statuses)} if data.draw(st.booleans()) else {}),
                )
            except UNREADABLE:
                continue
        shop.read()
        evil = WorkloadId(kind, "shop", "evil")
        assert shop.everything_happens() == ALONE
        assert shop.faults == 0
        if shop.store.workload(evil) is not None:
            for pods in (None, PodAges(-1, 0.0), PodAges(3, 1.0, (1.0, 2.0, NOW))):
                decision = shop.decide(evil, pods)
                if decision.applied is not None:
                    assert_readable(decision.applied)


def assert_readable(applied: Applied) -> None:
    """What reroll would write can be read again, or it would be written again and again."""
    assert decode(encode(applied)) == applied
