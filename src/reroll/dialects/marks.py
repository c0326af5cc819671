"""The marks that other tools put on pod templates, written in their place, so that who looks for them finds them.

* Reloader's strategy ``env-vars``: an environment variable ``STAKATER_<NAME>_<TYPE>`` per config object, in the
  first regular container that consumes it, else in the first of all.
* Reloader's strategy ``annotations``: ``reloader.stakater.com/last-reloaded-from``, JSON about the last cause.
* wave: ``wave.pusher.com/config-hash``, one digest over everything.

Names and shapes are theirs, so that dashboards and scripts go on working; the values are reroll's. Theirs are plain
SHA-1 or SHA-256 of the content, by which whoever can read a workload can guess at a Secret (rule 5 of the design).
And Reloader's annotation holds the time of its own writing, so that two writers never agree (stakater/Reloader#777,
#1089): here it is the time at which the object changed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from reroll.core.applied import CONFIG, decode, total
from reroll.core.compare import ConfigChange
from reroll.core.marks import (
    NATIVE,
    MarkStyle,
    Template,
    annotate,
    free,
    next_mark,
    over_all,
    take_annotations,
)
from reroll.core.records import Applied, ConfigId, WorkloadRecord
from reroll.core.template import hash_and_mark

LAST_RELOADED_FROM: Final = "reloader.stakater.com/last-reloaded-from"
CONFIG_HASH: Final = "wave.pusher.com/config-hash"

_VARIABLE: Final = re.compile(r"STAKATER_[A-Z0-9_]+_(CONFIGMAP|SECRET|SECRETPROVIDERCLASS)")
_NOT_IN_NAMES: Final = re.compile(r"[^A-Z0-9]+")

Variables: TypeAlias = dict[tuple[str, str], str]
"""(container, variable) -> value."""


def variable(config: ConfigId) -> str:
    """The environment variable for one config object, such as ``STAKATER_APP_CONFIG_CONFIGMAP``."""
    return f"STAKATER_{_NOT_IN_NAMES.sub('_', config.name.upper())}_{config.kind.upper()}"


def carrier(record: WorkloadRecord, change: ConfigChange) -> str:
    """The container that the mark for this object is for; "" where the workload has none."""
    return next((ref.container for ref in change.references if ref.container), "") or record.carrier


def digest_of(record: WorkloadRecord, applied: Applied, change: ConfigChange, suffix: str = "") -> str:
    """40 hexadecimal characters, as many as Reloader's have: over what is consumed of one object. `suffix` makes
    another digest of it."""
    short = change.config.short(record.id.namespace)
    digest = _hash(short, total(applied.configs.get(short)))
    return _hash(digest, suffix) if suffix else digest


def _hash(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=20).hexdigest()


class EnvVars:
    """Reloader's strategy ``env-vars``. Only what changed is written, as it has it; variables that nothing
    references any more stay, for to take them away would be a rollout."""

    by_name = True

    def take(self, template: Template) -> str | None:
        fallback = take_annotations(template)
        found: Variables = {}
        spec = template.get("spec")
        containers = spec.get("containers") if isinstance(spec, dict) else None
        for container in containers if isinstance(containers, list) else ():
            if isinstance(container, dict):
                found.update(_taken(container))
        if found:
            return _held(found)
        return fallback

    def next(
        self, record: WorkloadRecord, applied: Applied, changes: Sequence[ConfigChange], *, since: int = 0
    ) -> str:
        if not record.carrier:
            return next_mark(record, applied, since=since)
        present = _read(record.mark)

        def mark(suffix: str) -> str:
            held = dict(present)
            for change in changes:
                at = (carrier(record, change), variable(change.config))
                held[at] = digest_of(record, applied, change, suffix)
            return _held(held)

        return free(record, mark, since=since)

    def patch(self, mark: str, present: str | None) -> Template:
        wanted, there = _read(mark), _read(present)
        if not wanted:
            return NATIVE.patch(mark, present)
        containers: dict[str, list[dict[str, str]]] = {}
        for (container, name), value in sorted(wanted.items()):
            if there.get((container, name)) != value:
                containers.setdefault(container, []).append({"name": name, "value": value})
        return {"spec": {"containers": [{"name": name, "env": env} for name, env in containers.items()]}}

    def put(self, template: Template, mark: str) -> None:
        wanted = _read(mark)
        if not wanted:
            NATIVE.put(template, mark)
            return
        spec = dict(template["spec"])
        spec["containers"] = [_with(container, wanted) for container in spec["containers"]]
        template["spec"] = spec


def _taken(container: dict[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """The variables of one container, which are taken out of it."""
    env = container.get("env")
    if not isinstance(env, list):
        return
    kept = []
    for entry in env:
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str) and "valueFrom" not in entry and _VARIABLE.fullmatch(name):
            yield (str(container.get("name", "")), name), str(entry.get("value", ""))
        else:
            kept.append(entry)
    if kept:
        container["env"] = kept
    else:
        del container["env"]


def _with(container: Mapping[str, Any], wanted: Variables) -> dict[str, Any]:
    """A copy of one container that has the variables that are its."""
    ours = {name: value for (of, name), value in wanted.items() if of == container.get("name")}
    env = [entry for entry in container.get("env") or () if entry.get("name") not in ours]
    env += [{"name": name, "value": value} for name, value in sorted(ours.items())]
    return {**container, "env": env} if env else dict(container)


def _held(variables: Variables) -> str:
    """Variables as one string; the same for the same ones."""
    return msgspec.json.encode([[*at, value] for at, value in sorted(variables.items())]).decode()


_decode_held = msgspec.json.Decoder(list[tuple[str, str, str]]).decode


def _read(mark: str | None) -> Variables:
    """What `_held` made; empty of anything else."""
    try:
        return {(container, name): value for container, name, value in _decode_held(mark or "[]")}
    except msgspec.DecodeError:
        return {}


class LastReloadedFrom:
    """Reloader's strategy ``annotations``. There is one cause in it: of several changes, the last one."""

    by_name = False

    def take(self, template: Template) -> str | None:
        return take_annotations(template, LAST_RELOADED_FROM)

    def next(
        self, record: WorkloadRecord, applied: Applied, changes: Sequence[ConfigChange], *, since: int = 0
    ) -> str:
        last = max(changes, key=lambda change: (change.change.version, change.change.stamp, change.config))

        def mark(suffix: str) -> str:
            return _cause(record, last, digest_of(record, applied, last, suffix))

        return free(record, mark, since=since)

    def patch(self, mark: str, present: str | None) -> Template:
        return {"metadata": {"annotations": {LAST_RELOADED_FROM: mark}}}

    def put(self, template: Template, mark: str) -> None:
        annotate(template, LAST_RELOADED_FROM, mark)


