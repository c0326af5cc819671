"""The table of kinds, and the two settings that choose from it and add to it."""

from __future__ import annotations

import pytest

from reroll.core.kinds import CRON_JOB, DEPLOYMENT, KINDS, STATEFUL_SET, find_kind, followed_kinds
from reroll.settings import Settings


def test_the_default_follows_every_kind_that_is_known() -> None:
    assert followed_kinds(Settings().kinds) == KINDS


def test_kinds_are_chosen_by_their_plurals() -> None:
    assert list(followed_kinds(" cronjobs , deployments,").values()) == [CRON_JOB, DEPLOYMENT]
    assert followed_kinds("") == {}


@pytest.mark.parametrize(
    ("word", "group", "version", "plural", "template"),
    [
        (
            "clonesets.v1alpha1.apps.kruise.io",
            "apps.kruise.io",
            "v1alpha1",
            "clonesets",
            ("spec", "template"),
        ),
        ("services.v1.serving.knative.dev", "serving.knative.dev", "v1", "services", ("spec", "template")),
        (
            "runners.v1.example.com=spec.a.bC.template",
            "example.com",
            "v1",
            "runners",
            ("spec", "a", "bC", "template"),
        ),
        ("runners.v2beta1.example.com=spec", "example.com", "v2beta1", "runners", ("spec",)),
    ],
)
def test_a_custom_kind(word: str, group: str, version: str, plural: str, template: tuple[str, ...]) -> None:
    (kind,) = followed_kinds("", word).values()
    assert (kind.group, kind.version, kind.plural, kind.template) == (group, version, plural, template)
    assert kind.id == f"{plural}.{group}"
    assert kind.custom
    assert kind.optional


def test_a_custom_kind_may_have_the_plural_of_another() -> None:
    found = followed_kinds("statefulsets", "statefulsets.v1beta1.apps.kruise.io")
    assert list(found) == ["StatefulSet", "statefulsets.apps.kruise.io"]


def test_what_a_command_line_calls_a_kind() -> None:
    kinds = {
        **KINDS,
        **followed_kinds("", "clonesets.v1alpha1.apps.kruise.io,statefulsets.v1beta1.apps.kruise.io"),
    }
    assert find_kind("CronJob", kinds) is find_kind("cj", kinds) is CRON_JOB
    assert find_kind("clonesets", kinds) is kinds["clonesets.apps.kruise.io"]
    # A plural that two kinds have is that of Kubernetes, and the other one is named with its group.
    assert find_kind("statefulsets", kinds) is STATEFUL_SET
    assert find_kind("statefulsets.apps.kruise.io", kinds) is kinds["statefulsets.apps.kruise.io"]
    assert find_kind("", kinds) is None
    assert find_kind("cronjob") is None


@pytest.mark.parametrize(
    ("names", "custom", "words"),
    [
        ("deployment", "", "'deployment' is none of deployments"),
        ("replicasets", "", "custom_kinds"),
        ("", "clonesets.apps.kruise.io", "can't be read"),
        ("", "clonesets.v1alpha1.apps.kruise.io=", "can't be read"),
        ("", "clonesets.v1alpha1.apps.kruise.io=template", "can't be read"),
        ("", "clonesets.v1alpha1.apps.kruise.io=spec.", "can't be read"),
        ("", "clonesets.v1alpha1.apps.kruise.io=spec.template.spec[0]", "can't be read"),
        ("", "CloneSets.v1alpha1.apps.kruise.io", "can't be read"),
        ("rollouts", "rollouts.v1alpha1.argoproj.io", "named twice"),
        ("", "a.v1.example.com,a.v2.example.com", "named twice"),
    ],
)
def test_what_can_not_be_read_is_told_in_words(names: str, custom: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        followed_kinds(names, custom)
