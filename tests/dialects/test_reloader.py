"""Reloader's annotations, and all dialects together."""

from __future__ import annotations

import pytest

from reroll.core.policy import ConfigFlags, Layer, Pause, Policy, PolicyDefaults
from reroll.core.records import ConfigId
from reroll.dialects import ALL, Dialects
from reroll.dialects.reloader import Keys, reloader_layer
from tests.records import deployment

AUTO = "reloader.stakater.com/auto"
SEARCH = "reloader.stakater.com/search"
CM_AUTO = "configmap.reloader.stakater.com/auto"
SECRET_AUTO = "secret.reloader.stakater.com/auto"
CM_RELOAD = "configmap.reloader.stakater.com/reload"
SECRET_RELOAD = "secret.reloader.stakater.com/reload"
CM_EXCLUDE = "configmaps.exclude.reloader.stakater.com/reload"
SECRET_EXCLUDE = "secrets.exclude.reloader.stakater.com/reload"


def layer(annotations: dict[str, str], template: dict[str, str] | None = None) -> Layer:
    found = reloader_layer(annotations, template or {}, "the workload")
    assert found is not None
    return found


def policy(
    annotations: dict[str, str],
    template: dict[str, str] | None = None,
    namespace: dict[str, str] | None = None,
    defaults: PolicyDefaults | None = None,
    *,
    reloader: bool = True,
) -> Policy:
    workload = deployment(annotations=annotations, template_annotations=template or {})
    dialects = ALL if reloader else Dialects(reloader=None)
    return dialects.resolve_policy(workload, namespace or {}, defaults or PolicyDefaults())


def follows(found: Layer | Policy, kind: str, name: str) -> bool:
    config = ConfigId("secret" if kind == "secret" else "configmap", "shop", name)
    return any(item.matches(config, "shop") for item in found.follow or ())


def test_no_annotation_of_reloader_is_no_layer() -> None:
    assert reloader_layer({"reroll.dev/auto": "true"}, {"a": "b"}, "the workload") is None


@pytest.mark.parametrize("value", ["1", "t", "T", "TRUE", "true", "True"])
def test_auto_is_read_like_go_reads_bools(value: str) -> None:
    found = layer({AUTO: value})
    assert (found.configmaps, found.secrets, found.problems) == (True, True, ())


@pytest.mark.parametrize("value", ["yes", "tRUE", " true"])
def test_a_bad_auto_is_false_and_told(value: str) -> None:
    found = layer({AUTO: value})
    assert (found.configmaps, found.secrets) == (False, False)
    assert [problem.annotation for problem in found.problems] == [AUTO]


@pytest.mark.parametrize(
    ("annotations", "configmaps", "secrets"),
    [
        ({AUTO: "false"}, False, False),
        ({AUTO: ""}, None, None),
        ({CM_AUTO: "true"}, True, None),
        ({SECRET_AUTO: "true"}, None, True),
        ({AUTO: "false", CM_AUTO: "true"}, True, False),
        ({AUTO: "true", CM_AUTO: "false"}, True, True),
        ({CM_AUTO: "false"}, False, None),
        ({CM_RELOAD: "app"}, None, None),
    ],
)
def test_typed_auto(annotations: dict[str, str], configmaps: bool | None, secrets: bool | None) -> None:
    found = layer(annotations)
    assert (found.configmaps, found.secrets) == (configmaps, secrets)


def test_auto_all_holds_only_where_auto_is_empty() -> None:
    everything = PolicyDefaults(auto_all=True)
    assert policy({CM_RELOAD: "app"}, defaults=everything).secrets
    assert not policy({AUTO: "false"}, defaults=everything).enabled
    typed = policy({CM_AUTO: "false"}, defaults=everything)
    assert (typed.configmaps, typed.secrets) == (False, True)


def test_auto_false_does_not_stop_a_named_or_searched_object() -> None:
    found = policy({AUTO: "false", CM_RELOAD: "app", SEARCH: "true"})
    assert (found.configmaps, found.search, follows(found, "configmap", "app")) == (False, True, True)


@pytest.mark.parametrize(
    ("item", "yes", "no"),
    [
        ("app", ["app"], ["app-2"]),
        ("app-.*", ["app-2"], ["app"]),
        ("a|b", ["a", "b"], ["a-anything", "some-b"]),
        ("www.example.com", ["www.example.com", "wwwxexample.com"], ["www"]),
        ("^app$", ["app"], ["app2"]),
        (" app , db,", ["app", "db"], ["", "app "]),
    ],
)
def test_named_items_are_expressions_over_whole_names(item: str, yes: list[str], no: list[str]) -> None:
    found = layer({CM_RELOAD: item})
    assert [name for name in yes + no if follows(found, "configmap", name)] == yes
    assert not any(follows(found, "secret", name) for name in yes)


def test_plain_names_are_exact() -> None:
    found = layer({SECRET_RELOAD: "app-1,app.1"})
    assert [(item.pattern, item.syntax) for item in found.follow or ()] == [
        ("app-1", "exact"),
        ("app.1", "regex"),
    ]