def _cause(record: WorkloadRecord, change: ConfigChange, digest: str) -> str:
    container = carrier(record, change)
    cause = {
        "type": change.config.kind.upper(),
        "name": change.config.name,
        "namespace": change.config.namespace,
        "hash": digest,
        "containerRefs": [container] if container else [],
        "observedAt": int(change.change.stamp or change.change.arrived),
    }
    return msgspec.json.encode(cause).decode()


class ConfigHash:
    """wave's annotation."""

    by_name = False

    def take(self, template: Template) -> str | None:
        return take_annotations(template, CONFIG_HASH)

    def next(
        self, record: WorkloadRecord, applied: Applied, changes: Sequence[ConfigChange], *, since: int = 0
    ) -> str:
        def mark(suffix: str) -> str:
            return hashlib.sha256(over_all(applied, suffix).encode()).hexdigest()

        return free(record, mark, since=since)

    def patch(self, mark: str, present: str | None) -> Template:
        return {"metadata": {"annotations": {CONFIG_HASH: mark}}}

    def put(self, template: Template, mark: str) -> None:
        annotate(template, CONFIG_HASH, mark)


StyleName: TypeAlias = Literal["reroll", "env-vars", "annotations", "wave"]

STYLES: Final[Mapping[str, MarkStyle]] = {
    "reroll": NATIVE,
    "env-vars": EnvVars(),
    "annotations": LastReloadedFrom(),
    "wave": ConfigHash(),
}
"""By the name that the setting `marks` has for them."""


def style_of(template: bytes | msgspec.Raw, recorded: str | None, otherwise: MarkStyle = NATIVE) -> MarkStyle:
    """How the controller of a workload marks it: the style under which the hash of its pod template, in JSON, equals
    the recorded one (annotation `reroll.dev/applied`, None where it has none). Several may do so while there is no
    mark: `otherwise` is then preferred, and it is the answer where none does.

    In another style its marks look as if somebody else had changed the template, and so do marks of another tool that
    its controller takes for part of it.
    """
    try:
        wanted = decode(recorded).template if recorded is not None else None
    except ValueError:
        wanted = None
    if wanted is None:
        return otherwise
    styles = dict.fromkeys([otherwise, *STYLES.values()])
    return next((s for s in styles if hash_and_mark(template, s.take)[0] == wanted), otherwise)


SIGNS: Final = (b"STAKATER_", LAST_RELOADED_FROM.encode(), CONFIG_HASH.encode())
"""One of them is in the JSON of each workload that carries marks of other tools."""

KEYS: Final = (CONFIG, LAST_RELOADED_FROM, CONFIG_HASH)
"""Every annotation of a pod template that is a mark in some style."""
