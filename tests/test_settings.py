"""Settings come from flags, the environment and a file, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest

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
