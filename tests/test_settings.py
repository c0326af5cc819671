"""Settings come from flags, the environment and a file, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest

from reroll.core.kinds import DEPLOYMENT, KINDS
from reroll.core.marks import NATIVE
from reroll.core.policy import PolicyDefaults
from reroll.core.records import WorkloadId
from reroll.dialects import Dialects
from reroll.dialects.marks import STYLES
from reroll.settings import Settings, SettingsError, load, unknown_variables


def test_defaults() -> None:
    assert load({}, environ={}) == Settings()


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "reroll.toml"
    file.write_text('settle = "3s"\nactors = 5\nlisten = ""\n')
    settings = load(
        {"settle": "1s", "context": None}, file=file, environ={"REROLL_SETTLE": "2s", "REROLL_ACTORS": "7"}
    )
    assert (settings.settle, settings.actors, settings.listen) == (1.0, 7, "")


@pytest.mark.parametrize(
    ("environ", "field", "value"),
    [
        ({"REROLL_NAMESPACES": "a, b,"}, "namespaces", ("a", "b")),
        ({"REROLL_NAMESPACE": "a"}, "namespaces", ("a",)),
        ({"REROLL_AUTO_ALL": "true"}, "auto_all", True),
        ({"REROLL_SETTLE": "500ms"}, "settle", 0.5),
        ({"REROLL_SETTLE": "0"}, "settle", 0.0),
        ({"REROLL_MAX_IN_FLIGHT": "8"}, "max_in_flight", 8),
    ],
)
def test_the_environment(environ: dict[str, str], field: str, value: object) -> None:
    assert getattr(load({}, environ=environ), field) == value


def test_a_yaml_file_may_write_names_with_dashes(tmp_path: Path) -> None:
    file = tmp_path / "reroll.yaml"
    file.write_text("namespace-selector: team=web\nsettle-max: 1m\n")
    settings = load({}, file=file, environ={})
    assert (settings.namespace_selector, settings.settle_max) == ("team=web", 60.0)


@pytest.mark.parametrize(
    ("flags", "environ", "message"),
    [
        ({"settle": "soon"}, {}, "settle: 'soon' is not a duration"),
        ({}, {"REROLL_ACTORS": "many"}, "actors"),
        ({"actors": 0}, {}, "actors"),
        ({"log_level": "loud"}, {}, "log_level"),
        ({"settle": -1.0}, {}, "settle"),
        ({"namespaces": ("a",), "namespace_selector": "b"}, {}, "exclude each other"),
        (
            {"namespace_selector": "a b"},
            {},
            "settings: namespace_selector: label selector: 'a b' is not understood",
        ),
        ({}, {"REROLL_WORKLOAD_SELECTOR": "=x"}, "settings: workload_selector: label selector: '=x'"),
        ({"config_selector": "a in x"}, {}, "settings: config_selector: label selector: 'a in x'"),
        ({"kinds": "pods"}, {}, "settings: kinds: 'pods' is none of"),
        ({"custom_kinds": "clonesets"}, {}, "settings: custom_kinds: 'clonesets' can't be read"),
        ({"config_kinds": "pods"}, {}, "settings: config_kinds: 'pods' is none of"),
    ],
)
def test_a_bad_value_names_its_setting(
    flags: dict[str, object], environ: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        load(flags, environ=environ)


@pytest.mark.parametrize("text", ["- a\n", "settle: [", "nonsense: 1\n"])
def test_a_bad_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "reroll.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=str(file)):
        load({}, file=file, environ={})


def test_variables_that_set_nothing_are_told_with_the_one_that_was_meant() -> None:
    environ = {
        "REROLL_SETLE": "1s",
        "REROLL_SERVICE_HOST": "10.0.0.1",
        "REROLL_PORT": "x",
        "REROLL_CONFIG": "f",
    }
    assert unknown_variables({**environ, "REROLL_LISTEN": "", "PATH": ""}) == {
        "REROLL_SETLE": "REROLL_SETTLE"
    }


# --- what follows from them ----------------------------------------------------------------------------


def test_by_default_the_policy_is_the_default_one() -> None:
    assert Settings().policy_defaults() == PolicyDefaults()


def test_the_defaults_of_policies_are_those_that_are_set() -> None:
    settings = Settings(
        auto_all=True,
        settle=2.0,
        settle_max=20.0,
        cross_namespace=True,
        cron_jobs="instantiate",
        finished_jobs=True,
        on_create="always",
        on_delete=True,
        config_kinds="secrets,configmaps",
    )
    assert settings.policy_defaults() == PolicyDefaults(
        auto_all=True,
        settle=2.0,
        settle_max=20.0,
        allow_cross_namespace=True,
        instantiate=True,
        finished_jobs=True,
        on_create=True,
        on_delete=True,
        kinds=("configmap", "secret"),
    )
    assert Settings(on_create="never").policy_defaults().on_create is False
    assert Settings(on_create="auto").policy_defaults().on_create is None


@pytest.mark.parametrize(
    ("settings", "reloader_runs", "understood"),
    [
        (Settings(), False, True),
        (Settings(), True, False),
        (Settings(beside_reloader=True), True, True),
        (Settings(reloader_annotations=False), False, False),
        (Settings(reloader_annotations=False, beside_reloader=True), True, False),
    ],
)
def test_reloaders_annotations_are_left_to_it_where_it_runs(
    settings: Settings, reloader_runs: bool, understood: bool
) -> None:
    found = settings.dialects(reloader_runs=reloader_runs)
    assert found == (Dialects() if understood else Dialects(reloader=None))


def test_marks() -> None:
    assert Settings().mark_style() is NATIVE
    assert Settings(marks="wave").mark_style() is STYLES["wave"]


def test_kinds() -> None:
    assert Settings().followed_kinds() == KINDS
    assert Settings(kinds="deployments").followed_kinds() == {"Deployment": DEPLOYMENT}
    custom = Settings(kinds="", custom_kinds="clonesets.v1alpha1.apps.kruise.io")
    assert custom.followed_kinds().keys() == {"clonesets.apps.kruise.io"}


def test_a_bad_selector_names_its_setting_also_where_it_was_not_loaded() -> None:
    with pytest.raises(SettingsError, match="settings: config_selector: label selector: 'a b'"):
        Settings(config_selector="a b").scope()


WEB = WorkloadId("Deployment", "shop", "web")


@pytest.mark.parametrize(
    ("settings", "labels", "namespace_labels", "why"),
    [
        (Settings(), {}, {}, ""),
        (Settings(kinds="daemonsets"), {}, {}, "--kinds"),
        (Settings(workload_selector="tier=front"), {"tier": "back"}, {}, "--workload-selector"),
        (Settings(workload_selector="tier=front"), {"tier": "front"}, {}, ""),
        (Settings(namespaces=("billing",)), {}, {}, "(--namespace)"),
        (Settings(namespaces=("billing", "shop")), {}, {}, ""),
        (Settings(namespaces_to_ignore=("shop",)), {}, {}, "--namespaces-to-ignore"),
        (Settings(namespaces_to_ignore=("billing",)), {}, {}, ""),
        (Settings(namespace_selector="team=a"), {"team": "a"}, {"team": "b"}, "--namespace-selector"),
        (Settings(namespace_selector="team=a"), {}, {"team": "a"}, ""),
    ],
)
def test_what_is_left_out_is_told_with_the_setting_that_does_it(
    settings: Settings, labels: dict[str, str], namespace_labels: dict[str, str], why: str
) -> None:
    scope = settings.scope()
    found = scope.outside(WEB, labels, namespace_labels)
    assert (why in found) if why else found == ""
    of_the_namespace = why and why not in ("--kinds", "--workload-selector")
    assert scope.covers("shop", namespace_labels) is not bool(of_the_namespace)
