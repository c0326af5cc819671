"""Reloader's command line and environment."""

from __future__ import annotations

from typing import Any

import pytest

from reroll.cli.reloader_flags import FLAGS, CommandLine, FlagError, parse, read
from reroll.settings import load
from tests.cli.command import reroll

NAMES = {
    "auto-reload-all", "configmap-annotation", "secret-annotation", "auto-annotation", "ignore-annotation",
    "configmap-auto-annotation", "secret-auto-annotation", "auto-search-annotation", "search-match-annotation",
    "pause-deployment-annotation", "pause-deployment-time-annotation", "log-format", "log-level", "webhook-url",
    "resources-to-ignore", "ignored-workload-types", "namespaces", "namespaces-to-ignore", "namespace-selector",
    "resource-label-selector", "is-Argo-Rollouts", "reload-strategy", "reload-on-create", "reload-on-delete",
    "enable-ha", "sync-after-restart", "enable-pprof", "pprof-addr", "enable-csi-integration",
}  # fmt: skip
"""All flags of Reloader 1.4.21 (internal/pkg/util/util.go, ConfigureReloaderFlags)."""


APPS = "deployments,statefulsets,daemonsets"


def asked(*arguments: str, **environ: str) -> CommandLine:
    return read(arguments, environ)


def setting(name: str, *arguments: str, **environ: str) -> Any:
    return asked(*arguments, **environ).settings[name]


def test_every_flag_of_reloader_is_there() -> None:
    assert {flag.name for flag in FLAGS} == NAMES | {"is-openshift"}


class TestGrammar:
    @pytest.mark.parametrize(
        ("arguments", "given"),
        [
            (["--log-level=debug"], {"log-level": "debug"}),
            (["--log-level", "debug"], {"log-level": "debug"}),
            (["--log-level="], {"log-level": ""}),
            (["--auto-reload-all"], {"auto-reload-all": True}),
            (["--auto-reload-all=true"], {"auto-reload-all": True}),
            (["--auto-reload-all=F"], {"auto-reload-all": False}),
            (["--namespaces=a,b", "--namespaces", "c"], {"namespaces": ["a", "b", "c"]}),
            (['--namespace-selector="a=b,c in (d,e)"'], {"namespace-selector": ["a=b,c in (d,e)"]}),
            (["--is-argo-rollouts=true"], {"is-Argo-Rollouts": "true"}),
            (["--", "--unknown"], {}),
        ],
    )
    def test_it_is_read_as_reloader_reads_it(self, arguments: list[str], given: dict[str, Any]) -> None:
        assert parse(arguments)[0] == given

    def test_a_switch_takes_no_word_that_follows(self) -> None:
        assert parse(["--enable-ha", "false"]) == ({"enable-ha": True}, ("false",))
        assert "'false' belongs to no flag" in asked("--auto-reload-all", "false").notes[0]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--auto-reload"], "unknown flag: --auto-reload; did you mean --auto-reload-all?"),
            (["--is-argo-rollout=true"], "did you mean --is-Argo-Rollouts?"),
            (["--zzz"], "unknown flag: --zzz; `reroll reloader --help` lists all"),
            (["-v"], "flags begin with two dashes"),
            (["--log-level"], "--log-level needs a value"),
            (["--enable-ha=maybe"], "--enable-ha: 'maybe' is neither true nor false"),
            (['--namespaces="a'], "is no list"),
            (["--reload-strategy=both"], "must be one of: env-vars, annotations"),
            (["--resources-to-ignore=pods"], "only accepts 'configmaps' or 'secrets', not 'pods'"),
            (["--resources-to-ignore=configmaps,secrets"], "not both"),
            (["--ignored-workload-types=pods"], "accepts 'jobs', 'cronjobs', or both"),
            (["--log-level=loud"], "--log-level: 'loud' is none of"),
            (["--log-format=text"], "neither"),
        ],
    )
    def test_what_can_not_be_used_is_told(self, arguments: list[str], message: str) -> None:
        with pytest.raises(FlagError, match=r".") as found:
            asked(*arguments)
        assert message in str(found.value)


