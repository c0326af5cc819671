"""Reloader's command line and environment, turned into reroll's settings.

The flags are those of Reloader 1.4.21, and they are read as it reads them: `--flag value`, `--flag=value`, switches
without a value, lists as lines of CSV (so that a Helm chart's literal quotes do no harm), texts that are on only when
they are exactly ``true``. What Reloader has no flag for can be set by those of `OWN`.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from reroll.dialects.reloader import Keys

Sort: TypeAlias = Literal["switch", "text", "list"]


class FlagError(ValueError):
    """A command line that can't be used; the message is for people."""


class Flag(NamedTuple):
    """One flag."""

    name: str
    sort: Sort
    help: str


FLAGS: Final = (
    Flag(
        "auto-reload-all",
        "switch",
        "follow everything each workload references, unless its auto annotation says no",
    ),
    Flag("reload-strategy", "text", "env-vars (default) or annotations: how pod templates are marked"),
    Flag("reload-on-create", "text", '"true": the creation of an object reloads those who follow it'),
    Flag("reload-on-delete", "text", '"true": the deletion of an object reloads those who follow it'),
    Flag("sync-after-restart", "switch", "accepted; changes made while reroll was away are always found"),
    Flag("resources-to-ignore", "list", "configmaps or secrets: leave them alone"),
    Flag("ignored-workload-types", "list", "jobs, cronjobs: leave them alone"),
    Flag("namespaces", "list", "namespaces to work in, without any permission for others"),
    Flag("namespaces-to-ignore", "list", "namespaces to leave alone"),
    Flag("namespace-selector", "list", "labels of the namespaces to work in"),
    Flag("resource-label-selector", "list", "labels of the ConfigMaps and Secrets to follow"),
    Flag("is-Argo-Rollouts", "text", '"true": follow Argo Rollouts'),
    Flag("is-openshift", "text", '"true": follow DeploymentConfigs'),
    Flag("enable-ha", "switch", "several replicas, of which one acts, by a Lease"),
    Flag("enable-csi-integration", "switch", "follow what the secrets-store CSI driver rotates"),
    Flag("webhook-url", "text", "call this URL for each change, and reload nothing"),
    Flag("log-format", "text", 'text ("") or json'),
    Flag("log-level", "text", "trace, debug, info, warning, error, fatal or panic"),
    Flag("enable-pprof", "switch", "accepted; pprof is for Go, and nothing is served for it"),
    Flag("pprof-addr", "text", "accepted, like enable-pprof"),
    Flag("configmap-annotation", "text", "name of the annotation configmap.reloader.stakater.com/reload"),
    Flag("secret-annotation", "text", "name of the annotation secret.reloader.stakater.com/reload"),
    Flag("auto-annotation", "text", "name of the annotation reloader.stakater.com/auto"),
    Flag("configmap-auto-annotation", "text", "name of the annotation configmap.reloader.stakater.com/auto"),
    Flag("secret-auto-annotation", "text", "name of the annotation secret.reloader.stakater.com/auto"),
    Flag("ignore-annotation", "text", "name of the annotation reloader.stakater.com/ignore"),
    Flag("auto-search-annotation", "text", "name of the annotation reloader.stakater.com/search"),
    Flag("search-match-annotation", "text", "name of the annotation reloader.stakater.com/match"),
    Flag(
        "pause-deployment-annotation",
        "text",
        "name of the annotation deployment.reloader.stakater.com/pause-period",
    ),
    Flag(
        "pause-deployment-time-annotation",
        "text",
        "name of the annotation deployment.reloader.stakater.com/paused-at",
    ),
)
"""All of Reloader's."""

OWN: Final = (
    Flag(
        "settle",
        "text",
        "wait this long after the last change, so that several are one reload; default 300ms",
    ),
    Flag("settle-max", "text", "but never longer than this after the first; default 5s"),
    Flag("listen", "text", "address of /live, /metrics, /livez and /readyz; default :9090"),
    Flag(
        "kubeconfig",
        "text",
        "path of a kubeconfig; default KUBECONFIG, ~/.kube/config, or the service account",
    ),
    Flag("context", "text", "context of the kubeconfig"),
    Flag("actors", "text", "workloads acted on at once, at most; default 100"),
    Flag("custom-kinds", "text", "further kinds of workload, as `reroll controller` takes them"),
    Flag("key-namespace", "text", "namespace of the Secret that holds the digest key"),
    Flag("key-secret", "text", "name of that Secret; default reroll-digest-key"),
)
"""What Reloader has no flag for."""

LEASE: Final = "stakater-reloader-lock"
"""Reloader's own: while it holds the Lease, reroll stands by, and never do both act."""

