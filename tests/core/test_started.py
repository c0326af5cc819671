"""What pods read that somebody else had started."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reroll.core.applied import ABSENT, WILDCARD
from reroll.core.digests import config_map_digest, config_map_digests, text
from reroll.core.records import (
    Applied,
    AppliedKeys,
    ConfigId,
    ConfigKind,
    ConfigRecord,
    ConfigState,
    Consumed,
    Missing,
    Reference,
    Unknown,
    WorkloadRecord,
)
from reroll.core.started import read_before_its_start, started_with
from tests.records import deployment

APP = ConfigId("configmap", "shop", "app")
OLD: dict[str, AppliedKeys] = {
    "configmap/app": {"a": "old"},
    "secret/db": {"p": "old"},
    "secretproviderclass/vault": {"p": "old"},
}


def web(applied: Applied | None) -> WorkloadRecord:
    return deployment(resource_version="9", generation=2, template_hash="t2", applied=applied)


def reads(*keys: str, optional: bool = False, kind: ConfigKind = "configmap", name: str = "app") -> Consumed:
    reference = Reference(kind, name, "env", "container web: env", keys or None, optional)
    return Consumed(ConfigId(kind, "shop", name), keys or None, (reference,))


def holds(**data: str) -> ConfigRecord:
    return ConfigRecord(*config_map_digests(data, None))


def digest(value: str) -> str:
    return text(config_map_digest(value.encode()))


RECORDED = web(Applied("t1", "k", dict(OLD)))


@pytest.mark.parametrize(
    ("c", "state", "read"),
    [
        pytest.param(reads("a"), holds(a="1", b="2"), {"a": digest("1")}, id="what is there"),
        pytest.param(reads(), holds(a="1"), {"a": digest("1"), WILDCARD: ""}, id="all of it"),
        pytest.param(reads("a", optional=True), holds(), {"a": ABSENT}, id="a key that is not there"),
        pytest.param(reads("a", optional=True), Missing(), None, id="without an optional object"),
        pytest.param(reads("a"), Missing(), {"a": "old"}, id="new pods wait for a required one"),
        pytest.param(reads("a"), Unknown(), {"a": "old"}, id="what can't be told"),
    ],
)
def test_what_they_read(c: Consumed, state: ConfigState, read: AppliedKeys) -> None:
    started = started_with(RECORDED, [c], {APP: state}, "k")
    assert started == Applied("t2", "k", {**OLD, "configmap/app": read})


def test_what_they_consume_for_the_first_time() -> None:
    c = reads("x", name="new")
    started = started_with(RECORDED, [c], {c.config: holds(x="1")}, "k")
    assert started is not None
    assert started.configs["configmap/new"] == {"x": digest("1")}


def test_nothing_is_recorded_yet() -> None:
    assert started_with(web(None), [reads("a")], {APP: holds(a="1")}, "k") is None
    assert read_before_its_start(web(None), reads("a"), holds(a="1"), "k") is None


def test_another_digest_key_says_nothing_of_secrets() -> None:
    started = started_with(RECORDED, [reads("a")], {APP: holds(a="1")}, "other")
    assert started == Applied("t2", "other", {"configmap/app": {"a": digest("1")}})


def test_one_object_that_had_another_content() -> None:
    """The rest stays as it was found at the start."""
    started = started_with(RECORDED, [reads("a")], {APP: holds(a="1")}, "k")
    later = replace(RECORDED, started_with=started)
    expected: dict[str, AppliedKeys] = {**OLD, "configmap/app": {"a": digest("2")}}
    assert read_before_its_start(later, reads("a"), holds(a="2"), "k") == Applied("t2", "k", expected)
    # Where the start is recorded already, the record is what is corrected.
    assert read_before_its_start(RECORDED, reads("a"), holds(a="2"), "k") == Applied("t1", "k", expected)
