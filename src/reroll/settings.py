"""What can be set, in one typed record, from flags, the environment and a file.

A flag wins over ``REROLL_*`` in the environment, which wins over the file, which wins over the default.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

from reroll.core.durations import parse_duration
from reroll.core.kinds import WorkloadKind, followed_kinds
from reroll.core.labels import LabelSelector
from reroll.core.marks import MarkStyle
from reroll.core.policy import PolicyDefaults, plural
from reroll.core.records import ConfigKind, WorkloadId
from reroll.core.selector import ALL_KINDS
from reroll.dialects import Dialects
from reroll.dialects.marks import STYLES
from reroll.dialects.reloader import DEFAULT_KEYS


class SettingsError(ValueError):
    """A setting that can't be used; the message names where it came from and what is valid."""


class Scope(Struct, frozen=True):
    """Which objects the settings are about, with their selectors and kinds read."""

    namespaces: tuple[str, ...]
    """Empty: all."""
    ignored: frozenset[str]
    """Namespaces that are left alone."""
    of_namespaces: LabelSelector
    of_workloads: LabelSelector
    of_configs: LabelSelector
    """What labels of config objects must match; others are known, and not followed."""
    kinds: Mapping[str, WorkloadKind]
    """The kinds of workload, by `WorkloadKind.id`."""

    def covers(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """True if the controller acts in a namespace that has these labels."""
        return not self.namespace_outside(namespace, labels)

    def namespace_outside(self, namespace: str, labels: Mapping[str, str]) -> str:
        """Why the controller does not act in this namespace, in words that name the setting; "" if it does."""
        if self.namespaces and namespace not in self.namespaces:
            return "its namespace is none of those that the controller works in (--namespace)"
        if namespace in self.ignored:
            return "its namespace is left alone (--namespaces-to-ignore)"
        if not self.of_namespaces.matches(labels):
            return "the labels of its namespace don't match --namespace-selector"
        return ""

    def outside(
        self, workload: WorkloadId, labels: Mapping[str, str], namespace_labels: Mapping[str, str]
    ) -> str:
        """Why the controller does not act on this workload, whatever its annotations say; "" if it does."""
        if workload.kind not in self.kinds:
            return "its kind is none of those that the controller follows (--kinds, --custom-kinds)"
        if not self.of_workloads.matches(labels):
            return "its labels don't match --workload-selector"
        return self.namespace_outside(workload.namespace, namespace_labels)


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The controller's settings. Times are seconds."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to work in; empty: all. A list needs no cluster-wide permission."""
    namespace_selector: str = ""
    """Label selector (`key=value,other!=x,key`) that namespaces must match; only with all namespaces."""
    workload_selector: str = ""
    """Label selector that workloads must match; the server applies it."""
    auto_all: bool = False
    """Follow everything each workload references, unless it says `reroll.dev/auto: "false"`."""
    namespaces_to_ignore: tuple[str, ...] = ()
    """Namespaces to leave alone."""
    config_kinds: str = "configmaps,secrets,secretproviderclasses"
    """Kinds of config object to follow. SecretProviderClasses: while the secrets-store CSI driver is installed."""
    config_selector: str = ""
    """Label selector that config objects must match to be followed."""
    on_create: Literal["auto", "always", "never"] = "auto"
    """Whether the creation of an object that was not there rolls; auto: if pods that run without it would use it."""
    on_delete: bool = False
    """Whether the deletion of an object rolls."""
    cron_jobs: Literal["template", "instantiate"] = "template"
    """What is done about a stale CronJob: mark its template for the next Job, or start a Job at once."""
    finished_jobs: bool = False
    """Create stale Jobs again although they are finished."""
    marks: Literal["reroll", "env-vars", "annotations", "wave"] = "reroll"
    """How pod templates are marked: as reroll does, as a strategy of Reloader, or as wave does."""
    kinds: str = "deployments,statefulsets,daemonsets,cronjobs,jobs,rollouts,deploymentconfigs"
    """Kinds of workload to follow. Argo's rollouts and OpenShift's deploymentconfigs: while they are served."""
    custom_kinds: str = ""
    """Further kinds: `PLURAL.VERSION.GROUP`, each with `=PATH` of its pod template if that is not spec.template."""
    settle: Annotated[float, Meta(ge=0, le=3600)] = 1.0
    """Wait this long after the last change, so that several become one rollout."""
    settle_max: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """But never longer than this after the first."""
    cross_namespace: bool = False
    """Let workloads follow objects of other namespaces that carry `reroll.dev/share-with`."""
    reloader_annotations: bool = True
    """Understand the annotations of stakater/Reloader."""
    beside_reloader: bool = False
    """Act on them though Reloader runs in the cluster, which then does the same."""
    alert_url: str = ""
    """Where to tell people what was done: addresses of chats and services, with white space between."""
    alert_sink: str = ""
    """What http(s) addresses want: slack, teams, gchat, raw, ...; empty: what their host tells."""
    alert_info: str = ""
    """Put in front of each message."""
    alert_proxy: str = ""
    """HTTP proxy for alerts and the webhook."""
    webhook_url: str = ""
    """Call this address for each change of a config object, and roll nothing."""
    leader_election: bool = False
    """Several controllers stand for election, and one acts; the others know everything and wait."""
    lease_name: Annotated[str, Meta(min_length=1)] = "reroll-controller"
    """Name of the Lease by which they do."""
    lease_namespace: str = ""
    """Its namespace; empty: the controller's own (or the context's)."""
    actors: Annotated[int, Meta(ge=1, le=500)] = 100
    """Workloads acted on at once, at most: fewer while the server takes longer to answer, so that an unrelated change
    does not wait behind a crowd."""
    actors_min: Annotated[int, Meta(ge=1, le=500)] = 4
    """But not fewer than these, or than `actors` where that is lower."""
    max_in_flight: Annotated[int, Meta(ge=1, le=1000)] = 120
    """Requests waiting for an answer at once."""
    field_manager: Annotated[str, Meta(min_length=1, max_length=128)] = "reroll"
    """The name under which the API server records what reroll changes."""
    listen: str = "127.0.0.1:8080"
    """Address of /livez, /readyz and /metrics; "" for none, a port 0 for any free one."""
    key_namespace: str = ""
    """Namespace of the digest key's Secret; empty: the controller's own (or the context's)."""
    key_secret: str = "reroll-digest-key"
    """Name of that Secret."""
    kubeconfig: str = ""
    """Path of a kubeconfig; empty: KUBECONFIG, ~/.kube/config, or the pod's service account."""
    context: str = ""
    """Context of the kubeconfig; empty: its current one."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "human", "json"] = "auto"
    """auto: human on a terminal, JSON otherwise."""

    # What follows from the settings, for all who decide by them: the controller, `reroll simulate`, `reroll explain`.

    def policy_defaults(self) -> PolicyDefaults:
        """What holds for a workload where no annotation says otherwise. Raises SettingsError."""
        return PolicyDefaults(
            auto_all=self.auto_all,
            settle=self.settle,
            settle_max=self.settle_max,
            allow_cross_namespace=self.cross_namespace,
            instantiate=self.cron_jobs == "instantiate",
            finished_jobs=self.finished_jobs,
            on_create={"auto": None, "always": True, "never": False}[self.on_create],
            on_delete=self.on_delete,
            kinds=self.followed_config_kinds(),
        )

    def dialects(self, *, reloader_runs: bool = False) -> Dialects:
        """Whose annotations are understood.

        `reloader_runs`: stakater/Reloader was found in the cluster. Its annotations are then left to it, because both
        together would roll twice, unless the setting `beside_reloader` says otherwise.
        """
        understood = self.reloader_annotations and (self.beside_reloader or not reloader_runs)
        return Dialects(reloader=DEFAULT_KEYS if understood else None)

    def mark_style(self) -> MarkStyle:
        """How pod templates are marked."""
        return STYLES[self.marks]

    def followed_kinds(self) -> dict[str, WorkloadKind]:
        """The kinds of workload, by `WorkloadKind.id`. Raises SettingsError."""
        try:
            return followed_kinds(self.kinds, self.custom_kinds)
        except ValueError as error:
            raise SettingsError(f"settings: {error}") from error

    def followed_config_kinds(self) -> tuple[ConfigKind, ...]:
        """The kinds of config object. Raises SettingsError."""
        return config_kinds(self.config_kinds)

    def scope(self) -> Scope:
        """Which objects are acted on at all. Raises SettingsError."""
        return Scope(
            namespaces=self.namespaces,
            ignored=frozenset(self.namespaces_to_ignore),
            of_namespaces=_selector("namespace_selector", self.namespace_selector),
            of_workloads=_selector("workload_selector", self.workload_selector),
            of_configs=_selector("config_selector", self.config_selector),
            kinds=self.followed_kinds(),
        )


def _selector(name: str, text: str) -> LabelSelector:
    """The setting of that name as a selector. Raises SettingsError."""
    try:
        return LabelSelector.parse(text)
    except ValueError as error:
        raise SettingsError(f"settings: {name}: {error}") from error


PREFIX = "REROLL_"
_INJECTED = re.compile(r"REROLL_(SERVICE_(HOST|PORT)|PORT|TEST_|REQUIRE_)")


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Put the settings together. `flags` holds only what was given. Raises SettingsError."""
    values: dict[str, Any] = {}
    if file:
        values.update(_from_file(Path(file)))
    values.update(_from_environment(environ))
    values.update({key: value for key, value in (flags or {}).items() if value is not None})
    for name in ("settle", "settle_max"):
        if isinstance(values.get(name), str):
            try:
                values[name] = parse_duration(values[name])
            except ValueError as error:
                raise SettingsError(f"settings: {name}: {values[name]!r} is {error}") from error
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings: {error}") from error
    settings.scope()
    settings.followed_config_kinds()
    if settings.namespace_selector and settings.namespaces:
        raise SettingsError(
            "settings: namespace_selector and namespaces exclude each other: "
            "a list of namespaces is watched one by one, and their labels are not read"
        )
    return settings


def config_kinds(words: str) -> tuple[ConfigKind, ...]:
    """The setting of that name as kinds. Raises SettingsError."""
    known = {plural(kind): kind for kind in ALL_KINDS}
    found = [word.strip().lower() for word in words.split(",") if word.strip()]
    for word in found:
        if word not in known:
            raise SettingsError(f"settings: config_kinds: {word!r} is none of {', '.join(known)}")
    return tuple(known[word] for word in known if word in found)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        values = tomllib.loads(text) if path.suffix == ".toml" else yaml.load(text, yaml.CSafeLoader)
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: expected a mapping of settings, found {type(values).__name__}")
    known = {field.name for field in msgspec.structs.fields(Settings)}
    values = {str(key).replace("-", "_"): value for key, value in values.items()}
    for key in values.keys() - known:
        raise SettingsError(f"{path}: unknown setting {key!r}; known are {', '.join(sorted(known))}")
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(Settings):
        value = environ.get(PREFIX + field.name.upper())
        if field.name == "namespaces":
            value = value or environ.get(PREFIX + "NAMESPACE")  # as the flag is called
        if value is None:
            continue
        if field.name in ("namespaces", "namespaces_to_ignore"):
            values[field.name] = tuple(part.strip() for part in value.split(",") if part.strip())
        else:
            values[field.name] = value.strip()
    return values


def unknown_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """``REROLL_*`` variables that set nothing, each with the name that was probably meant ("" if none is near).

    What Kubernetes itself injects for a Service named ``reroll`` is left out, and so is REROLL_CONFIG, which
    names the file.
    """
    known = {PREFIX + field.name.upper() for field in msgspec.structs.fields(Settings)}
    known |= {PREFIX + "NAMESPACE", PREFIX + "CONFIG"}
    return {
        name: next(iter(difflib.get_close_matches(name, sorted(known), 1)), "")
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known and not _INJECTED.match(name)
    }
