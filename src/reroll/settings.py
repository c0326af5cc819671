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
from reroll.core.kinds import followed_kinds
from reroll.core.policy import plural
from reroll.core.records import ConfigKind
from reroll.core.selector import ALL_KINDS


class SettingsError(ValueError):
    """A setting that can't be used; the message names where it came from and what is valid."""


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
    actors: Annotated[int, Meta(ge=1, le=500)] = 40
    """Workloads acted on at once, at most: fewer while the server takes longer to answer, so that an unrelated change
    does not wait behind a crowd."""
    actors_min: Annotated[int, Meta(ge=1, le=500)] = 4
    """But not fewer than these, or than `actors` where that is lower."""
    max_in_flight: Annotated[int, Meta(ge=1, le=1000)] = 60
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
    try:
        followed_kinds(settings.kinds, settings.custom_kinds)
    except ValueError as error:
        raise SettingsError(f"settings: {error}") from error
    config_kinds(settings.config_kinds)
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