def test_a_bad_expression_is_told_and_the_others_hold() -> None:
    found = layer({CM_RELOAD: "bad[,app-config,a{1,3}"})
    assert follows(found, "configmap", "app-config")
    assert [problem.value for problem in found.problems] == ["bad[", "a{1", "3}"]


def test_a_type_without_annotations_on_the_workload_reads_the_pod_template() -> None:
    template = {AUTO: "true", CM_RELOAD: "t-cm", SECRET_RELOAD: "t-secret", SEARCH: "true"}
    assert layer({}, template).origins == {
        "configmaps": f"annotation {AUTO} of the pod template of the workload",
        "secrets": f"annotation {AUTO} of the pod template of the workload",
        "secretproviderclasses": f"annotation {AUTO} of the pod template of the workload",
        "search": f"annotation {SEARCH} of the pod template of the workload",
        "follow": (
            f"annotation {CM_RELOAD} of the pod template of the workload and "
            f"annotation {SECRET_RELOAD} of the pod template of the workload"
        ),
    }
    # One annotation for ConfigMaps hides the template's from ConfigMaps, and not from Secrets.
    found = layer({CM_RELOAD: "own"}, template)
    assert (found.configmaps, found.secrets, found.search, found.search_kinds) == (
        None,
        True,
        True,
        ("secret", "secretproviderclass"),
    )
    assert follows(found, "configmap", "own")
    assert follows(found, "secret", "t-secret")
    assert not follows(found, "configmap", "t-cm")
    # One for both hides it from both, whatever its value.
    for key in (AUTO, SEARCH):
        found = layer({key: ""}, template)
        assert (found.configmaps, found.secrets, found.follow) == (None, None, None)


def test_search_takes_exactly_true() -> None:
    assert layer({SEARCH: "true"}).search is True
    assert layer({SEARCH: "True"}).search is False
    assert not policy({SEARCH: "false"}, namespace={"reroll.dev/search": "true"}).search
    assert policy({AUTO: "true"}, namespace={"reroll.dev/search": "true"}).search


def test_exclude_is_of_plain_names_on_the_workload_only() -> None:
    found = policy({CM_EXCLUDE: "a, b.c", SECRET_EXCLUDE: "a-.*", AUTO: "true"}, {SECRET_EXCLUDE: "d"})
    assert [str(item) for item in found.ignore] == ["configmap/a", "configmap/b.c"]
    assert [problem.value for problem in found.problems] == ["a-.*"]
    assert found.refused == ""
    # It does not keep the other annotations from being read from the pod template.
    assert policy({CM_EXCLUDE: "a"}, {AUTO: "true"}).configmaps


def test_native_wins_setting_by_setting() -> None:
    found = policy(
        {"reroll.dev/auto": "secrets", AUTO: "true", CM_RELOAD: "app", SEARCH: "true", CM_EXCLUDE: "x"},
        namespace={"reroll.dev/follow": "other", "reroll.dev/settle": "2s", "reroll.dev/ignore": "y"},
    )
    assert (found.configmaps, found.secrets, found.search, found.settle) == (False, True, True, 2.0)
    assert [str(item) for item in found.follow] == ["configmap/app"]
    assert [str(item) for item in found.ignore] == ["configmap/x", "y"]
    native = policy({"reroll.dev/follow": "mine", CM_RELOAD: "app"})
    assert [str(item) for item in native.follow] == ["mine"]


def test_reloader_comes_before_the_namespace() -> None:
    assert not policy({AUTO: "false"}, namespace={"reroll.dev/auto": "true"}).enabled
    assert policy({AUTO: "false"}, namespace={"reroll.dev/auto": "true"}, reloader=False).enabled


def test_native_settings_on_the_pod_template_are_told() -> None:
    found = policy({}, {"reroll.dev/auto": "true", "reroll.dev/config": "digest"})
    assert not found.enabled
    assert [problem.annotation for problem in found.problems] == ["reroll.dev/auto"]


def test_flags_of_config_objects_of_all_dialects() -> None:
    theirs = {"reloader.stakater.com/ignore": "true", "reloader.stakater.com/match": "true"}
    assert ALL.config_flags(theirs) == ConfigFlags(ignored=True, matchable=True)
    assert Dialects(reloader=None).config_flags(theirs) == ConfigFlags()
    assert ALL.config_flags({"reloader.stakater.com/ignore": "True"}) == ConfigFlags()
    own = {"reroll.dev/share-with": "a", "reroll.dev/match": "true"}
    assert ALL.config_flags(own) == (False, True, "a")


def test_only_what_a_dialect_reads_is_relevant() -> None:
    kept = {"reroll.dev/auto": "true", "reroll.dev/typo": "x", AUTO: "true", CM_EXCLUDE: "a"}
    dropped = {
        "reroll.dev/applied": "{}",
        "reroll.dev/config": "d",
        "kubectl.kubernetes.io/last-applied": "{}",
    }
    assert ALL.relevant(kept | dropped) == kept


