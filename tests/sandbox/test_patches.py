"""Patches as pure functions: the RFCs' own examples, and the rules of the strategic merge patch."""

# ruff: noqa: E501
from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reroll.sandbox import schema
from reroll.sandbox.kinds import CONFIG_MAP, DEPLOYMENT
from reroll.sandbox.patches import PatchError, TestFailed, json_patch, merge_patch, strategic_merge_patch

POD_SPEC = schema.named("PodSpec")


class TestJsonPatch:
    @pytest.mark.parametrize(
        ("document", "patch", "result"),
        [
            # RFC 6902, appendix A
            ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
            ({"foo": ["a", "b"]}, [{"op": "add", "path": "/foo/1", "value": "q"}], {"foo": ["a", "q", "b"]}),
            ({"baz": "q", "foo": "b"}, [{"op": "remove", "path": "/baz"}], {"foo": "b"}),
            ({"foo": ["a", "b", "c"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["a", "c"]}),
            ({"baz": "q"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
            ({"foo": {"a": 1}, "q": {}}, [{"op": "move", "from": "/foo/a", "path": "/q/b"}], {"foo": {}, "q": {"b": 1}}),
            ({"foo": ["a", "b", "c"]}, [{"op": "move", "from": "/foo/0", "path": "/foo/2"}], {"foo": ["b", "c", "a"]}),
            ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"g": {}}}], {"foo": "bar", "child": {"g": {}}}),
            ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
            ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["a"]}], {"foo": ["bar", ["a"]]}),
            ({"a/b": 1}, [{"op": "replace", "path": "/a~1b", "value": 2}], {"a/b": 2}),
            ({"a": 1}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1}),
            ({"a": 1}, [{"op": "add", "path": "", "value": {"b": 2}}], {"b": 2}),
            ({"a": 1}, [{"op": "test", "path": "/b", "value": None}], {"a": 1}),
            ({"a": 1}, [], {"a": 1}),
        ],
    )  # fmt: skip
    def test_applied(self, document: Any, patch: Any, result: Any) -> None:
        before = copy.deepcopy(document)
        assert json_patch(document, patch) == result
        assert document == before

    @pytest.mark.parametrize(
        "operation",
        [
            {"op": "test", "path": "/a", "value": 2},
            {"op": "test", "path": "/a", "value": True},
            {"op": "test", "path": "/l/0", "value": "x"},
            {"op": "remove", "path": "/none"},
            {"op": "add", "path": "/none/b", "value": 1},
            {"op": "add", "path": "/l/9", "value": 1},
            {"op": "add", "path": "/l/01", "value": 1},
            {"op": "add", "path": "/l/x", "value": 1},
            {"op": "add", "path": "/a/b", "value": 1},
            {"op": "remove", "path": "/l/-"},
            {"op": "move", "from": "/none", "path": "/b"},
            {"op": "odd", "path": "/a"},
        ],
    )
    def test_an_operation_that_does_not_fit_changes_nothing(self, operation: Any) -> None:
        document = {"a": 1, "l": ["y"]}
        with pytest.raises(TestFailed):
            json_patch(document, [{"op": "add", "path": "/first", "value": 1}, operation])
        assert document == {"a": 1, "l": ["y"]}

    @pytest.mark.parametrize("patch", [{}, "x", [1], [{"op": "add"}], [{"op": "add", "path": "/a"}], [{"op": "remove", "path": "a"}], [{"op": "copy", "path": "/a"}]])  # fmt: skip
    def test_what_is_no_json_patch_is_refused(self, patch: Any) -> None:
        with pytest.raises(PatchError):
            json_patch({"a": 1}, patch)


class TestMergePatch:
    @pytest.mark.parametrize(
        ("document", "patch", "result"),
        [
            # RFC 7386, appendix A
            ({"a": "b"}, {"a": "c"}, {"a": "c"}),
            ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
            ({"a": "b"}, {"a": None}, {}),
            ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
            ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
            ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
            ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
            ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
            (["a", "b"], ["c", "d"], ["c", "d"]),
            ({"a": "b"}, ["c"], ["c"]),
            ({"a": "foo"}, None, None),
            ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
            ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
            ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ],
    )
    def test_the_rfcs_examples(self, document: Any, patch: Any, result: Any) -> None:
        before = copy.deepcopy(document)
        assert merge_patch(document, patch) == result
        assert document == before

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
        max_leaves=12,
    )

    @given(json_values, json_values)
    def test_twice_is_once(self, document: Any, patch: Any) -> None:
        once = merge_patch(document, patch)
        assert merge_patch(once, patch) == once


def names(items: list[dict[str, Any]]) -> list[str]:
    return [item["name"] for item in items]


