"""Each finding, where it is right to say it and where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.core.policy import AUTO, IGNORE
from reroll.dialects.reloader import DEFAULT_KEYS as KEYS
from reroll.insight.migrate.findings import KINDS
from reroll.insight.migrate.scene import Reloader
from tests.insight.migrate.scenes import config, findings, workload

AUTO_ON = {KEYS.auto: "true"}
CHECKSUM = {"checksum/config": "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"}
WAVE = {"wave.pusher.com/update-on-config-change": "true"}
NAMED = KEYS.reload["configmap"]
HASHED = "app-5k9d7tt2mh"
SELECTED = Reloader("told", namespace_selector="team=a")

CASES: list[tuple[str, list[dict[str, Any]], Reloader | None, str]] = [
    ("M001", [workload(spec={"containers": "none"})], None, "can't be read"),
    ("M101", [workload(AUTO_ON, on_template=CHECKSUM, config_maps=["app"])], None, "Reloader (annotation"),
    ("M101", [workload(AUTO_ON | WAVE, secrets=["db"])], None, "a change of secret/db is two rollouts"),
    (
        "M101",
        [workload(AUTO_ON | {AUTO: "true"}, secrets=["db"])],
        None,
        "reroll (annotation reroll.dev/auto",
    ),
    (
        "M201",
        [workload({"reloader.stakater.com/atuo": "true"})],
        None,
        "did you mean reloader.stakater.com/auto?",
    ),
    (
        "M201",
        [workload({"reloader.stakater.com/zzz-unheard-of": "true"})],
        None,
        "Reloader has no such annotation",
    ),
    ("M201", [config("app", {"reloader.stakater.com/mach": "true"})], None, "reloader.stakater.com/match?"),
    ("M202", [workload({KEYS.auto: "yes"}, config_maps=["app"])], None, "it takes"),
    ("M202", [workload({NAMED: "("})], None, "no regular expression"),
    ("M202", [workload({KEYS.search: "True"}, config_maps=["app"])], None, 'only exactly "true"'),
    ("M202", [workload({KEYS.auto: True})], None, "is no string"),
    ("M202", [config("app", {KEYS.match: "yes"})], None, 'only exactly "true"'),
    ("M202", [workload({"wave.pusher.com/extra-secrets": "db"})], None, "does nothing without"),
    ("M202", [workload({KEYS.pause_period: "soon"})], None, "without a pause"),
    ("M203", [config("app", AUTO_ON)], None, "read on workloads only"),
    ("M203", [workload({KEYS.match: "true"})], None, "on ConfigMaps and Secrets only"),
    ("M203", [workload({KEYS.rollout_strategy: "restart"})], None, "on Argo Rollouts only"),
    ("M203", [workload({KEYS.pause_period: "1m"}, kind="DaemonSet")], None, "on Deployments only"),
    ("M203", [workload(on_template={AUTO: "true"})], None, "on the workload's own metadata only"),
    ("M203", [workload(on_template=WAVE)], None, "on the workload's own metadata only"),
    (
        "M203",
        [workload(on_template={KEYS.exclude["secret"]: "db"})],
        None,
        "Reloader reads it on the workload's",
    ),
    ("M203", [workload(CHECKSUM)], None, "only on the pod template"),
    (
        "M203",
        [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "annotations": AUTO_ON}}],
        None,
        "nothing",
    ),
    (
        "M203",
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": AUTO_ON}}],
        None,
        "no annotations of namespaces",
    ),
    ("M204", [workload({NAMED: "app"}, on_template=AUTO_ON)], None, "does nothing, for"),
    ("M205", [workload(AUTO_ON)], None, "references no ConfigMap and no Secret"),
    (
        "M205",
        [workload({KEYS.typed_auto["secret"]: "true"}, config_maps=["app"])],
        None,
        "references no Secret",
    ),
    ("M205", [workload(WAVE)], None, "update-on-config-change does nothing"),
    ("M206", [workload({NAMED: "gone"})], None, "configmap/gone is named, and there is none"),
    ("M206", [workload({NAMED: "gone-.*"}), config("app")], None, "configmap/gone-.* is named"),
    ("M207", [workload({KEYS.search: "true"}, config_maps=["app"]), config("app")], None, "carries"),
    ("M207", [workload({KEYS.search: "true"})], None, "references nothing"),
    ("M208", [workload(AUTO_ON, kind="Rollout", config_maps=["app"])], None, "does not act on rollouts"),
    ("M208", [workload(AUTO_ON, kind="DeploymentConfig", config_maps=["app"])], None, "deploymentconfigs"),
    ("M208", [workload(WAVE, kind="CronJob", config_maps=["app"])], None, "wave does not act on a CronJob"),
    (
        "M208",
        [workload({KEYS.reload["secret"]: "db"}), config("db", kind="Secret")],
        Reloader("told", config_kinds=("configmap",)),
        "does not watch Secret objects",
    ),
    (
        "M209",
        [workload(AUTO_ON)],
        Reloader("told", namespaces_to_ignore=("shop",)),
        "--namespaces-to-ignore shop",
    ),
    ("M209", [workload(AUTO_ON)], Reloader("told", namespaces=("bank",)), "works in bank only"),
    (
        "M209",
        [
            workload(AUTO_ON),
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "b"}}},
        ],
        SELECTED,
        "--namespace-selector",
    ),
    ("M210", [workload({NAMED: "app"}), config("app", {KEYS.ignore: "true"})], None, "says"),
    ("M211", [workload(AUTO_ON, config_maps=[HASHED])], None, "never gets other content"),
    ("M301", [workload({NAMED: "[a-z]+"}), config("app")], None, "can't be said"),
    ("M301", [workload(AUTO_ON | {KEYS.pause_period: "1m"}, config_maps=["app"])], None, "reroll.dev/settle"),
    ("M302", [workload(on_template=AUTO_ON, config_maps=["app"])], None, "the pods are replaced once"),
    ("M303", [workload({NAMED: "a|app"}), config("app")], None, "anchored in part only"),
]


@pytest.mark.parametrize(("id", "objects", "reloader", "message"), CASES)
def test_it_is_found(id: str, objects: list[dict[str, Any]], reloader: Reloader | None, message: str) -> None:
    found = [one for one in findings(*objects, reloader=reloader) if one.id == id]
    assert found
    assert any(message in one.message for one in found), [one.message for one in found]
    assert all(one.severity == KINDS[id].severity for one in found)
    assert all(one.file == "shop.yaml" and one.line > 0 for one in found)


def test_each_kind_is_tested_but_that_of_the_cluster() -> None:
    assert {case[0] for case in CASES} | {"M102"} == KINDS.keys()


@pytest.mark.parametrize(
    ("objects", "reloader"),
    [
        ([workload(AUTO_ON, config_maps=["app"])], None),
        ([workload({NAMED: "app"}), config("app")], None),
        ([workload({KEYS.search: "true"}, config_maps=["app"]), config("app", {KEYS.match: "true"})], None),
        ([workload(WAVE, secrets=["db"])], None),
        ([workload(on_template=CHECKSUM, config_maps=["app"])], None),
        # reroll takes the checksum's rollout for what it is
        ([workload({AUTO: "true"}, on_template=CHECKSUM, config_maps=["app"])], None),
        # what one of them excludes, only the other rolls for
        (
            [
                workload(
                    AUTO_ON | {KEYS.exclude["configmap"]: "app"}, on_template=CHECKSUM, config_maps=["app"]
                )
            ],
            None,
        ),
        ([workload(AUTO_ON | {IGNORE: "secret/db"}, secrets=["db"])], None),
        ([workload(AUTO_ON, kind="Rollout", config_maps=["app"])], Reloader("told", kinds=("rollouts",))),
        ([workload({"example.com/reload": "true", "kubernetes.io/change-cause": "reload"})], None),
        # an annotation that is the mark of Reloader or wave
        ([workload(on_template={"reloader.stakater.com/last-reloaded-from": "{}"})], None),
        ([workload(on_template={"wave.pusher.com/config-hash": "1"})], None),
    ],
)
def test_nothing_is_said_of_what_is_well(objects: list[dict[str, Any]], reloader: Reloader | None) -> None:
    assert [one for one in findings(*objects, reloader=reloader) if one.severity != "info"] == []


def test_what_is_not_in_part_of_the_manifests_may_be_elsewhere() -> None:
    found = findings(workload({NAMED: "gone"}), complete=False)
    assert [(one.id, one.severity) for one in found] == [("M206", "info")]
    found = findings(workload({KEYS.search: "true"}, config_maps=["app"]), complete=False)
    assert [(one.id, one.severity) for one in found] == [("M207", "info")]