class TestPausePeriod:
    PERIOD = "deployment.reloader.stakater.com/pause-period"
    AT = "deployment.reloader.stakater.com/paused-at"

    def test_on_the_workload_or_else_on_the_pod_template(self) -> None:
        for own, template in (
            ({AUTO: "true", self.PERIOD: "5m"}, {}),
            ({AUTO: "true"}, {self.PERIOD: "5m"}),
            ({self.PERIOD: "5m"}, {self.PERIOD: "1h"}),
        ):
            assert layer(own, template).pause == Pause(300.0, self.AT)

    def test_since_when_is_read_back(self) -> None:
        found = layer({self.PERIOD: "5m", self.AT: "1970-01-01T00:01:40Z"})
        assert found.pause == Pause(300.0, self.AT, 100.0)

    def test_a_time_that_can_not_be_read_is_long_ago(self) -> None:
        assert layer({self.PERIOD: "5m", self.AT: "yesterday"}).pause == Pause(300.0, self.AT, 0.0)

    def test_what_is_left_of_it_is_seen_without_a_period(self) -> None:
        assert layer({self.AT: "1970-01-01T00:01:40Z"}).pause == Pause(None, self.AT, 100.0)

    @pytest.mark.parametrize("value", ["soon", "-5m", "0", ""])
    def test_a_bad_period_is_told_and_pauses_nothing(self, value: str) -> None:
        found = layer({AUTO: "true", self.PERIOD: value})
        assert found.pause is None
        assert [problem.annotation for problem in found.problems] == [self.PERIOD]
        assert found.configmaps

    def test_only_deployments_can_be_paused(self) -> None:
        found = reloader_layer({self.PERIOD: "5m"}, {}, "the workload", kind="StatefulSet")
        assert found is not None
        assert found.pause is None


class TestRolloutStrategy:
    STRATEGY = "reloader.stakater.com/rollout-strategy"

    def mode(self, value: str, kind: str = "Rollout") -> tuple[str | None, int]:
        found = reloader_layer({AUTO: "true", self.STRATEGY: value}, {}, "the workload", kind=kind)
        assert found is not None
        return found.mode, len(found.problems)

    def test_a_rollout_of_argo_can_be_restarted(self) -> None:
        assert self.mode("restart") == ("restart", 0)
        assert self.mode("rollout") == ("rollout", 0)
        assert self.mode("recreate") == ("rollout", 1)

    def test_other_kinds_take_no_notice(self) -> None:
        assert self.mode("restart", "Deployment") == (None, 0)


class TestSecretProviderClasses:
    def test_they_are_a_type_of_their_own(self) -> None:
        found = layer({"secretproviderclass.reloader.stakater.com/auto": "true"})
        assert (found.configmaps, found.secrets, found.secretproviderclasses) == (None, None, True)

    def test_named_and_excluded(self) -> None:
        found = layer(
            {
                "secretproviderclass.reloader.stakater.com/reload": "vault,.*-db",
                "secretproviderclasses.exclude.reloader.stakater.com/reload": "old-db",
            }
        )
        assert [str(item) for item in found.follow or ()] == [
            "secretproviderclass/vault",
            "secretproviderclass/regex(.*-db)",
        ]
        assert [str(item) for item in found.ignore] == ["secretproviderclass/old-db"]


def test_excluded_on_the_pod_template_where_the_workload_excludes_nothing() -> None:
    assert [str(item) for item in layer({AUTO: "true"}, {CM_EXCLUDE: "a"}).ignore] == ["configmap/a"]
    assert [str(item) for item in layer({CM_EXCLUDE: "b"}, {CM_EXCLUDE: "a"}).ignore] == ["configmap/b"]


def test_annotations_that_were_given_another_name() -> None:
    keys = Keys(
        configmap="acme.io/cm",
        auto="acme.io/auto",
        match="acme.io/match",
        pause_period="acme.io/pause",
        paused_at="acme.io/paused",
    )
    dialects = Dialects(reloader=keys)
    theirs = {"acme.io/cm": "app", "acme.io/auto": "false", "acme.io/pause": "1m", "other.io/x": "1"}
    assert dialects.relevant(theirs) == {key: theirs[key] for key in theirs if key != "other.io/x"}
    found = reloader_layer(theirs, {}, "the workload", keys=keys)
    assert found is not None
    assert (found.configmaps, [str(item) for item in found.follow or ()]) == (False, ["configmap/app"])
    assert found.pause == Pause(60.0, "acme.io/paused")
    assert reloader_layer({AUTO: "true", CM_RELOAD: "app"}, {}, "the workload", keys=keys) == Layer()
    assert dialects.config_flags({"acme.io/match": "true"}).matchable
    assert not dialects.config_flags({"reloader.stakater.com/match": "true"}).matchable


def test_marks_are_no_annotations() -> None:
    assert (
        ALL.relevant({"reloader.stakater.com/last-reloaded-from": "{}", "wave.pusher.com/config-hash": "x"})
        == {}
    )