class TestStrategicMergePatch:
    POD: dict[str, Any] = {  # noqa: RUF012 - nothing changes it, as each test checks
        "containers": [
            {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
            {"name": "b", "image": "b:1", "args": ["1", "2"]},
        ],
        "volumes": [{"name": "v", "configMap": {"name": "c"}}],
        "tolerations": [{"key": "t"}],
        "nodeSelector": {"n": "1"},
    }

    def patched(self, patch: dict[str, Any]) -> dict[str, Any]:
        before = copy.deepcopy(self.POD)
        result = strategic_merge_patch(self.POD, patch, POD_SPEC)
        assert before == self.POD
        return result

    def test_items_are_merged_by_their_key(self) -> None:
        pod = self.patched({"containers": [{"name": "b", "image": "b:2"}]})
        assert pod["containers"] == [
            self.POD["containers"][0],
            {"name": "b", "image": "b:2", "args": ["1", "2"]},
        ]

    def test_new_items_stand_before_those_that_are_not_named(self) -> None:
        pod = self.patched({"containers": [{"name": "n", "image": "n"}]})
        assert names(pod["containers"]) == ["n", "a", "b"]

    def test_the_order_is_as_asked(self) -> None:
        order = [{"name": "b"}, {"name": "n"}, {"name": "a"}]
        pod = self.patched(
            {"$setElementOrder/containers": order, "containers": [{"name": "n", "image": "n"}]}
        )
        assert names(pod["containers"]) == ["b", "n", "a"]
        pod = self.patched({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]})
        assert names(pod["containers"]) == ["b", "a"]

    def test_deep_items_are_deleted(self) -> None:
        env = [{"name": "X", "$patch": "delete"}, {"name": "Z", "value": "3"}]
        pod = self.patched({"containers": [{"name": "a", "env": env}]})
        assert pod["containers"][0]["env"] == [{"name": "Z", "value": "3"}, {"name": "Y", "value": "2"}]

    def test_a_list_is_replaced(self) -> None:
        pod = self.patched({"containers": [{"$patch": "replace"}, {"name": "n", "image": "n"}]})
        assert pod["containers"] == [{"name": "n", "image": "n"}]

    def test_atomic_lists_and_null(self) -> None:
        pod = self.patched(
            {
                "tolerations": [{"key": "u"}],
                "nodeSelector": None,
                "containers": [{"name": "b", "args": ["3"]}],
            }
        )
        assert pod["tolerations"] == [{"key": "u"}]
        assert "nodeSelector" not in pod
        assert [(c["name"], c.get("args")) for c in pod["containers"]] == [("a", None), ("b", ["3"])]

    def test_retained_keys(self) -> None:
        volume = {"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}
        assert self.patched({"volumes": [volume]})["volumes"] == [{"name": "v", "emptyDir": {}}]

    def test_maps(self) -> None:
        assert self.patched({"nodeSelector": {"m": "2"}})["nodeSelector"] == {"n": "1", "m": "2"}
        assert self.patched({"nodeSelector": {"$patch": "replace", "m": "2"}})["nodeSelector"] == {"m": "2"}
        assert self.patched({"nodeSelector": {"$patch": "delete"}})["nodeSelector"] == {}

    def test_mounts_go_by_their_path_and_ports_by_their_number(self) -> None:
        container = {
            "name": "a",
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "ports": [{"containerPort": 80}],
        }
        patch = {
            "name": "a",
            "volumeMounts": [{"mountPath": "/v", "readOnly": True}],
            "ports": [{"containerPort": 80, "name": "http"}],
        }
        result = strategic_merge_patch({"containers": [container]}, {"containers": [patch]}, POD_SPEC)
        assert result["containers"] == [
            {
                "name": "a",
                "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": True}],
                "ports": [{"containerPort": 80, "name": "http"}],
            }
        ]

    def test_finalizers_are_a_set(self) -> None:
        obj = {"metadata": {"finalizers": ["a", "b"]}}
        kind = schema.of(CONFIG_MAP)
        added = strategic_merge_patch(obj, {"metadata": {"finalizers": ["b", "c"]}}, kind)
        assert sorted(added["metadata"]["finalizers"]) == ["a", "b", "c"]
        cut = strategic_merge_patch(obj, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, kind)
        assert cut["metadata"]["finalizers"] == ["b"]

    def test_directives_leave_no_trace(self) -> None:
        patch = {
            "spec": {
                "template": {
                    "spec": {
                        "$setElementOrder/volumes": [{"name": "w"}],
                        "volumes": [
                            {"name": "w", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}},
                            {"name": "no", "$patch": "delete"},
                        ],
                    }
                }
            }
        }
        result = strategic_merge_patch({}, patch, schema.of(DEPLOYMENT))
        assert result == {"spec": {"template": {"spec": {"volumes": [{"name": "w", "emptyDir": {}}]}}}}

    @pytest.mark.parametrize(
        "patch",
        [
            {"$patch": "odd"},
            {"containers": [{"image": "a"}]},
            {"containers": ["a"]},
            {"$setElementOrder/containers": "a"},
            {"$retainKeys": "a"},
            {"containers": [{"name": "a", "$patch": "odd"}]},
        ],
    )
    def test_what_is_no_strategic_patch_is_refused(self, patch: Any) -> None:
        with pytest.raises(PatchError):
            self.patched(patch)