_KNOWN: Final = {flag.name: flag for flag in (*FLAGS, *OWN)}
_SPELLINGS: Final = {"is-argo-rollouts": "is-Argo-Rollouts", "isopenshift": "is-openshift"}
"""As its README has it."""
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_LEVELS: Final = {
    "panic": "error",
    "fatal": "error",
    "error": "error",
    "warn": "warning",
    "warning": "warning",
    "info": "info",
    "debug": "debug",
    "trace": "debug",
}
_RENAMED: Final = {
    "configmap-annotation": "configmap",
    "secret-annotation": "secret",
    "auto-annotation": "auto",
    "configmap-auto-annotation": "configmap_auto",
    "secret-auto-annotation": "secret_auto",
    "ignore-annotation": "ignore",
    "auto-search-annotation": "search",
    "search-match-annotation": "match",
    "pause-deployment-annotation": "pause_period",
    "pause-deployment-time-annotation": "paused_at",
}


class CommandLine(Struct, frozen=True):
    """What Reloader was asked for."""

    settings: dict[str, Any]
    """By the names of `reroll.settings.Settings`."""
    keys: Keys
    options: dict[str, Any]
    """The flags that were given."""
    by_namespace: bool = False
    """Its metrics count by namespace too."""
    notes: tuple[str, ...] = ()
    """What a person should know of it."""


Given: TypeAlias = dict[str, Any]
"""Flag -> its value: bool, str, or list of str."""


def parse(arguments: Sequence[str]) -> tuple[Given, tuple[str, ...]]:
    """(flags that were given, words that belong to none). Raises FlagError."""
    given: Given = {}
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            raise FlagError(f"{word}: Reloader has no flags of one letter; flags begin with two dashes")
        flag = _KNOWN.get(_SPELLINGS.get(name, name))
        if flag is None:
            raise FlagError(f"unknown flag: --{name}{_nearest(name)}")
        if flag.sort == "switch":
            given[flag.name] = _switch(flag, value) if equals else True
            continue
        if not equals:
            if not rest:
                raise FlagError(f"--{name} needs a value")
            value = rest.pop(0)
        if flag.sort == "list":
            given.setdefault(flag.name, []).extend(_items(flag, value))
        else:
            given[flag.name] = value
    return given, tuple(words)


def read(arguments: Sequence[str], environ: Mapping[str, str]) -> CommandLine:
    """What a command line and an environment ask for. Raises FlagError."""
    given, words = parse(arguments)
    notes = [f"{word!r} belongs to no flag, and does nothing" for word in words]
    settings: dict[str, Any] = {
        "settle": given.get("settle", environ.get("REROLL_SETTLE", "300ms")),
        "settle_max": given.get("settle-max", environ.get("REROLL_SETTLE_MAX", "5s")),
        "listen": given.get("listen", environ.get("REROLL_LISTEN", ":9090")),
        "cron_jobs": "instantiate",
        "finished_jobs": True,
        "auto_all": given.get("auto-reload-all", False),
        "marks": _strategy(given),
        "on_create": "always" if given.get("reload-on-create") == "true" else "never",
        "on_delete": given.get("reload-on-delete") == "true",
        "kinds": _kinds(given),
        "config_kinds": _config_kinds(given),
        "config_selector": _selector(given.get("resource-label-selector", ())),
        "log_level": _level(given.get("log-level", "info")),
        "log_format": _format(given.get("log-format", "")),
    }
    if given.get("enable-ha"):
        for variable in ("POD_NAME", "POD_NAMESPACE"):
            if not environ.get(variable):
                raise FlagError(f"{variable} not set, cannot run in HA mode without {variable} set")
        settings |= {
            "leader_election": True,
            "lease_name": LEASE,
            "lease_namespace": environ["POD_NAMESPACE"],
        }
    for name in ("kubeconfig", "context", "actors", "custom-kinds", "key-namespace", "key-secret"):
        if name in given:
            settings[name.replace("-", "_")] = given[name]
    if environ.get("ALERT_ON_RELOAD") == "true":
        settings |= {
            "alert_url": environ.get("ALERT_WEBHOOK_URL", ""),
            "alert_sink": environ.get("ALERT_SINK") or "raw",
            "alert_info": environ.get("ALERT_ADDITIONAL_INFO", ""),
        }
        if not settings["alert_url"]:
            notes.append("ALERT_ON_RELOAD is true, and ALERT_WEBHOOK_URL is not set: no alert is sent")
    settings |= {
        "alert_proxy": environ.get("ALERT_WEBHOOK_PROXY", ""),
        "webhook_url": given.get("webhook-url", ""),
    }
    if settings["webhook_url"]:
        notes.append("--webhook-url: changes are told to it, and nothing is reloaded")
    if "key_namespace" not in settings and environ.get("RELOADER_NAMESPACE"):
        settings["key_namespace"] = environ["RELOADER_NAMESPACE"]
    settings.update(_scope(given, environ, notes))
    for name in ("reload-on-create", "reload-on-delete", "is-Argo-Rollouts", "is-openshift"):
        value = given.get(name, "false")
        if value not in ("true", "false"):
            notes.append(f'--{name}={value}: only exactly "true" switches it on; it is off')
    if given.get("enable-pprof"):
        notes.append("--enable-pprof: pprof is for Go programs; nothing is served for it")
    keys = Keys(**{to: given[flag] for flag, to in _RENAMED.items() if given.get(flag)})
    return CommandLine(
        settings, keys, _public(given), environ.get("METRICS_COUNT_BY_NAMESPACE") == "enabled", tuple(notes)
    )


