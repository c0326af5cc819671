"""Plain manifests called by their content: what is renamed, what is rewritten, what stays."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from reroll.manifests.external import Annotated, externals_of
from reroll.manifests.hash_names import BASE_NAME, GENERATED, HashNames, Options
from reroll.manifests.kustomization import read_name_references
from reroll.manifests.problem import ManifestError
from reroll.manifests.resource_files import Folder
from reroll.manifests.stamp.options import Options as StampOptions
from reroll.manifests.stamp.options import templates_of
from reroll.manifests.stream import read_documents
from tests.manifests.kustomizations import theirs, written

CHART = """\
# Source: shop/templates/config.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: app   # read by web
  labels: {app: shop}
data:
  level: info
---
# Source: shop/templates/secret.yaml
apiVersion: v1
kind: Secret
metadata:
  name: pw
stringData:
  password: "s3cret"
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      containers:
        - name: web
          env:
            - {name: A, value: app}   # a value, not a name
          envFrom:
            - configMapRef: {name: app}
            - secretRef:
                name: "pw"
      volumes:
        - name: app
          configMap: {name: app, optional: true}
        - name: other
          configMap: {name: elsewhere}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: spare}
data: {a: b}
"""


def hashed(text: str, external: dict[str, str] | None = None, **options: Any) -> tuple[str, HashNames]:
    digests = None
    if external is not None:
        words = [f"{key}={value}" for key, value in external.items()]
        digests = Annotated(externals_of(words), StampOptions(templates=templates_of(True)))
    done = HashNames(Options(**{"templates": templates_of(True), **options}), digests)
    done.learn(read_documents(text, "chart"))
    if digests is not None:
        digests.decide()
    done.decide()
    return "".join(done.written(read_documents(text, "chart"), 0)), done


def lines(before: str, after: str) -> list[str]:
    found = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line[2:].strip() for line in found if line.startswith("+ ")]


def objects(text: str) -> dict[str, Any]:
    found = [one for one in yaml.safe_load_all(text) if one]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


def new_names(done: HashNames) -> dict[str, str]:
    return {f"{key.kind}/{key.name}": name for key, name in done.renamed.items()}


def test_the_names_are_those_of_kustomize(tmp_path: Path) -> None:
    kustomization = (
        "configMapGenerator: [{name: app, literals: [level=info]}]\n"
        "secretGenerator: [{name: pw, literals: [password=s3cret]}]\n"
    )
    folder = written(tmp_path, {"kustomization.yaml": kustomization})
    _, done = hashed(CHART)
    assert {f"{one['kind']}/{one['metadata']['name']}" for one in yaml.safe_load_all(theirs(folder))} == {
        "ConfigMap/" + new_names(done)["ConfigMap/app"],
        "Secret/" + new_names(done)["Secret/pw"],
    }


def test_what_kustomize_named_keeps_its_name(tmp_path: Path) -> None:
    kustomization = "configMapGenerator: [{name: app, literals: [level=info]}]\nresources: [web.yaml]\n"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}}
    container = {"name": "web", "image": "web", "envFrom": [{"configMapRef": {"name": "app"}}]}
    files: dict[str, str | bytes] = {
        "kustomization.yaml": kustomization,
        "web.yaml": yaml.safe_dump(pod | {"spec": {"containers": [container]}}),
    }
    text, done = hashed(theirs(written(tmp_path, files)))
    [name] = set(new_names(done).values())
    found = objects(text)[f"ConfigMap/{name}"]
    assert not done.changes
    assert found["immutable"] is True
    assert found["metadata"]["annotations"] == {BASE_NAME: "app"}


def test_only_the_lines_that_must_change(tmp_path: Path) -> None:
    text, done = hashed(CHART)
    app, pw = new_names(done)["ConfigMap/app"], new_names(done)["Secret/pw"]
    assert lines(CHART, text) == [
        f"name: {app}   # read by web",
        f'labels: {{app: shop, {GENERATED}: "true"}}',
        "annotations:",
        f"{BASE_NAME}: app",
        "immutable: true",
        f"name: {pw}",
        "annotations:",
        f"{BASE_NAME}: pw",
        "labels:",
        f'{GENERATED}: "true"',
        "immutable: true",
        f"- configMapRef: {{name: {app}}}",
        f'name: "{pw}"',
        f"configMap: {{name: {app}, optional: true}}",
    ]
    assert "s3cret" not in "".join((*done.notes, *done.changes))


def test_what_nothing_names_keeps_its_name() -> None:
    text, done = hashed(CHART)
    assert "ConfigMap/spare" in objects(text)
    assert ["nothing here names configmap/spare" in note for note in done.notes] == [True]
    text, done = hashed(CHART, all=True)
    assert "ConfigMap/spare" not in objects(text)
    assert done.notes == []


def test_a_second_run_changes_nothing() -> None:
    for mark in (True, False):
        once, _ = hashed(CHART, mark=mark)
        twice, done = hashed(once, mark=mark)
        assert twice == once
        assert done.changes == []


def test_an_edit_of_what_was_renamed_renames_it_again() -> None:
    once, before = hashed(CHART)
    edited = once.replace("level: info", "level: debug")
    text, done = hashed(edited)
    name = done.renamed[next(key for key in done.renamed if key.name == new_names(before)["ConfigMap/app"])]
    assert name.startswith("app-")
    assert name not in once
    assert objects(text)[f"ConfigMap/{name}"]["metadata"]["annotations"][BASE_NAME] == "app"
    container = objects(text)["Deployment/web"]["spec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"][0]["configMapRef"]["name"] == name


def test_marks_and_what_other_tools_are_told() -> None:
    text, _ = hashed(CHART, mark=False, keep=("helm", "flux", "argocd"))
    (app,) = [one for name, one in objects(text).items() if name.startswith("ConfigMap/app")]
    assert app["metadata"]["labels"] == {"app": "shop"}
    assert app["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep",
        "kustomize.toolkit.fluxcd.io/prune": "disabled",
        "argocd.argoproj.io/sync-options": "Prune=false",
        "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    }
    synced = CHART.replace(
        "labels: {app: shop}", "annotations: {argocd.argoproj.io/sync-options: ServerSideApply=true}"
    )
    text, _ = hashed(synced, mark=False, keep=("argocd",))
    (app,) = [one for name, one in objects(text).items() if name.startswith("ConfigMap/app")]
    assert (
        app["metadata"]["annotations"]["argocd.argoproj.io/sync-options"]
        == "ServerSideApply=true,Prune=false"
    )
    assert hashed(text, mark=False, keep=("argocd",))[0] == text


def test_what_is_left_out() -> None:
    text, done = hashed(CHART, leave=frozenset({("configmap", "app")}))
    assert set(new_names(done)) == {"Secret/pw"}
    assert "ConfigMap/app" in objects(text)
    token = "apiVersion: v1\nkind: Secret\nmetadata: {name: t}\ndata: {a: MQ==}\n"
    token += "type: kubernetes.io/service-account-token\n"
    empty = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: leader}\n"
    text, done = hashed(f"{token}---\n{empty}", all=True)
    assert text == f"{token}---\n{empty}"
    assert len(done.notes) == 1
    assert "configmap/leader is empty, so something else fills it" in done.notes[0]


SPEC = {
    "containers": [
        {
            "env": [
                {"valueFrom": {"configMapKeyRef": {"name": "app", "key": "a"}}},
                {"valueFrom": {"secretKeyRef": {"name": "pw", "key": "a"}}},
            ],
            "envFrom": [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "pw"}}],
        }
    ],
    "volumes": [
        {"configMap": {"name": "app"}},
        {"secret": {"secretName": "pw"}},
        {"projected": {"sources": [{"configMap": {"name": "app"}}, {"secret": {"name": "pw"}}]}},
        {"csi": {"nodePublishSecretRef": {"name": "pw"}}},
        {"azureFile": {"secretName": "pw"}},
        {"rbd": {"secretRef": {"name": "pw"}}},
    ],
    "imagePullSecrets": [{"name": "pw"}],
}
PODS = SPEC | dict.fromkeys(("initContainers", "ephemeralContainers"), SPEC["containers"])
"""Nothing in it but names, so what is left of the old ones can be counted."""
CONFIG = (
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {a: b}\n---\n"
    "apiVersion: v1\nkind: Secret\nmetadata: {name: pw}\nstringData: {a: b}\n---\n"
)


def with_pods(version: str, kind: str, *way: str) -> dict[str, Any]:
    value: dict[str, Any] = {"spec": PODS}
    for step in reversed(way):
        value = {step: value}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, **value}


@pytest.mark.parametrize(
    "value",
    [
        with_pods("apps/v1", "Deployment", "spec", "template"),
        with_pods("apps/v1", "StatefulSet", "spec", "template"),
        with_pods("apps/v1", "DaemonSet", "spec", "template"),
        with_pods("apps/v1", "ReplicaSet", "spec", "template"),
        with_pods("batch/v1", "Job", "spec", "template"),
        with_pods("batch/v1", "CronJob", "spec", "jobTemplate", "spec", "template"),
        with_pods("v1", "Pod"),
        with_pods("v1", "PodTemplate", "template"),
        with_pods("v1", "ReplicationController", "spec", "template"),
        with_pods("argoproj.io/v1alpha1", "Rollout", "spec", "template"),
        with_pods("apps.openshift.io/v1", "DeploymentConfig", "spec", "template"),
        with_pods("serving.knative.dev/v1", "Service", "spec", "template"),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}, "secrets": [{"name": "pw"}],
         "imagePullSecrets": [{"name": "pw"}]},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {"tls": [{"secretName": "pw"}]},
         "metadata": {"name": "x", "annotations": {"nginx.ingress.kubernetes.io/auth-tls-secret": "pw"}}},
        {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "x"},
         "spec": {"listeners": [{"tls": {"certificateRefs": [{"name": "pw"}, {"kind": "Secret", "name": "pw"}]}}]}},
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "x"},
         "spec": {"csi": {"nodeStageSecretRef": {"name": "pw"}}, "azureFile": {"secretName": "pw"}}},
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "x"},
         "parameters": {"csi.storage.k8s.io/provisioner-secret-name": "pw", "secretName": "pw"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "x"},
         "rules": [{"resourceNames": ["app", "pw"]}]},
    ],
    ids=lambda value: value["kind"],
)  # fmt: skip
def test_every_place_of_a_name(value: dict[str, Any]) -> None:
    text, done = hashed(CONFIG + json.dumps(value))
    (found,) = [
        one
        for one in yaml.safe_load_all(text)
        if one["kind"] == value["kind"] and one["metadata"]["name"] == "x"
    ]
    new = new_names(done)
    expected = json.dumps(value)
    for old, kind in (("app", "ConfigMap"), ("pw", "Secret")):
        expected = expected.replace(f'"{old}"', f'"{new.get(f"{kind}/{old}", old)}"')
    assert found == json.loads(expected)
    assert found != value


def test_custom_kinds_by_configuration(tmp_path: Path) -> None:
    configuration = "nameReference: [{kind: Secret, fieldSpecs: [{kind: Foo, path: spec/auth}]}]"
    places = read_name_references(Folder(written(tmp_path, {"names.yaml": configuration})), "names.yaml")
    foo = "apiVersion: example.com/v1\nkind: Foo\nmetadata: {name: x}\nspec: {auth: pw, other: pw}\n"
    text, done = hashed(CONFIG + foo, places=tuple(places))
    assert objects(text)["Foo/x"]["spec"] == {"auth": new_names(done)["Secret/pw"], "other": "pw"}


def pod(name: str, namespace: str = "") -> str:
    space = f", namespace: {namespace}" if namespace else ""
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}{space}}}\n"
        "spec: {volumes: [{configMap: {name: app}}]}\n---\n"
    )


def config_map(namespace: str, value: str) -> str:
    space = f", namespace: {namespace}" if namespace else ""
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app{space}}}\ndata: {{a: '{value}'}}\n---\n"


def mounted(text: str, name: str) -> str:
    found: str = objects(text)[f"Pod/{name}"]["spec"]["volumes"][0]["configMap"]["name"]
    return found


def test_namespaces_are_told_apart() -> None:
    text, done = hashed(
        config_map("a", "1") + config_map("b", "2") + pod("x", "a") + pod("y", "b") + pod("z", "c")
    )
    names = {key.namespace: name for key, name in done.renamed.items()}
    assert (mounted(text, "x"), mounted(text, "y"), mounted(text, "z")) == (names["a"], names["b"], "app")
    text, done = hashed(config_map("", "1") + pod("x", "a") + pod("y"))
    assert mounted(text, "x") == mounted(text, "y") == new_names(done)["ConfigMap/app"]
    text, done = hashed(config_map("shop", "1") + pod("x"), namespace="shop")
    assert mounted(text, "x") == new_names(done)["ConfigMap/app"]


def test_equal_objects_may_stand_twice_and_others_not() -> None:
    text, _ = hashed(config_map("", "1") * 2 + pod("x"))
    assert mounted(text, "x") != "app"
    with pytest.raises(
        ManifestError, match=r"configmap/app is there twice with different content, in chart:2 and"
    ):
        hashed(config_map("", "1") + config_map("", "2") + pod("x"))


def test_a_cluster_role_that_could_mean_several() -> None:
    role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: x}\n"
    role += "rules: [{resourceNames: [app]}]\n"
    text = config_map("a", "1") + config_map("b", "2") + pod("x", "a") + pod("y", "b") + role
    with pytest.raises(ManifestError, match="configmap/app is in several namespaces"):
        hashed(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "kind: Secret\nmetadata: {name: a}\ndata: {k: s3cret!}",
            "secret/a: data.k is not base64; plain text goes in",
        ),
        ("kind: ConfigMap\nmetadata: {name: a}\ndata: {k: 1}", r"configmap/a: data.k has to be text"),
        ("kind: ConfigMap\nmetadata: {name: a}\ndata: text", "configmap/a: data has to be a mapping"),
        (f"kind: ConfigMap\nmetadata: {{name: {'a' * 245}}}\ndata: {{k: v}}", "more than 253 characters"),
    ],
)
def test_what_is_refused(content: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        hashed(f"apiVersion: v1\n{content}\n")
    assert "s3cret" not in str(caught.value)
    assert str(caught.value).startswith("chart:")


def test_lists_and_other_documents_are_kept() -> None:
    text = "# only a comment\n---\nfoo: bar\n---\napiVersion: v1\nkind: List\nitems:\n- " + "\n  ".join(
        config_map("", "1").removesuffix("---\n").splitlines()
    )
    text += "\n- " + "\n  ".join(pod("x").removesuffix("---\n").splitlines()) + "\n"
    out, done = hashed(text)
    found = yaml.safe_load(out.split("---")[2])
    assert found["items"][0]["metadata"]["name"] == new_names(done)["ConfigMap/app"]
    assert found["items"][1]["spec"]["volumes"][0]["configMap"]["name"] == new_names(done)["ConfigMap/app"]
    assert out.startswith("# only a comment\n---\nfoo: bar\n---\n")


def test_an_external_digest_is_written_on_who_reads_it() -> None:
    text, done = hashed(CHART, {"secret/db": "v7", "secret/pw": "v1"}, leave=frozenset({("secret", "pw")}))
    (web,) = [one for name, one in objects(text).items() if name == "Deployment/web"]
    assert web["spec"]["template"]["metadata"]["annotations"] == {"checksum/secret-pw": "v1"}
    assert "Secret/pw" in objects(text)
    assert hashed(text, {"secret/pw": "v1"}, leave=frozenset({("secret", "pw")}))[0] == text
    assert "Secret/pw" not in new_names(done)


def test_what_external_is_given_as() -> None:
    assert externals_of(["secret/a.b=lookup", "configmap/c=1=2"]) == {
        ("secret", "a.b"): "lookup",
        ("configmap", "c"): "1=2",
    }
    for bad in ("secret/a", "pod/a=1", "secret/A=1", "secret/a="):
        with pytest.raises(ValueError, match="write KIND/NAME=DIGEST or KIND/NAME=lookup"):
            externals_of([bad])
