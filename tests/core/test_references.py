"""Every place where a pod template takes configuration from, as JSON the way an API server sends it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reroll.core.records import Reference
from reroll.core.references import merge, references
from reroll.core.template import PodTemplate

Json = dict[str, Any]


def refs(**spec: Any) -> list[Reference]:
    """The references of a template with this pod spec, but for which container carries a mark for them."""
    template = msgspec.json.decode(msgspec.json.encode({"spec": spec}), type=PodTemplate)
    return [replace(reference, container="") for reference in references(template)]


def web(**fields: Any) -> list[Json]:
    return [{"name": "web", **fields}]


def mounted(volume: Json, *mounts: Json, sort: str = "containers", **container: Any) -> list[Reference]:
    """The references of one container with these mounts of one volume, `conf`."""
    listed = [{"name": "conf", "mountPath": "/etc/app", **mount} for mount in mounts or ({},)]
    return refs(
        volumes=[{"name": "conf", **volume}],
        **{sort: [{"name": "web", "volumeMounts": listed, **container}]},
    )


def env(kind: str, **ref: Any) -> list[Json]:
    return [{"name": "VAR", "valueFrom": {kind: ref}}]


# --- environment -------------------------------------------------------------------------------------


def test_the_first_regular_container_that_consumes_it_carries_the_mark() -> None:
    volumes = [{"name": "v", "configMap": {"name": "app"}}]
    mount = [{"name": "v", "mountPath": "/etc/app"}]
    env = [{"secretRef": {"name": "s"}}]
    template = msgspec.json.decode(
        msgspec.json.encode(
            {
                "spec": {
                    "initContainers": [{"name": "init", "volumeMounts": mount, "envFrom": env}],
                    "containers": [{"name": "idle"}, {"name": "web", "volumeMounts": mount}],
                    "volumes": volumes,
                }
            }
        ),
        type=PodTemplate,
    )
    # Mounts by an init container and by a regular one are two references.
    assert {(r.name, r.where.split(":")[0], r.container) for r in references(template)} == {
        ("app", "container web", "web"),
        ("app", "init container init", ""),
        ("s", "init container init", ""),
    }


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        pytest.param(
            {"env": env("configMapKeyRef", name="app", key="PORT")},
            Reference("configmap", "app", "env", "container web: env VAR", ("PORT",)),
            id="configMapKeyRef",
        ),
        pytest.param(
            {"env": env("secretKeyRef", name="app", key="password", optional=True)},
            Reference("secret", "app", "env", "container web: env VAR", ("password",), optional=True),
            id="secretKeyRef, optional",
        ),
        pytest.param(
            {"env": env("secretKeyRef", name="app", key="password", optional=False)},
            Reference("secret", "app", "env", "container web: env VAR", ("password",)),
            id="secretKeyRef, optional said to be false",
        ),
        pytest.param(
            {"envFrom": [{"configMapRef": {"name": "app"}}]},
            Reference("configmap", "app", "envFrom", "container web: envFrom"),
            id="envFrom configMapRef",
        ),
        pytest.param(
            {"envFrom": [{"prefix": "APP_", "secretRef": {"name": "app", "optional": True}}]},
            Reference("secret", "app", "envFrom", "container web: envFrom (prefix APP_)", optional=True),
            id="envFrom secretRef with prefix",
        ),
    ],
)
def test_the_environment_is_never_seen_to_change(container: Json, expected: Reference) -> None:
    assert refs(containers=web(**container)) == [expected]
    assert expected.sees == "never"
    assert expected.rolls


@pytest.mark.parametrize(
    ("sort", "fields", "place"),
    [
        ("containers", {}, "container web"),
        ("initContainers", {}, "init container web"),
        ("initContainers", {"restartPolicy": "Always"}, "sidecar container web"),
        ("initContainers", {"restartPolicy": "OnFailure"}, "init container web"),
        ("containers", {"restartPolicy": "Always"}, "container web"),
        ("ephemeralContainers", {}, "ephemeral container web"),
    ],
)
def test_containers_of_every_sort_have_an_environment(sort: str, fields: Json, place: str) -> None:
    container = web(
        env=env("configMapKeyRef", name="app", key="PORT"), envFrom=[{"secretRef": {"name": "tls"}}], **fields
    )
    assert refs(**{sort: container}) == [
        Reference("configmap", "app", "env", f"{place}: env VAR", ("PORT",)),
        Reference("secret", "tls", "envFrom", f"{place}: envFrom"),
    ]


@pytest.mark.parametrize(
    "variable",
    [
        {"name": "A", "value": "plain"},
        {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}},
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": ""}}},
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app"}}},
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "", "key": "k"}}},
        {"name": "A", "valueFrom": {"secretKeyRef": {"key": "k"}}},
        {"name": "A", "valueFrom": None},
    ],
)
def test_variables_that_take_nothing_from_a_config_object(variable: Json) -> None:
    assert refs(containers=web(env=[variable])) == []


# --- volumes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        pytest.param(
            {"configMap": {"name": "app", "defaultMode": 420}},
            Reference("configmap", "app", "volume", "container web: volume conf at /etc/app", sees="later"),
            id="configMap",
        ),
        pytest.param(
            {"secret": {"secretName": "app", "optional": True}},
            Reference(
                "secret", "app", "volume", "container web: volume conf at /etc/app", None, True, sees="later"
            ),
            id="secret, which says secretName",
        ),
        pytest.param(
            {"configMap": {"name": "app", "items": [{"key": "b", "path": "x"}, {"key": "a", "path": "y/z"}]}},
            Reference(
                "configmap",
                "app",
                "volume",
                "container web: volume conf at /etc/app",
                ("a", "b"),
                sees="later",
            ),
            id="items narrow the keys, sorted",
        ),
        pytest.param(
            {"configMap": {"name": "app", "items": []}},
            Reference("configmap", "app", "volume", "container web: volume conf at /etc/app", sees="later"),
            id="no items are all keys",
        ),
        pytest.param(
            {"projected": {"sources": [{"secret": {"name": "app", "items": [{"key": "a", "path": "a"}]}}]}},
            Reference(
                "secret", "app", "projected", "container web: volume conf at /etc/app", ("a",), sees="later"
            ),
            id="projected, which says name for secrets too",
        ),
    ],
)
def test_mounted_files_are_seen_to_change_later(volume: Json, expected: Reference) -> None:
    assert mounted(volume) == [expected]


@pytest.mark.parametrize(
    "volume",
    [
        {"emptyDir": {}},
        {"configMap": {}},
        {"configMap": {"name": ""}},
        {"secret": {"name": "not-how-a-volume-says-it"}},
        {"configMap": {"name": "app", "items": [{"key": "", "path": "x"}]}},
        {"configMap": {"name": "kube-root-ca.crt"}},
        {"projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}},
        {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"downwardAPI": {}}]}},
        {"projected": {"sources": None}},
        {"projected": {"sources": [None]}},
        {"persistentVolumeClaim": {"claimName": "data"}},
    ],
)
def test_volumes_that_hold_no_config_object(volume: Json) -> None:
    assert mounted(volume) == []


@pytest.mark.parametrize(
    ("sort", "fields", "place", "sees"),
    [
        ("containers", {}, "container web", "later"),
        ("initContainers", {}, "init container web", "never"),
        ("initContainers", {"restartPolicy": "Always"}, "sidecar container web", "later"),
        ("ephemeralContainers", {}, "ephemeral container web", "later"),
    ],
)
def test_a_mount_by_any_sort_of_container_counts(sort: str, fields: Json, place: str, sees: str) -> None:
    found = mounted({"configMap": {"name": "app"}}, sort=sort, **fields)
    assert [(ref.where, ref.sees) for ref in found] == [(f"{place}: volume conf at /etc/app", sees)]


def test_a_volume_that_nobody_mounts_does_not_count() -> None:
    volumes = [
        {"name": "conf", "configMap": {"name": "app"}},
        {"name": "driver", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "credentials"}}},
    ]
    other = [{"name": "elsewhere", "mountPath": "/etc/app"}]
    assert refs(volumes=volumes, containers=web(volumeMounts=other)) == []


def test_the_root_certificate_never_counts_but_a_secret_of_that_name_does() -> None:
    name = "kube-root-ca.crt"
    assert refs(containers=web(envFrom=[{"configMapRef": {"name": name}}])) == []
    assert refs(containers=web(env=env("configMapKeyRef", name=name, key="ca.crt"))) == []
    assert [ref.kind for ref in refs(containers=web(envFrom=[{"secretRef": {"name": name}}]))] == ["secret"]


NESTED = [
    {"key": "main", "path": "app.yaml"},
    {"key": "one", "path": "conf.d/10-one.conf"},
    {"key": "two", "path": "conf.d/20-two.conf"},
    {"key": "deep", "path": "conf.d/more/deep.conf"},
    {"key": "other", "path": "conf.dx/other.conf"},
]
ALL = ("deep", "main", "one", "other", "two")


@pytest.mark.parametrize(
    ("items", "sub_path", "keys"),
    [
        pytest.param(None, "app.yaml", ("app.yaml",), id="a file"),
        pytest.param(None, "./app.yaml", ("app.yaml",), id="a file, from here"),
        pytest.param(None, "app.yaml/", ("app.yaml",), id="a file, with a slash"),
        pytest.param(None, "..data/app.yaml", ("app.yaml",), id="a file, by the kubelet's link"),
        pytest.param(None, "app.yaml/part", ("app.yaml",), id="below a file"),
        pytest.param(None, ".", None, id="the volume itself"),
        pytest.param(None, "..data", None, id="the kubelet's link itself"),
        pytest.param(NESTED, "app.yaml", ("main",), id="path to key"),
        pytest.param(NESTED, "main", (), id="a key is not a path"),
        pytest.param(NESTED, "app.yaml/part", ("main",), id="below a file of an item"),
        pytest.param(NESTED, "conf.d/20-two.conf", ("two",), id="nested path to key"),
        pytest.param(NESTED, "..data/conf.d//20-two.conf", ("two",), id="nested path by the kubelet's link"),
        pytest.param(NESTED, "conf.d", ("deep", "one", "two"), id="a directory"),
        pytest.param(NESTED, "conf.d/more", ("deep",), id="a nested directory"),
        pytest.param(NESTED, "conf", (), id="part of a name is no directory"),
        pytest.param(NESTED, "conf.d/30-three.conf", (), id="a file that no item makes"),
        pytest.param(NESTED, ".", ALL, id="all items"),
        pytest.param(
            [{"key": "a", "path": "x"}, {"key": "b", "path": "x"}], "x", ("a", "b"), id="two items, one path"
        ),
    ],
)
@pytest.mark.parametrize("field", ["subPath", "subPathExpr"])
def test_a_sub_path_narrows_the_keys_and_is_never_seen_to_change(
    field: str, items: list[Json] | None, sub_path: str, keys: tuple[str, ...] | None
) -> None:
    found = mounted({"secret": {"secretName": "app", "items": items}}, {field: sub_path})
    where = f"container web: volume conf at /etc/app ({field} {sub_path})"
    expected = Reference("secret", "app", "volume", where, keys, sub_path=True, sees="never")
    assert found == ([] if keys == () else [expected])


@pytest.mark.parametrize(("items", "keys"), [(None, None), (NESTED, ALL)])
@pytest.mark.parametrize("expression", ["$(POD_NAME)", "conf.d/$(POD_NAME).conf", "$(A)$(B)", "x$$(A)"])
def test_a_sub_path_with_variables_tells_no_key(
    expression: str, items: list[Json] | None, keys: tuple[str, ...] | None
) -> None:
    found = mounted({"configMap": {"name": "app", "items": items}}, {"subPathExpr": expression})
    where = f"container web: volume conf at /etc/app (subPathExpr {expression})"
    assert found == [Reference("configmap", "app", "volume", where, keys, sub_path=True, sees="never")]


def test_an_empty_sub_path_is_none() -> None:
    found = mounted({"configMap": {"name": "app"}}, {"subPath": "", "subPathExpr": None})
    assert [(ref.keys, ref.sub_path, ref.sees) for ref in found] == [(None, False, "later")]


PROJECTED = {
    "projected": {
        "sources": [
            {"configMap": {"name": "app", "items": [{"key": "main", "path": "app.yaml"}]}},
            {"serviceAccountToken": {"path": "token"}},
            {"secret": {"name": "tls", "optional": True, "items": [{"key": "tls.crt", "path": "tls/crt"}]}},
            {"configMap": {"name": "extra"}},
        ]
    }
}


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        ({}, [("app", ("main",), False), ("tls", ("tls.crt",), True), ("extra", None, False)]),
        ({"subPath": "app.yaml"}, [("app", ("main",), False), ("extra", ("app.yaml",), False)]),
        ({"subPath": "tls"}, [("tls", ("tls.crt",), True), ("extra", ("tls",), False)]),
        ({"subPath": "own.conf"}, [("extra", ("own.conf",), False)]),
        (
            {"subPathExpr": "$(NAME)"},
            [("app", ("main",), False), ("tls", ("tls.crt",), True), ("extra", None, False)],
        ),
    ],
)
def test_each_source_of_a_projected_volume_is_narrowed_alone(
    mount: Json, expected: list[tuple[str, tuple[str, ...] | None, bool]]
) -> None:
    found = mounted(PROJECTED, mount)
    assert [(ref.name, ref.keys, ref.optional) for ref in found] == expected
    assert {ref.means for ref in found} == {"projected"}
    assert {ref.sub_path for ref in found} == {bool(mount)}


def test_mounts_that_differ_in_their_place_only_are_one_reference() -> None:
    found = refs(
        volumes=[{"name": "conf", "configMap": {"name": "app", "items": NESTED}}],
        containers=[
            {"name": "web", "volumeMounts": [{"name": "conf", "mountPath": "/a"}]},
            {
                "name": "proxy",
                "volumeMounts": [
                    {"name": "conf", "mountPath": "/b"},
                    {"name": "conf", "mountPath": "/c", "subPath": "app.yaml"},
                    {"name": "conf", "mountPath": "/d", "subPath": "./app.yaml"},
                ],
            },
        ],
        initContainers=[
            {
                "name": "side",
                "restartPolicy": "Always",
                "volumeMounts": [{"name": "conf", "mountPath": "/e"}],
            },
            {"name": "init", "volumeMounts": [{"name": "conf", "mountPath": "/f"}]},
        ],
    )
    assert [(ref.where, ref.keys, ref.sees, ref.sub_path) for ref in found] == [
        (
            "container web: volume conf at /a, container proxy: volume conf at /b, "
            "sidecar container side: volume conf at /e",
            ALL,
            "later",
            False,
        ),
        (
            "container proxy: volume conf at /c (subPath app.yaml), "
            "container proxy: volume conf at /d (subPath ./app.yaml)",
            ("main",),
            "never",
            True,
        ),
        ("init container init: volume conf at /f", ALL, "never", False),
    ]


def test_two_volumes_of_one_object_are_two_references() -> None:
    found = refs(
        volumes=[{"name": "a", "configMap": {"name": "app"}}, {"name": "b", "configMap": {"name": "app"}}],
        containers=web(volumeMounts=[{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/b"}]),
    )
    assert [ref.where for ref in found] == [
        "container web: volume a at /a",
        "container web: volume b at /b",
    ]


# --- what a restart does not help --------------------------------------------------------------------


def test_pull_secrets_never_roll() -> None:
    pulls = [{"name": "registry"}, {"name": ""}, {}, None, {"name": "registry"}]
    assert refs(containers=web(), imagePullSecrets=pulls) == [
        Reference("secret", "registry", "imagePullSecret", "imagePullSecrets", sees="never", rolls=False)
    ]


def test_the_secret_of_a_csi_driver_never_rolls() -> None:
    volume = {"csi": {"driver": "d.example", "nodePublishSecretRef": {"name": "credentials"}}}
    where = "volume conf: csi nodePublishSecretRef"
    assert mounted(volume) == [Reference("secret", "credentials", "csi", where, sees="unknown", rolls=False)]


@pytest.mark.parametrize(
    "csi", [{"driver": "d"}, {"nodePublishSecretRef": {}}, {"nodePublishSecretRef": None}]
)
def test_a_csi_driver_without_a_secret(csi: Json) -> None:
    assert mounted({"csi": csi}) == []


@pytest.mark.parametrize("plugin", ["flexVolume", "iscsi", "cinder", "cephfs", "rbd", "scaleIO", "storageos"])
def test_the_secrets_of_volume_plugins_never_roll(plugin: str) -> None:
    where = f"volume conf: {plugin} secretRef"
    assert mounted({plugin: {"secretRef": {"name": "chap"}}}) == [
        Reference("secret", "chap", "volumePlugin", where, sees="never", rolls=False)
    ]
    assert mounted({plugin: {"secretRef": {"name": ""}}}) == []
    assert mounted({plugin: {"fsType": "ext4"}}) == []


def test_the_secret_of_azure_file_never_rolls() -> None:
    where = "volume conf: azureFile secretName"
    assert mounted({"azureFile": {"secretName": "account", "shareName": "s"}}) == [
        Reference("secret", "account", "volumePlugin", where, sees="never", rolls=False)
    ]


# --- the whole ---------------------------------------------------------------------------------------


def test_the_order_is_that_of_the_template_and_what_does_not_roll_is_last() -> None:
    spec: Json = {
        "imagePullSecrets": [{"name": "pull"}],
        "volumes": [
            {"name": "disk", "rbd": {"secretRef": {"name": "ceph"}}},
            {"name": "conf", "configMap": {"name": "files"}},
        ],
        "ephemeralContainers": [{"name": "debug", "envFrom": [{"configMapRef": {"name": "d"}}]}],
        "initContainers": [{"name": "init", "envFrom": [{"configMapRef": {"name": "c"}}]}],
        "containers": [
            {
                "name": "web",
                "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in ("conf", "disk")],
                "envFrom": [{"configMapRef": {"name": "b"}}],
                "env": env("configMapKeyRef", name="a", key="k"),
            }
        ],
    }
    names = ["a", "b", "c", "d", "files", "ceph", "pull"]
    assert [ref.name for ref in refs(**spec)] == names
    assert [ref.name for ref in refs(**dict(reversed(spec.items())))] == names


def test_exact_duplicates_are_one() -> None:
    twice = [{"configMapRef": {"name": "app"}}, {"configMapRef": {"name": "app"}}]
    assert len(refs(containers=web(envFrom=twice))) == 1


@pytest.mark.parametrize("name", ["", "UPPER", "a/b", "-a", "a-", "a b", "$(NAME)", "a" * 254, "é", "a\n"])
def test_a_name_that_no_object_can_have_is_skipped(name: str) -> None:
    found = refs(
        containers=web(
            env=env("secretKeyRef", name=name, key="k"),
            envFrom=[{"configMapRef": {"name": name}}],
            volumeMounts=[{"name": volume, "mountPath": "/v"} for volume in ("a", "b", "c", "d")],
        ),
        volumes=[
            {"name": "a", "configMap": {"name": name}},
            {"name": "b", "projected": {"sources": [{"secret": {"name": name}}]}},
            {"name": "c", "csi": {"nodePublishSecretRef": {"name": name}}},
            {"name": "d", "azureFile": {"secretName": name}},
        ],
        imagePullSecrets=[{"name": name}],
    )
    assert found == []


def test_a_template_without_anything() -> None:
    for text in (b"{}", b'{"metadata":null,"spec":null}', b'{"spec":{"containers":null,"volumes":[]}}'):
        assert references(msgspec.json.decode(text, type=PodTemplate)) == ()


def test_containers_without_names_are_still_read() -> None:
    found = refs(containers=[{"envFrom": [{"configMapRef": {"name": "app"}}]}])
    assert [ref.where for ref in found] == ["container ?: envFrom"]


def keyed(*keys: str) -> Reference:
    return Reference("configmap", "app", "env", "", keys)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ()),
        ([keyed("b"), keyed("a", "b")], ("a", "b")),
        ([keyed("b"), Reference("configmap", "app", "envFrom", "")], None),
    ],
)
def test_merge(given: list[Reference], expected: tuple[str, ...] | None) -> None:
    assert merge(iter(given)) == expected


segment = st.sampled_from(["a", "b", "a.b", "c"])
file_path = st.lists(segment, min_size=1, max_size=3).map("/".join)


@given(
    items=st.dictionaries(st.sampled_from(["k1", "k2", "k3", "k4"]), file_path, min_size=1),
    sub_path=file_path,
)
def test_a_sub_path_reads_the_items_at_or_below_it(items: dict[str, str], sub_path: str) -> None:
    """Where no item is a file in the middle of another path, as in every volume that can be mounted."""
    paths = [*items.values(), sub_path]
    listed = [{"key": key, "path": path} for key, path in items.items()]
    found = mounted({"configMap": {"name": "app", "items": listed}}, {"subPath": sub_path})
    expected = {key for key, path in items.items() if f"{path}/".startswith(f"{sub_path}/")}
    if any(p != q and f"{q}/".startswith(f"{p}/") for p in items.values() for q in paths):
        assert expected <= set(merge(found) or ())
    else:
        assert set(merge(found) or ()) == expected


json_names = st.sampled_from(["app", "tls", "", "UPPER", "kube-root-ca.crt"])
json_keys = st.sampled_from(["a", "b", ""])
json_items = st.none() | st.lists(st.fixed_dictionaries({"key": json_keys, "path": file_path}), max_size=3)
json_sources = st.fixed_dictionaries({"name": json_names, "items": json_items, "optional": st.booleans()})
json_mounts = st.fixed_dictionaries(
    {"name": st.sampled_from(["v0", "v1", "v2"]), "mountPath": st.just("/m")},
    optional={"subPath": file_path, "subPathExpr": st.sampled_from(["$(A)", "a"])},
)
json_containers = st.fixed_dictionaries(
    {"name": st.sampled_from(["x", "y"])},
    optional={
        "restartPolicy": st.sampled_from(["Always", None]),
        "volumeMounts": st.none() | st.lists(json_mounts, max_size=3),
        "envFrom": st.lists(st.fixed_dictionaries({"secretRef": json_sources}), max_size=2),
        "env": st.builds(lambda name, key: env("secretKeyRef", name=name, key=key), json_names, json_keys),
    },
)
json_volumes = st.one_of(
    st.fixed_dictionaries({"configMap": json_sources}),
    st.fixed_dictionaries({"csi": st.fixed_dictionaries({"nodePublishSecretRef": json_sources})}),
    st.lists(st.fixed_dictionaries({"secret": json_sources}), max_size=3).map(
        lambda sources: {"projected": {"sources": sources}}
    ),
)


@given(
    containers=st.lists(json_containers, max_size=2),
    init=st.lists(json_containers, max_size=2),
    volumes=st.lists(json_volumes, max_size=3),
)
def test_what_holds_of_every_reference(containers: list[Json], init: list[Json], volumes: list[Json]) -> None:
    named = [{"name": f"v{number}", **volume} for number, volume in enumerate(volumes)]
    found = refs(containers=containers, initContainers=init, volumes=named)
    assert len(set(found)) == len(found)
    for ref in found:
        assert ref.name in ("app", "tls") or (ref.kind, ref.name) == ("secret", "kube-root-ca.crt")
        assert ref.keys is None or (
            ref.keys and list(ref.keys) == sorted(set(ref.keys)) and "" not in ref.keys
        )
        assert ref.where
        assert ref.rolls == (ref.means != "csi")
        if ref.sees == "later":
            assert ref.means in ("volume", "projected")
            assert not ref.sub_path
    # A container more never takes a reference away from an object.
    more = refs(containers=[*containers, {"name": "z"}], initContainers=init, volumes=named)
    assert more == found
    fewer = refs(containers=containers, volumes=named)
    assert {(ref.kind, ref.name) for ref in fewer} <= {(ref.kind, ref.name) for ref in found}


@pytest.mark.parametrize(
    ("driver", "attributes", "found"),
    [
        ("secrets-store.csi.k8s.io", {"secretProviderClass": "db"}, ["secretproviderclass/db"]),
        ("secrets-store.csi.k8s.io", {"secretProviderClass": None}, []),
        ("secrets-store.csi.k8s.io", {}, []),
        ("secrets-store.csi.k8s.io", None, []),
        ("another.csi.example", {"secretProviderClass": "db"}, []),
    ],
)
def test_what_the_secrets_store_driver_mounts(driver: str, attributes: Json | None, found: list[str]) -> None:
    csi = {"driver": driver, "volumeAttributes": attributes, "nodePublishSecretRef": {"name": "login"}}
    mount = {"name": "v", "mountPath": "/mnt"}
    references = refs(
        containers=[{"name": "web", "volumeMounts": [mount]}], volumes=[{"name": "v", "csi": csi}]
    )
    assert [f"{r.kind}/{r.name}" for r in references if r.rolls] == found
    assert [r.name for r in references if not r.rolls] == ["login"]
