"""Kustomizations of several folders: equal to the real kustomize's output; and what is refused, in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reroll.manifests.env_file import read_env_file, read_file_source, read_literal
from reroll.manifests.generate import as_yaml, build
from reroll.manifests.problem import ManifestError
from tests.manifests.kustomizations import ours, theirs, written
from tests.manifests.programs import run

POD = """\
      serviceAccountName: web
      imagePullSecrets: [{name: pw}]
      initContainers:
      - name: init
        image: i
        envFrom: [{configMapRef: {name: app}}, {secretRef: {name: pw}}]
        env: [{name: A, valueFrom: {secretKeyRef: {name: pw, key: a}}}]
      containers:
      - name: web
        image: i
        envFrom: [{configMapRef: {name: app}}]
        env:
        - {name: A, valueFrom: {configMapKeyRef: {name: app, key: a}}}
        - {name: B, value: app}
        - {name: C, valueFrom: {configMapKeyRef: {name: elsewhere, key: a}}}
      volumes:
      - {name: a, configMap: {name: app}}
      - {name: b, secret: {secretName: pw}}
      - {name: c, projected: {sources: [{configMap: {name: app}}, {secret: {name: pw}}]}}
      - {name: d, persistentVolumeClaim: {claimName: data}}
"""


def indented(text: str, by: int) -> str:
    return "".join(f"{' ' * by}{line}\n" if by > 0 else f"{line[-by:]}\n" for line in text.splitlines())


WORKLOADS = "\n---\n".join(
    [
        *(
            f"apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: web}}\nspec:\n  template:\n    spec:\n{POD}"
            for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
        ),
        f"apiVersion: batch/v1\nkind: Job\nmetadata: {{name: web}}\nspec:\n  template:\n    spec:\n{POD}",
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: web}\nspec:\n  jobTemplate:\n    spec:\n"
        "      template:\n        spec:\n" + indented(POD, 4),
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n" + indented(POD, -4),
        "apiVersion: v1\nkind: PodTemplate\nmetadata: {name: web}\ntemplate:\n  spec:\n" + indented(POD, -2),
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n"
        + POD,
    ]
)
OTHERS = """\
# What names ConfigMaps, Secrets and each other in other ways.
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  annotations:
    nginx.ingress.kubernetes.io/auth-secret: pw
    nginx.ingress.kubernetes.io/fastcgi-params-configmap: app
spec:
  ingressClassName: nginx
  tls: [{secretName: pw, hosts: [a]}]
  rules: [{http: {paths: [{path: /, backend: {service: {name: web, port: {number: 80}}}}]}}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
imagePullSecrets: [{name: pw}]
secrets: [{name: pw}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast}
parameters: {secretName: pw, adminSecretName: pw, userSecretName: other, secretRef: pw}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec: {storageClassName: fast, azureFile: {secretName: pw}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {storageClassName: fast, volumeName: disk}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps, secrets], resourceNames: [app, pw, other], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], resourceNames: [app], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: web}, {kind: ServiceAccount, name: default}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: ServiceAccount, name: web, namespace: default}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: fn}
spec: {template: {spec: {containers: [{env: [{name: A, valueFrom: {secretKeyRef: {name: pw, key: a}}}], envFrom: [{secretRef: {name: pw}}]}]}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hook}
webhooks: [{name: a.b.c, clientConfig: {service: {name: web, namespace: default, path: /}}}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foos.example.com}
spec: {conversion: {webhook: {clientConfig: {service: {name: web, namespace: default}}}}}
---
apiVersion: example.com/v1
kind: Foo
metadata: {name: foo}
spec: {configs: [{name: app}, {name: nowhere}], secret: pw, since: 2020-01-02, mode: 0644, on: yes}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: tool, annotations: {config.kubernetes.io/local-config: "true"}}
"""  # noqa: E501
POD_OF_APP = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {volumes: [{configMap: {name: app}}]}\n"
CONFIGURATION = """\
nameReference:
- kind: ConfigMap
  version: v1
  fieldSpecs: [{kind: Foo, path: spec/configs/name}]
- kind: Secret
  fieldSpecs: [{kind: Foo, group: example.com, path: spec/secret}]
- kind: ConfigMap
  version: v1
  fieldSpecs: [{kind: Rollout, path: "spec/template/spec/containers[]/envFrom/configMapRef/name"}]
