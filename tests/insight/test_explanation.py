"""An explanation says what the decision says, and no more than could be read."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from reroll.cli.explanation import show
from reroll.core.decide import decide
from reroll.core.decision import Decision, Kind, Situation
from reroll.core.digests import config_map_digests
from reroll.core.policy import Pause, Policy
from reroll.core.proof import NOT_PERMITTED, PodAges
from reroll.core.records import (
    Applied,
    AppliedKeys,
    ConfigId,
    ConfigRecord,
    ConfigState,
    Consumed,
    Missing,
    Reference,
    Unknown,
)
from reroll.insight.explanation import Explanation, tell
from reroll.settings import Settings
from tests.records import deployment

APP = ConfigId("configmap", "shop", "app")
DB = ConfigId("secret", "shop", "db")
FOLLOW = Policy(configmaps=True, secrets=True)


def consumed(config: ConfigId, *keys: str, optional: bool = False, needs_match: bool = False) -> Consumed:
    reference = Reference(config.kind, config.name, "env", "container web: env", keys, optional)
    return Consumed(config, keys, (reference,), needs_match=needs_match)


def there(data: Mapping[str, str], **fields: Any) -> ConfigRecord:
    return ConfigRecord(*config_map_digests(data, None), 1_000.0, 0.0, 7, **fields)


NOW = there({"level": "info"})


YOUNG = PodAges(2, 2_000.0)


def situation(
    states: Mapping[ConfigId, ConfigState],
    *,
    policy: Policy = FOLLOW,
    applied: dict[str, AppliedKeys] | None = None,
    uses: tuple[Consumed, ...] = (consumed(APP, "level"),),
    pods: PodAges = YOUNG,
    **fields: Any,
) -> Situation:
    """The Deployment shop/web, whose pods are as a rule younger than its configuration. `applied`: what is recorded;
    None: nothing, it was never seen."""
    record = Applied(template="t", key_id="k", configs=applied) if applied is not None else None
    references = tuple(ref for c in uses for ref in c.references)
    workload = deployment(**{"applied": record, "replicas": 2, "references": references} | fields)
    return Situation(
        workload=workload,
        policy=policy,
        consumed=uses,
        states=states,
        key_id="k",
        now=2_000_000_000.0,
        pods=pods,
    )


def explained(s: Situation, *, settings: Settings | None = None, **more: Any) -> Explanation:
    return tell(s, decide(s), (), settings or Settings(), **more)


def recorded(s: Situation) -> dict[str, AppliedKeys]:
    """What is recorded once this is adopted."""
    decision = decide(s)
    assert decision.kind is Kind.ADOPT
    assert decision.applied is not None
    return decision.applied.configs


def text(found: Explanation) -> str:
    out = io.StringIO()
    show(found, Console(file=out, width=120))
    return out.getvalue()


def verdict(found: Explanation) -> str:
    return text(found).splitlines()[0].partition("  ")[2]


ADOPTED = recorded(situation({APP: NOW}))
CHANGED = replace(there({"level": "debug"}), stamp=3_000.0)


class TestStates:
    def test_nothing_changed(self) -> None:
        found = explained(situation({APP: NOW}, applied=ADOPTED))
        assert [(c.state, c.followed, c.stale, c.note) for c in found.configs] == [("same", True, False, "")]
        assert (verdict(found), found.runs) == ("up to date", "current")

    @pytest.mark.parametrize(
        ("pods", "runs", "words"),
        [
            (NOT_PERMITTED, "", "recorded"),
            (PodAges(2, 500.0, (500.0, 2_000.0)), "older", "recorded, with older pods"),
        ],
    )
    def test_pods_that_are_older_or_not_known_are_not_said_to_be_current(
        self, pods: PodAges, runs: str, words: str
    ) -> None:
        found = explained(situation({APP: NOW}, applied=ADOPTED, pods=pods))
        assert (found.decision, found.runs, found.stale) == ("skip", runs, False)
        assert verdict(found) == words

    def test_pods_that_are_left_behind_are_told_first(self) -> None:
        s = situation({APP: NOW}, applied=ADOPTED)
        assert s.workload.applied is not None
        left = replace(s.workload.applied, since=1_500, left=1, of=2, by="kubectl")
        pods = PodAges(2, 1_000.0, (1_000.0, 2_000.0))
        found = explained(replace(s, workload=replace(s.workload, applied=left), pods=pods))
        assert (found.decision, found.runs, found.left) == ("skip", "older", 1)
        assert verdict(found) == "some of its pods run older configuration, and are left as they are"
        assert "1 of 2 pods" in text(found)

    def test_changed(self) -> None:
        found = explained(situation({APP: CHANGED}, applied=ADOPTED))
        assert [(c.state, c.stale) for c in found.configs] == [("stale", True)]
        assert (found.decision, found.stale) == ("roll", True)
        assert verdict(found) == "stale: it would be rolled now"

    def test_what_changed_is_not_stale_where_the_decision_only_records_it(self) -> None:
        """No pod runs: pods started later read the new content."""
        found = explained(situation({APP: CHANGED}, applied=ADOPTED, replicas=0))
        assert (found.decision, found.stale) == ("record", False)
        assert [(c.state, c.stale) for c in found.configs] == [("not recorded yet", False)]

    def test_adoption(self) -> None:
        uses = (consumed(APP, "level"), consumed(DB, "password"))
        found = explained(situation({APP: NOW, DB: Missing()}, uses=uses))
        assert [c.state for c in found.configs] == ["not recorded yet", "does not exist"]
        assert verdict(found) == "not seen yet"

    def test_deleted(self) -> None:
        s = situation({APP: Missing()}, applied=ADOPTED, uses=(consumed(APP, "level", optional=True),))
        found = explained(s)
        assert [c.state for c in found.configs] == ["does not exist"]
        assert "rolls nothing" in found.configs[0].note
        rolls = explained(
            situation({APP: Missing()}, applied=ADOPTED, policy=Policy(configmaps=True, on_delete=True))
        )
        assert [(c.state, c.note) for c in rolls.configs] == [("stale", "configmap/app was deleted")]
        assert "rolls nothing" not in text(rolls)

    def test_what_blocks_is_said_beside_what_is_stale(self) -> None:
        """Another key is needed, and gone."""
        s = situation({APP: there({"other": "1"})}, applied=ADOPTED)
        found = explained(s)
        assert "has no key level" in found.configs[0].note

    def test_unreadable(self) -> None:
        """It is not known to be current, so it is not said to be."""
        found = explained(situation({APP: Unknown("not permitted")}, applied=ADOPTED))
        assert [c.state for c in found.configs] == ["can't be read"]
        assert "not permitted" in found.configs[0].note
        assert verdict(found) == "up to date, as far as it can be read"

    @pytest.mark.parametrize(
        ("state", "unselected", "note"),
        [
            (there({"level": "x"}, ignored=True), (), "its own annotations exclude it"),
            (there({"level": "x"}, ignored=True), (APP,), "its labels don't match --config-selector"),
            (
                Missing(),
                (),
                "whether it may be followed stands on the object itself, which can't be seen",
            ),
        ],
    )
    def test_what_does_not_count(
        self, state: ConfigState, unselected: tuple[ConfigId, ...], note: str
    ) -> None:
        uses = (consumed(APP, "level", needs_match=True),)
        found = explained(situation({APP: state}, applied={}, uses=uses), unselected=unselected)
        assert [(c.state, c.followed, c.note) for c in found.configs] == [("not followed", False, note)]
        assert verdict(found) == "nothing is to be done"

    def test_nothing_was_compared(self) -> None:
        """Its policy is refused: whether its pods are stale is not said, because nobody looked."""
        policy = Policy(configmaps=True, refused="reroll.dev/mode: no such mode")
        found = explained(situation({APP: CHANGED}, applied=ADOPTED, policy=policy))
        assert (found.decision, [c.state for c in found.configs]) == ("refuse", ["not compared"])
        assert verdict(found) == "not acted on"

    def test_one_that_is_being_deleted_is_not_said_to_be_up_to_date(self) -> None:
        found = explained(situation({APP: CHANGED}, applied=ADOPTED, deleting=True))
        assert (found.decision, verdict(found)) == ("skip", "nothing is to be done")


class TestPauses:
    def test_one_that_waits_to_be_resumed_is_not_stale(self) -> None:
        pause = Pause(period=60.0, annotation="x", since=1_999_999_990.0)
        policy = Policy(configmaps=True, pause=pause)
        found = explained(situation({APP: NOW}, applied=ADOPTED, policy=policy, paused=True))
        assert (found.decision, found.stale) == ("wait", False)
        assert verdict(found) == "it waits"
        assert "stale" not in text(found)

    def test_one_that_would_be_resumed(self) -> None:
        pause = Pause(period=60.0, annotation="x", since=1_000.0)
        policy = Policy(configmaps=True, pause=pause)
        found = explained(situation({APP: NOW}, applied=ADOPTED, policy=policy, paused=True))
        assert (found.decision, verdict(found)) == ("resume", "it would be resumed now")
        assert [c.state for c in found.configs] == ["same"]


class TestSettings:
    def test_what_is_left_out_is_not_told_to_be_annotated(self) -> None:
        s = situation({}, uses=(), references=consumed(APP, "level").references)
        found = tell(s, Decision(Kind.SKIP, "left alone"), (), Settings(), outside="left alone")
        assert (found.enabled, found.outside, found.reason) == (False, "left alone", "left alone")
        assert verdict(found) == "left out by the controller's settings"
        assert "reroll.dev/auto" not in text(found)
        assert [c.note for c in found.configs] == ["the workload is left out"]

    def test_a_kind_that_is_not_followed(self) -> None:
        s = situation({}, uses=(), policy=Policy(secrets=True), references=consumed(APP, "level").references)
        found = explained(s, settings=Settings(config_kinds="secrets"))
        assert [c.note for c in found.configs] == ["its kind is not followed (--config-kinds)"]
        assert [c.note for c in explained(s).configs] == ["the policy does not follow it"]

    def test_where_a_value_comes_from(self) -> None:
        s = situation({APP: NOW}, applied=ADOPTED, policy=Policy(on_delete=True, settle=3.0))
        origins = {
            setting.name: (setting.value, setting.origin)
            for setting in explained(s, settings=Settings(on_delete=True)).policy
        }
        assert origins["on-delete"] == ("true", "controller setting --on-delete")
        assert origins["on-create"] == ("auto", "default")
        assert origins["settle"] == ("3s (at most 10s)", "default")
