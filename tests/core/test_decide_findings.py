"""A decision carries what was compared for it, so that nobody who explains it compares again."""

from __future__ import annotations

import pytest

from reroll.core.decide import decide
from reroll.core.decision import Decision, Kind, Situation
from reroll.core.digests import config_map_digests
from reroll.core.policy import Pause, Policy
from reroll.core.records import Applied, AppliedKeys, ConfigId, ConfigRecord, ConfigState, Consumed, Missing
from tests.records import deployment

APP = ConfigId("configmap", "shop", "app")
FOLLOW = Policy(configmaps=True)


def ask(
    state: ConfigState,
    policy: Policy = FOLLOW,
    applied: dict[str, AppliedKeys] | None = None,
    **fields: object,
) -> Decision:
    if applied is None:
        applied = {"configmap/app": {"level": "A" * 16}}
    workload = deployment(
        applied=Applied(template="t", key_id="k", configs=applied), **{"replicas": 1} | fields
    )
    return decide(
        Situation(workload, policy, (Consumed(APP, ("level",), ()),), {APP: state}, "k", now=2_000_000_000.0)
    )


def there(level: str) -> ConfigRecord:
    return ConfigRecord(*config_map_digests({"level": level}, None), 1_000.0, 0.0, 7)


@pytest.mark.parametrize(
    ("decision", "kind"),
    [
        (ask(there("new")), Kind.ROLL),
        (ask(there("new"), replicas=0), Kind.RECORD),
        (ask(Missing(), Policy(configmaps=True, on_delete=True)), Kind.ROLL),
        (
            ask(there("new"), Policy(configmaps=True, pause=Pause(60.0, "x", since=1.0)), replicas=0),
            Kind.RECORD,
        ),
    ],
)
def test_what_is_stale_is_among_them(decision: Decision, kind: Kind) -> None:
    assert decision.kind is kind
    [found] = decision.findings
    assert found.short == "configmap/app"
    assert (found.stale,) == decision.changes


def test_what_is_not_stale_is_among_them() -> None:
    current = ask(there("x"), applied={}).findings[0].record
    decision = ask(there("x"), applied={"configmap/app": current})
    assert decision.kind is Kind.SKIP
    assert [(f.short, f.stale, f.write) for f in decision.findings] == [("configmap/app", None, False)]


def test_they_outlive_the_end_of_a_pause() -> None:
    pause = Pause(60.0, "x", since=1.0)
    current = ask(there("x"), applied={}).findings[0].record
    decision = ask(there("x"), Policy(configmaps=True, pause=pause), {"configmap/app": current}, paused=True)
    assert decision.kind is Kind.RESUME
    assert [f.short for f in decision.findings] == ["configmap/app"]


@pytest.mark.parametrize(
    "decision",
    [
        ask(there("new"), deleting=True),
        ask(there("new"), Policy()),
        ask(there("new"), Policy(configmaps=True, refused="why")),
    ],
)
def test_there_are_none_where_nothing_was_compared(decision: Decision) -> None:
    assert decision.findings == ()