"""
GENERATORS = """\
configMapGenerator:
- {name: app, literals: [a=1, "q='it is'", 'd="x"'], envs: [app.env], files: [conf/app.yaml, bin=conf/logo.png]}
secretGenerator:
- {name: pw, literals: [a=s3cret], files: [conf/logo.png], type: example.com/x}
"""
FILES: dict[str, str | bytes] = {
    "workloads.yaml": WORKLOADS,
    "others.yaml": OTHERS,
    "names.yaml": CONFIGURATION,
    "app.env": "\ufeff# a comment\n\n  B=2\r\nexport C=3\nbare\nQ='quoted'  \n",
    "conf/app.yaml": "level: info\nlist:\n- a\n",
    "conf/logo.png": bytes(range(256)),
}
PLAIN = f"resources: [workloads.yaml, others.yaml]\n{GENERATORS}"


@pytest.mark.parametrize(
    "extra",
    [
        "",
        "namespace: shop\n",
        "namePrefix: dev-\n",
        "nameSuffix: -x\n",
        "configurations: [names.yaml]\n",
        "namespace: shop\nnamePrefix: dev-\nnameSuffix: -x\nconfigurations: [names.yaml]\n",
        "sortOptions: {order: fifo}\n",
        "sortOptions: {order: legacy, legacySortOptions: {orderFirst: [Secret, Pod], orderLast: [ConfigMap]}}\n",
        "generatorOptions: {immutable: true, labels: {a: b}, annotations: {c: d}}\n",
        "generatorOptions: {disableNameSuffixHash: true}\n",
    ],
    ids=lambda extra: extra.partition("\n")[0] or "plain",
)
def test_one_folder(tmp_path: Path, extra: str) -> None:
    folder = written(tmp_path, FILES | {"kustomization.yaml": PLAIN + extra})
    assert ours(folder) == theirs(folder)


OVERLAY: dict[str, str | bytes] = {
    **{f"base/{name}": content for name, content in FILES.items()},
    "base/kustomization.yaml": PLAIN + "generatorOptions: {labels: {from: base, both: base}}\n",
    "base/more/kustomization.yml": "configMapGenerator: [{name: more, literals: [a=1]}]\nnamePrefix: deep-\n",
}


@pytest.mark.parametrize("behavior", ["merge", "replace"])
@pytest.mark.parametrize("extra", ["", "namePrefix: prod-\n", "namespace: shop\nnamePrefix: prod-\n"])
def test_an_overlay_merges_into_its_base(tmp_path: Path, behavior: str, extra: str) -> None:
    overlay = f"""\
resources: [../base, ../base/more, web.yaml]
configMapGenerator:
- name: app
  behavior: {behavior}
  literals: [a=2, new=1]
  options: {{labels: {{both: overlay}}, annotations: {{x: z}}}}
- name: own
  literals: [k=v]
- name: deep-more
  behavior: {behavior}
  files: [a=logo.png]
