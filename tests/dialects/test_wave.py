"""wave's annotations."""

from __future__ import annotations

import pytest

from reroll.dialects.wave import EXTRA, UPDATE, wave_layer

CONFIG_MAPS, SECRETS = EXTRA["configmap"], EXTRA["secret"]


def test_no_annotation_of_wave_is_no_layer() -> None:
    assert wave_layer({"reroll.dev/auto": "true"}, "the workload") is None


def test_it_follows_all_that_the_template_references() -> None:
    found = wave_layer({UPDATE: "true"}, "the workload")
    assert found is not None
    assert (found.configmaps, found.secrets, found.follow, found.problems) == (True, True, None, ())
    assert found.origins["configmaps"] == f"annotation {UPDATE} of the workload"


def test_further_objects_are_named_with_or_without_a_namespace() -> None:
    found = wave_layer(
        {UPDATE: "true", CONFIG_MAPS: "a, base/b,", SECRETS: "base/c,No/Name,x/y/z"}, "the workload"
    )
    assert found is not None
    assert [str(item) for item in found.follow or ()] == ["configmap/a", "configmap/base/b", "secret/base/c"]
    assert [problem.value for problem in found.problems] == ["No/Name", "x/y/z"]


@pytest.mark.parametrize("value", ["false", "True", "yes", ""])
def test_only_true_is_true(value: str) -> None:
    found = wave_layer({UPDATE: value}, "the workload")
    if value == "false":
        assert found is None
    else:
        assert found is not None
        assert found.configmaps is None
        assert [problem.annotation for problem in found.problems] == [UPDATE]


def test_extras_alone_do_nothing_and_that_is_told() -> None:
    found = wave_layer({CONFIG_MAPS: "a"}, "the workload")
    assert found is not None
    assert (found.configmaps, found.follow) == (None, None)
    assert [problem.annotation for problem in found.problems] == [CONFIG_MAPS]