class TestMeaning:
    @pytest.mark.parametrize(
        ("arguments", "name", "value"),
        [
            ([], "marks", "env-vars"),
            (["--reload-strategy=default"], "marks", "env-vars"),
            (["--reload-strategy=annotations"], "marks", "annotations"),
            ([], "on_create", "never"),
            (["--reload-on-create=true"], "on_create", "always"),
            (["--reload-on-create=True"], "on_create", "never"),
            ([], "on_delete", False),
            (["--reload-on-delete=true"], "on_delete", True),
            ([], "settle", "300ms"),
            (["--settle=2s"], "settle", "2s"),
            ([], "kinds", f"{APPS},cronjobs,jobs,deploymentconfigs"),
            (["--ignored-workload-types=jobs,cronjobs", "--is-openshift=false"], "kinds", APPS),
            (["--is-Argo-Rollouts=true", "--is-openshift=false"], "kinds", f"{APPS},cronjobs,jobs,rollouts"),
            ([], "config_kinds", "configmaps,secrets"),
            (["--resources-to-ignore=Secrets"], "config_kinds", "configmaps"),
            (["--enable-csi-integration=true"], "config_kinds", "configmaps,secrets,secretproviderclasses"),
            (["--resource-label-selector=a:b,c:*", "--resource-label-selector=d=e"], "config_selector", "a=b,c,d=e"),
            (['--namespace-selector="env=prod,tier in (a,b)"'], "namespace_selector", "env=prod,tier in (a,b)"),
            (["--namespaces-to-ignore=kube-system,dev"], "namespaces_to_ignore", ("kube-system", "dev")),
            (["--log-level=trace"], "log_level", "debug"),
            (["--log-format=json"], "log_format", "json"),
            ([], "log_format", "human"),
        ],
    )  # fmt: skip
    def test_as_a_setting(self, arguments: list[str], name: str, value: Any) -> None:
        assert setting(name, *arguments) == value
        load(asked(*arguments).settings, environ={})

    def test_where_it_works(self) -> None:
        assert setting("namespaces") == ()
        assert setting("namespaces", KUBERNETES_NAMESPACE="shop") == ("shop",)
        assert setting("namespaces", "--namespaces=a,b", KUBERNETES_NAMESPACE="shop") == ("a", "b")

    def test_a_scope_makes_other_choices_of_namespaces_idle(self) -> None:
        found = asked("--namespaces-to-ignore=a", "--namespace-selector=x=y", KUBERNETES_NAMESPACE="shop")
        assert "namespace_selector" not in found.settings
        assert len(found.notes) == 2

    def test_annotations_get_other_names(self) -> None:
        keys = asked(
            "--auto-annotation=acme.io/auto", "--pause-deployment-time-annotation", "acme.io/at"
        ).keys
        assert (keys.auto, keys.paused_at) == ("acme.io/auto", "acme.io/at")
        assert keys.search == "reloader.stakater.com/search"

    def test_what_is_off_though_it_seems_on_is_told(self) -> None:
        (note,) = asked("--reload-on-create=True").notes
        assert 'only exactly "true"' in note

    def test_several_replicas_share_reloaders_own_lease(self) -> None:
        found = asked("--enable-ha", POD_NAME="reloader-1", POD_NAMESPACE="tools").settings
        assert (found["leader_election"], found["lease_name"], found["lease_namespace"]) == (
            True,
            "stakater-reloader-lock",
            "tools",
        )
        with pytest.raises(FlagError, match="POD_NAMESPACE not set"):
            asked("--enable-ha", POD_NAME="reloader-1")

    def test_alerts_by_the_environment(self) -> None:
        given = {"ALERT_ON_RELOAD": "true", "ALERT_WEBHOOK_URL": "https://a.example/x", "ALERT_SINK": "teams"}
        found = asked(**given).settings
        assert (found["alert_url"], found["alert_sink"]) == ("https://a.example/x", "teams")
        assert "alert_url" not in asked(**{**given, "ALERT_ON_RELOAD": "yes"}).settings
        assert "no alert is sent" in asked(ALERT_ON_RELOAD="true").notes[0]

    def test_others_are_not_told_the_address_of_the_webhook(self) -> None:
        found = asked("--webhook-url=https://a.example/secret", "--namespaces=a")
        assert found.options == {"webhook-url": "(set)", "namespaces": ["a"]}

    def test_metrics_by_namespace(self) -> None:
        assert asked(METRICS_COUNT_BY_NAMESPACE="enabled").by_namespace
        assert not asked(METRICS_COUNT_BY_NAMESPACE="true").by_namespace


def test_help_lists_every_flag() -> None:
    found = reroll("reloader", "--help")
    assert found.returncode == 0
    for name in NAMES:
        assert f"--{name} " in found.stdout


def test_an_unknown_flag_names_the_nearest() -> None:
    found = reroll("reloader", "--reload-on-creation=true")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == "reroll: unknown flag: --reload-on-creation; did you mean --reload-on-create?\n"