def _public(given: Given) -> dict[str, Any]:
    """The flags as others may read them: the webhook's address can hold a secret."""
    return {name: "(set)" if name == "webhook-url" and value else value for name, value in given.items()}


def _scope(given: Given, environ: Mapping[str, str], notes: list[str]) -> dict[str, Any]:
    """Where to work: --namespaces, else KUBERNETES_NAMESPACE, else everywhere but what is ignored."""
    namespaces = tuple(name for name in map(str.strip, given.get("namespaces", ())) if name)
    if not namespaces and environ.get("KUBERNETES_NAMESPACE"):
        namespaces = (environ["KUBERNETES_NAMESPACE"],)
    ignored = tuple(name for name in map(str.strip, given.get("namespaces-to-ignore", ())) if name)
    selector = _selector(given.get("namespace-selector", ()))
    if namespaces:
        scope = ", ".join(namespaces)
        idle = [name for name in ("namespaces-to-ignore", "namespace-selector") if given.get(name)]
        notes += [f"--{name} has no effect, for it works in {scope} only" for name in idle]
        return {"namespaces": namespaces}
    return {"namespaces": (), "namespaces_to_ignore": ignored, "namespace_selector": selector}


def _strategy(given: Given) -> str:
    strategy = str(given.get("reload-strategy", "env-vars"))
    if strategy in ("default", ""):
        return "env-vars"
    if strategy not in ("env-vars", "annotations"):
        raise FlagError(f"--reload-strategy: {strategy!r} must be one of: env-vars, annotations")
    return strategy


def _kinds(given: Given) -> str:
    kinds = ["deployments", "statefulsets", "daemonsets", "cronjobs", "jobs"]
    for word in map(str.strip, given.get("ignored-workload-types", ())):
        if word not in ("jobs", "cronjobs", ""):
            raise FlagError(f"--ignored-workload-types: accepts 'jobs', 'cronjobs', or both, not {word!r}")
        if word in kinds:
            kinds.remove(word)
    if given.get("is-Argo-Rollouts") == "true":
        kinds.append("rollouts")
    if given.get("is-openshift") != "false":
        kinds.append("deploymentconfigs")
    return ",".join(kinds)


def _config_kinds(given: Given) -> str:
    kinds = ["configmaps", "secrets"]
    ignored = [word.strip().lower() for word in given.get("resources-to-ignore", ()) if word.strip()]
    for word in ignored:
        if word not in kinds and word not in ("configmaps", "secrets"):
            raise FlagError(f"--resources-to-ignore: only accepts 'configmaps' or 'secrets', not {word!r}")
    if len(set(ignored)) > 1:
        raise FlagError("--resources-to-ignore: only accepts 'configmaps' or 'secrets', not both")
    kinds = [kind for kind in kinds if kind not in ignored]
    if given.get("enable-csi-integration"):
        kinds.append("secretproviderclasses")
    return ",".join(kinds)


def _selector(items: Sequence[str]) -> str:
    """Items as one label selector. ``key:value`` and ``key:*`` are Reloader's older notation."""
    parts = []
    for item in items:
        for part in _parts(item.strip().strip("\"'")):
            key, colon, value = part.partition(":")
            if colon and "=" not in part:
                part = key.strip() if value.strip() == "*" else f"{key.strip()}={value.strip()}"
            parts.append(part)
    return ",".join(part for part in parts if part)


def _parts(item: str) -> list[str]:
    """A selector at its commas, but for those in ``in (a,b)``."""
    parts, depth = [""], 0
    for character in item:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _level(value: str) -> str:
    level = _LEVELS.get(value.lower())
    if level is None:
        raise FlagError(f"--log-level: {value!r} is none of {', '.join(_LEVELS)}")
    return level


def _format(value: str) -> str:
    if value not in ("", "json"):
        raise FlagError(f'--log-format: {value!r} is neither "" (text) nor json')
    return value or "human"


def _switch(flag: Flag, value: str) -> bool:
    if value not in _TRUE | _FALSE:
        raise FlagError(f"--{flag.name}: {value!r} is neither true nor false")
    return value in _TRUE


def _items(flag: Flag, value: str) -> list[str]:
    try:
        return next(csv.reader([value], strict=True), [])
    except csv.Error as error:
        raise FlagError(f"--{flag.name}: {value!r} is no list: {error}") from error


def _nearest(name: str) -> str:
    lowered = {known.lower(): known for known in _KNOWN}
    close = difflib.get_close_matches(name.lower()[:64], lowered, 1)
    return f"; did you mean --{lowered[close[0]]}?" if close else "; `reroll reloader --help` lists all"