secretGenerator:
- {{name: pw, behavior: {behavior}, literals: [b=2], type: example.com/y}}
{extra}"""
    web = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec: {template: {spec: {containers: [{name: a, "
        "envFrom: [{configMapRef: {name: own}}, {configMapRef: {name: app}}, {configMapRef: {name: deep-more}}, "
        "{configMapRef: {name: more}}]}]}}}\n"
    )
    files: dict[str, str | bytes] = {
        "prod/kustomization.yaml": overlay,
        "prod/web.yaml": web,
        "prod/logo.png": b"\xff\xfe\x00",
    }
    written(tmp_path, OVERLAY | files)
    assert ours(tmp_path / "prod") == theirs(tmp_path / "prod")


@pytest.mark.parametrize("behavior", ["merge", "replace"])
@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_what_came_from_a_file_keeps_its_name(tmp_path: Path, behavior: str, kind: str) -> None:
    field = "secretGenerator" if kind == "Secret" else "configMapGenerator"
    plain = f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: app, labels: {{a: b}}}}\ndata: {{a: MQ==, z: eA==}}\n"
    folder = written(
        tmp_path,
        {
            "kustomization.yaml": "resources: [app.yaml]\n"
            f"{field}: [{{name: app, behavior: {behavior}, literals: [a=2]}}]\n",
            "app.yaml": plain,
        },
    )
    assert ours(folder) == theirs(folder)
    assert yaml.safe_load(ours(folder))["metadata"]["name"] == "app"


def test_two_overlays_of_one_base_do_not_mix(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "base/kustomization.yaml": "resources: [web.yaml]\nconfigMapGenerator: [{name: app, literals: [a=1]}]\n",
        "base/web.yaml": POD_OF_APP,
        "a/kustomization.yaml": "resources: [../base]\nnamePrefix: a-\n",
        "b/kustomization.yaml": "resources: [../base]\nnamePrefix: b-\nconfigMapGenerator: "
        "[{name: app, behavior: merge, literals: [a=2]}]\n",
        "kustomization.yaml": "resources: [a, b]\nnameSuffix: -x\n",
    }
    folder = written(tmp_path, files)
    assert ours(folder) == theirs(folder)
    pods = [one for one in yaml.safe_load_all(ours(folder)) if one["kind"] == "Pod"]
    named = {one["metadata"]["name"]: one["spec"]["volumes"][0]["configMap"]["name"] for one in pods}
    assert named["a-web-x"].startswith("a-app-x-")
    assert named["b-web-x"].startswith("b-app-x-")


def test_notes_of_tools_are_not_written(tmp_path: Path) -> None:
    notes = (
        "config.kubernetes.io/index: '0', internal.config.kubernetes.io/path: a.yaml, config.k8s.io/id: '1'"
    )
    notes += "".join(
        f", internal.config.kubernetes.io/{each}: x"
        for each in ("id", "index", "prefixes", "refBy", "seqindent")
    )
    objects = [
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\ndata: {{a: b}}\n"
        for name, annotations in (
            ("both", f"{notes}, a: b"),
            ("only", notes),
            ("none", "a: b"),
            ("empty", ""),
        )
    ]
    folder = written(tmp_path, {"kustomization.yaml": "resources: [a.yaml]", "a.yaml": "---\n".join(objects)})
    assert ours(folder) == theirs(folder)
    assert "config.k" not in ours(folder)


def test_lists_are_taken_apart(tmp_path: Path) -> None:
    items = '[{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "%s"}}]'
    files: dict[str, str | bytes] = {
        "kustomization.yaml": "resources: [all.yaml]\nsortOptions: {order: fifo}\n",
        "all.yaml": f"apiVersion: v1\nkind: List\nitems: {items % 'b'}\n---\napiVersion: v1\nkind: ConfigMapList\n"
        f"items: {items % 'a'}\n---\n---\n# nothing\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: &m {{name: c}}\n"
        "data: {x: *m, y: [*m]}\n".replace("x: *m, y: [*m]", "x: y"),
    }
    folder = written(tmp_path, files)
    assert ours(folder) == theirs(folder)


@pytest.mark.parametrize(
    ("kustomization", "message"),
    [
        (
            "patches: [{path: p.yaml}]",
            "patches is what reroll generate does not do: build this with kustomize",
        ),
        ("components: [c]", r"kustomize build .* \| reroll generate --hash-names -"),
        ("configMapGenerators: []", "there is no field configMapGenerators"),
        ("configMapGenerator: [{name: a, literal: [a=1]}]", r"no field literal in configMapGenerator\[0\]"),
        ("configMapGenerator: [{literals: [a=1]}]", r"configMapGenerator\[0\] needs a name"),
        ("configMapGenerator: [{name: a, behavior: update}]", "create, replace and merge"),
        ("configMapGenerator: [{name: a, behavior: merge}]", "no ConfigMap a to merge"),
        ("configMapGenerator: [{name: a}, {name: a}]", "there is a ConfigMap a already"),
        ("configMapGenerator: [{name: a, files: [nowhere]}]", "nowhere: cannot be read: No such file"),
        ("configMapGenerator: [{name: a, files: [../x]}]", "is not in or below"),
        ("configMapGenerator: [{name: a, literals: [a=1], files: [a=ok]}]", "the key 'a', which is there"),
        ("configMapGenerator: [{name: a, envs: [latin]}]", "latin: line 2 is not UTF-8"),
        ("configMapGenerator: [{name: a, literals: [1]}]", "has to be text: put it in quotes"),
        ("generatorOptions: {labels: {a: yes}}", "generatorOptions.labels.a has to be text"),
        ("resources: [https://example.com/x.yaml]", "is not on this machine"),
        ("resources: [twice.yaml]", "ConfigMap a is there already"),
        ("resources: [nameless.yaml]", "nameless.yaml:2:1: this ConfigMap has no metadata.name"),
        ("resources: [chart.yaml]", "this is a template and no manifest yet"),
        ("resources: [ok]", "it is no mapping"),
        ("resources: [.]", "is a base of itself"),
        ("kind: Component\nresources: []", "a Component needs kustomize itself"),
        ("kind: Kustomization", "is empty"),
        ("a: 1\na: 2", "has the key a twice"),
        ("sortOptions: {order: kinds}", "legacy or fifo"),
    ],
)
def test_what_is_refused(tmp_path: Path, kustomization: str, message: str) -> None:
    a = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
    files: dict[str, str | bytes] = {
        "k/kustomization.yaml": kustomization,
        "x": "",
        "k/ok": "text",
        "k/latin": b"A=1\nB=\xe9\n",
        "k/twice.yaml": f"{a}---\n{a}",
        "k/nameless.yaml": "apiVersion: v1\nkind: ConfigMap\n",
        "k/chart.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n",
    }
    folder = written(tmp_path, files) / "k"
    with pytest.raises(ManifestError, match=message):
        as_yaml(build(folder))


def test_a_secret_is_never_quoted(tmp_path: Path) -> None:
    for literals in ("[s3cret]", "[{s3cret: 1}]", "[=s3cret]"):
        content = f"secretGenerator: [{{name: a, literals: {literals}}}]"
        with pytest.raises(ManifestError) as caught:
            build(written(tmp_path, {"kustomization.yaml": content}))
        assert "s3cret" not in str(caught.value)
        assert "literals[0]" in str(caught.value)


def test_two_kustomizations_in_a_folder(tmp_path: Path) -> None:
    folder = written(tmp_path, {"kustomization.yaml": "resources: []", "Kustomization": "resources: []"})
    with pytest.raises(ManifestError, match="keep one of them"):
        build(folder)
    with pytest.raises(ManifestError, match=r"there is no kustomization\.yaml.*--hash-names"):
        build(written(tmp_path / "empty", {"x": ""}))


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = (
        written(tmp_path, {"k/kustomization.yaml": "configMapGenerator: [{name: a, files: [x]}]", "x": "1"})
        / "k"
    )
    (folder / "x").symlink_to(tmp_path / "x")
    with pytest.raises(ManifestError, match="is not in or below"):
        build(folder)


def test_names_that_could_mean_several_are_refused(tmp_path: Path) -> None:
    """A ClusterRole reaches into all namespaces."""
    role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: web}\n"
    files: dict[str, str | bytes] = {
        "kustomization.yaml": "resources: [web.yaml]\nconfigMapGenerator: [{name: app, namespace: a, literals: [a=1]}, "
        "{name: app, namespace: b, literals: [a=2]}]\n",
        "web.yaml": f"{role}rules: [{{resourceNames: [app]}}]\n",
    }
    folder = written(tmp_path, files)
    with pytest.raises(
        ManifestError, match=r"ClusterRole/web: rules\.0\.resourceNames\.0 could name several"
    ):
        build(folder)
    assert b"multiple possible referrals" in run("kustomize", "build", folder, ok=False).stderr


def test_what_two_bases_could_mean_is_left_as_it_is(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "a/kustomization.yaml": "configMapGenerator: [{name: app, literals: [a=1]}]\nnamePrefix: a-\n",
        "b/kustomization.yaml": "configMapGenerator: [{name: app, literals: [a=1]}]\nnamePrefix: b-\n",
        "kustomization.yaml": "resources: [a, b, web.yaml]\n",
        "web.yaml": POD_OF_APP,
    }
    folder = written(tmp_path, files)
    assert ours(folder) == theirs(folder)


def test_env_files() -> None:
    content = b"\xef\xbb\xbfA=1\r\n#no\n\n \tB = 2 \nexport C='x'\nD\n=nothing\nE==\n"
    assert read_env_file(content) == [("A", "1"), ("B ", " 2 "), ("export C", "'x'"), ("D", ""), ("E", "=")]


@pytest.mark.parametrize(
    ("literal", "pair"),
    [
        ("a=1", ("a", "1")),
        ("a=", ("a", "")),
        ("a='", ("a", "'")),
        ("a=''", ("a", "")),
        ("a=''x''", ("a", "'x'")),
        ("a=\"x'", ("a", "\"x'")),
        ("a=b=c", ("a", "b=c")),
    ],
)
def test_literals(literal: str, pair: tuple[str, str]) -> None:
    assert read_literal(literal) == pair


def test_files_by_key() -> None:
    assert read_file_source("dir/app.yaml") == ("app.yaml", "dir/app.yaml")
    assert read_file_source("key=dir/app.yaml") == ("key", "dir/app.yaml")
    for bad in ("a=b=c", "=x", "x="):
        with pytest.raises(ValueError, match="="):
            read_file_source(bad)


def test_output_is_read_again_as_what_it_was(tmp_path: Path) -> None:
    folder = written(tmp_path, FILES | {"kustomization.yaml": PLAIN})
    found: list[Any] = list(yaml.safe_load_all(ours(folder)))
    assert [one["kind"] for one in found][:2] == ["Namespace", "StorageClass"]
    made = {one["metadata"]["name"]: one for one in found if one["kind"] == "ConfigMap"}
    (name,) = made
    assert made[name]["data"]["app.yaml"] == FILES["conf/app.yaml"]
