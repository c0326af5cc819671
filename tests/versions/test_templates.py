"""A pod template that is pointed at other versions: its mark goes with it."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from reroll.core.kinds import CRON_JOB, DEPLOYMENT
from reroll.core.marks import MarkStyle
from reroll.core.pointing import Named, Template, named, pointed
from reroll.dialects.marks import STYLES
from reroll.versions.revisions import Revision
from reroll.versions.templates import at_sources, at_versions, replacement, template_of

APP: Named = ("configmap", "app")
MARKS = {
    "reroll": "abc",
    "wave": "abc",
    "annotations": '{"hash":"abc"}',
    "env-vars": '[["c","STAKATER_APP_CONFIGMAP","abc"]]',
}


def template(name: str, style: MarkStyle | None = None, mark: str = "") -> Template:
    plain: Template = {
        "metadata": {"labels": {"app": "web"}, "annotations": {"team": "shop"}},
        "spec": {"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "app"}}]}]},
    }
    made = pointed(plain, {APP: name})
    if style is not None and mark:
        style.put(made, mark)
    return made


@pytest.mark.parametrize("name", STYLES)
class TestMarks:
    """In each style."""

    def test_it_is_the_revision_again(self, name: str) -> None:
        style, mark = STYLES[name], MARKS[name]
        earlier = template("app-1", style, mark.replace("abc", "old"))
        now = template("app-2", style, mark)
        before = copy.deepcopy(now)
        assert at_versions(now, {APP: "app-1"}, [Revision(1, "web-1", earlier)], style) == earlier
        assert now == before, "what was read is left as it is"

    def test_without_such_a_revision_it_has_none(self, name: str) -> None:
        style = STYLES[name]
        now = template("app-2", style, MARKS[name])
        assert at_versions(now, {APP: "app-1"}, [], style) == template("app-1")

    def test_at_its_source_it_has_none(self, name: str) -> None:
        style = STYLES[name]
        after = at_sources(template("app-2", style, MARKS[name]), style)
        assert after == template("app")
        assert named(after) == {APP: "app"}


def test_where_templates_are() -> None:
    inner: dict[str, Any] = {"spec": {"template": {"spec": {}}}}
    assert template_of(DEPLOYMENT, inner) == {"spec": {}}
    assert template_of(CRON_JOB, {"spec": {"jobTemplate": inner}}) == {"spec": {}}
    assert template_of(DEPLOYMENT, {"spec": {"workloadRef": {}}}) is None
    assert template_of(DEPLOYMENT, {}) is None


def test_annotations_are_added_to_those_that_it_has() -> None:
    obj: dict[str, Any] = {"metadata": {"resourceVersion": "7", "annotations": {"a": "1"}}}
    version, replaced, annotated = msgspec.json.decode(replacement(CRON_JOB, obj, {"spec": {}}, {"b": "2"}))
    assert version == {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}
    assert (replaced["path"], replaced["value"]) == ("/spec/jobTemplate/spec/template", {"spec": {}})
    assert annotated["value"] == {"a": "1", "b": "2"}
    assert len(msgspec.json.decode(replacement(CRON_JOB, obj, {}))) == 2
