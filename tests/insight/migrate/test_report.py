"""What the report tells of each workload: mechanisms, what they roll for, what reroll does and differs in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reroll.core.policy import AUTO, FOLLOW
from reroll.dialects.reloader import DEFAULT_KEYS as KEYS
from reroll.dialects.reloader import Keys
from reroll.insight.migrate.mechanisms import hashed, is_checksum, reloader_sees
from reroll.insight.migrate.scene import Reloader
from tests.insight.migrate.scenes import config, told, workload

AUTO_ON = {KEYS.auto: "true"}
NAMED = KEYS.reload["configmap"]


def acting(*objects: dict[str, Any], reloader: Reloader | None = None) -> dict[str, tuple[str, ...]]:
    (one,) = told(*objects, reloader=reloader).workloads
    return {each.name: each.objects for each in one.mechanisms}


def test_each_mechanism_and_what_it_rolls_for() -> None:
    found = acting(
        workload(
            {
                **AUTO_ON,
                "wave.pusher.com/update-on-config-change": "true",
                "wave.pusher.com/extra-secrets": "bank/key",
                FOLLOW: "configmap/routes",
            },
            on_template={"checksum/secret": "x"},
            config_maps=["app", "conf-5k9d7tt2mh"],
            secrets=["db"],
        )
    )
    assert found == {
        "Reloader": ("configmap/app", "configmap/conf-5k9d7tt2mh", "secret/db"),
        "wave": ("configmap/app", "configmap/conf-5k9d7tt2mh", "secret/bank/key", "secret/db"),
        "checksum": ("secret/db",),
        "name hash": ("configmap/conf-5k9d7tt2mh",),
        "reroll": ("configmap/routes",),
    }


@pytest.mark.parametrize(
    ("annotations", "objects"),
    [
        ({KEYS.typed_auto["secret"]: "true"}, ("secret/db",)),
        ({NAMED: "r.*"}, ("configmap/routes",)),
        ({**AUTO_ON, KEYS.exclude["secret"]: "db"}, ("configmap/app",)),
        ({KEYS.search: "true"}, ("configmap/app",)),
        ({**AUTO_ON, NAMED: "routes"}, ("configmap/app", "configmap/routes", "secret/db")),
    ],
)
def test_what_reloader_rolls_for(annotations: dict[str, str], objects: tuple[str, ...]) -> None:
    around = [config("app", {KEYS.match: "true"}), config("routes"), config("db", kind="Secret")]
    one = workload(annotations, config_maps=["app"], secrets=["db"])
    assert acting(one, *around) == {"Reloader": objects}


def test_what_the_flags_of_reloader_change() -> None:
    plain = workload(config_maps=["app"], secrets=["db"])
    assert told(plain).workloads == ()
    everything = Reloader("--reloader-flags", auto_all=True, config_kinds=("configmap",))
    (one,) = told(plain, reloader=everything).workloads
    assert one.mechanisms[0].objects == ("configmap/app",)
    assert one.mechanisms[0].how == ("--auto-reload-all (--reloader-flags)",)
    renamed = Reloader("--reloader-flags", keys=Keys(auto="acme.example/reload"))
    assert acting(workload({"acme.example/reload": "true"}, secrets=["db"]), reloader=renamed) == {
        "Reloader": ("secret/db",)
    }


def test_objects_that_reloaders_selector_leaves_out() -> None:
    mine, theirs = config("app"), config("other")
    mine["metadata"]["labels"] = {"reload": "yes"}
    selecting = Reloader("--reloader-flags", config_selector="reload=yes")
    (one,) = told(
        workload(AUTO_ON, config_maps=["app", "other", "elsewhere"]), mine, theirs, reloader=selecting
    ).workloads
    # What is not here may have any labels.
    assert one.mechanisms[0].objects == ("configmap/app", "configmap/elsewhere")
    assert one.drop_in == ("configmap/app", "configmap/elsewhere", "configmap/other")
    assert one.differences == (
        "configmap/other: left out by Reloader's --resource-label-selector; reroll has --config-selector for that",
    )


def test_an_object_that_says_ignore_is_rolled_for_by_nobody() -> None:
    (one,) = told(
        workload(AUTO_ON, config_maps=["app"], secrets=["db"]), config("app", {KEYS.ignore: "true"})
    ).workloads
    assert one.mechanisms[0].objects == one.drop_in == one.native == ("secret/db",)


def test_reroll_in_either_form_and_what_differs() -> None:
    (one,) = told(
        workload({NAMED: "app,routes"}, env=[("app", "LEVEL")]), config("app"), config("routes")
    ).workloads
    assert one.drop_in == one.native == ("configmap/app#LEVEL", "configmap/routes")
    assert one.annotations == {FOLLOW: "configmap/app, configmap/routes"}
    assert one.carried == (NAMED,)
    first, second = one.differences
    assert "only a change of LEVEL counts" in first
    assert "named and not referenced" in second


@pytest.mark.parametrize(("kind", "word"), [("CronJob", "for the next Job"), ("Job", "finished Job")])
def test_the_kinds_that_are_treated_otherwise(kind: str, word: str) -> None:
    (one,) = told(workload(AUTO_ON, kind=kind, config_maps=["app"])).workloads
    assert any(word in difference for difference in one.differences)


def test_a_kind_that_reloader_leaves_alone() -> None:
    (one,) = told(workload(AUTO_ON, kind="DeploymentConfig", config_maps=["app"])).workloads
    assert not one.mechanisms
    assert one.drop_in == ("configmap/app",)
    assert "Reloader leaves it alone, and reroll acts on its annotations" in one.differences


def test_a_reference_that_reloader_does_not_find() -> None:
    volumes = [{"name": "a", "configMap": {"name": "app"}}, {"name": "b", "configMap": {"name": "app"}}]
    mounted = [{"name": "main", "volumeMounts": [{"name": "b", "mountPath": "/etc/app"}]}]
    spec = {"containers": mounted, "volumes": volumes}
    (one,) = told(workload(AUTO_ON, spec=spec)).workloads
    assert one.mechanisms[0].objects == ()
    assert one.drop_in == ("configmap/app",)
    assert one.differences == ("configmap/app: Reloader does not find this reference; reroll rolls for it",)
    mounted[0]["volumeMounts"] = [{"name": "a", "mountPath": "/etc/app"}]
    assert reloader_sees({"spec": spec}, "configmap", "app")


def test_what_only_the_pod_template_excludes() -> None:
    (one,) = told(
        workload(AUTO_ON, on_template={KEYS.exclude["configmap"]: "app"}, config_maps=["app"])
    ).workloads
    assert one.mechanisms[0].objects == ("configmap/app",)
    assert one.drop_in == ()
    assert "which Reloader does not read" in one.differences[0]


def test_what_is_kept_is_told_as_what_native_annotations_do_not_follow() -> None:
    (one,) = told(workload({NAMED: "[a-z]+"}), config("app")).workloads
    assert one.drop_in == ("configmap/app",)
    assert one.native == ()
    assert one.kept.keys() == {NAMED}
    assert "only as long as the annotations that are kept are read" in one.differences[-1]


def test_a_rollout_with_the_template_of_a_deployment() -> None:
    rollout = workload(AUTO_ON, kind="Rollout", name="canary")
    rollout["spec"] = {"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}
    lender = workload(config_maps=["app"], on_template={KEYS.search: "false"})
    by_name = {
        one.name: one
        for one in told(rollout, lender, reloader=Reloader("told", kinds=("rollouts",))).workloads
    }
    assert by_name["canary"].mechanisms[0].objects == ("configmap/app",)
    assert by_name["canary"].annotations[AUTO] == "true"
    # What stands on the Deployment's template stays there, so what hides it stays as well.
    assert by_name["canary"].carried == ()


def test_to_ignore_something_is_no_reason_to_roll() -> None:
    found = told(workload({"reroll.dev/ignore": "app"}, config_maps=["app"]))
    assert (found.workloads, found.summary.by) == ((), {})


ODD = st.one_of(st.none(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2))


@given(
    st.sampled_from(
        ["metadata", "spec", "annotations", "template", "carried", "containers", "volumes", "value"]
    ),
    ODD,
)
def test_no_shape_is_too_odd(where: str, odd: object) -> None:
    one = workload(dict(AUTO_ON), on_template=AUTO_ON, config_maps=["app"])
    template = one["spec"]["template"]
    if where in ("metadata", "spec"):
        one[where] = odd
    elif where == "annotations":
        one["metadata"]["annotations"] = odd
    elif where == "value":
        one["metadata"]["annotations"][KEYS.auto] = odd
    elif where == "template":
        one["spec"]["template"] = odd
    elif where == "carried":
        template["metadata"]["annotations"] = odd
    else:
        template["spec"][where] = odd
    assert told(one, config("app")).source == "these manifests"


def test_the_counts() -> None:
    found = told(
        workload(AUTO_ON, config_maps=["app"], name="a"),
        workload(on_template={"checksum/config": "x"}, config_maps=["app"], name="b"),
        workload(name="c"),
        config("app", {KEYS.match: "true"}),
    )
    assert found.summary.workloads == 3
    assert found.summary.by == {"Reloader": 1, "checksum": 1}
    assert found.summary.to_write == 2
    assert [one.name for one in found.workloads] == ["a", "b"]
    assert [one.config for one in found.configs] == ["configmap/shop/app"]
    assert not found.worth_a_look


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("app-5k9d7tt2mh", True), ("app-bcdfghkmtb", False), ("app-1234567890", False), ("5k9d7tt2mh", False)],
)
def test_names_with_a_hash(name: str, is_one: bool) -> None:
    assert hashed(name) is is_one


@pytest.mark.parametrize(
    ("key", "is_one"),
    [
        ("checksum/config", True),
        ("example.com/config-hash", True),
        ("wave.pusher.com/config-hash", False),
        ("prometheus.io/scrape", False),
    ],
)
def test_checksum_annotations(key: str, is_one: bool) -> None:
    assert is_checksum(key) is is_one
