"""What is to be written on one workload. Pure.

The digest of all that it consumes is `reroll.core.digests.mark` over the same names and values as the controller
takes, so that of ConfigMaps (and, with the installation's key, of Secrets) it is what the controller writes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from reroll.core import digests
from reroll.core.applied import total
from reroll.core.compare import current, followed
from reroll.core.consumption import consumption
from reroll.core.records import ConfigId, ConfigState, Consumed, Missing
from reroll.manifests.edit import Edit, Remove, Set
from reroll.manifests.problem import ManifestError
from reroll.manifests.stamp.consumers import Consumer
from reroll.manifests.stamp.contents import Contents, secret_digest
from reroll.manifests.stamp.options import RECORD, Options

_OURS = re.compile(r"[A-Za-z0-9_-]{16}\Z")
_KINDS = ("configmap-", "secret-", "file-", "env-")


class Plan(NamedTuple):
    """The edits of one object's document, and what a person should know."""

    edits: list[Edit]
    notes: list[str]
    changes: list[str]
    """What the edits do, for people."""


def consumed(consumer: Consumer, contents: Contents) -> tuple[Consumed, ...]:
    """What this workload reads."""
    return consumption(consumer.record, consumer.policy, contents.names)


def plan(consumer: Consumer, contents: Contents, options: Options) -> Plan:
    """What is to be written on this workload; nothing where what it carries is right. Raises ManifestError."""
    notes: list[str] = []
    reads = consumed(consumer, contents)
    states = _states(consumer, reads, contents, options, notes)
    known = [c for c in reads if c.config in states]
    home = consumer.record.id.namespace
    counting, _ = followed(known, states, home)
    configs: dict[str, str] = {}
    for c in counting:
        state = states[c.config]
        assert not isinstance(state, str)
        configs[c.config.short(home)] = total(current(state, c))  # type: ignore[arg-type]  # none is Unknown
    for extra in options.extras:
        if extra.workload in ("", consumer.name):
            configs[extra.name] = digests.text(
                secret_digest(options.key, home, "", extra.name, extra.content)
            )
    if not configs:
        return Plan([], notes, [])
    target = (*consumer.path, *consumer.template, "metadata", "annotations")
    if options.per_object:
        return _per_object(consumer, configs, target, options, notes)
    digest = digests.mark(configs)
    if options.counter:
        return _counted(consumer, digest, target, options, notes)
    return _set(consumer, {options.annotation: digest}, (), target, notes)


def _states(
    consumer: Consumer, reads: Sequence[Consumed], contents: Contents, options: Options, notes: list[str]
) -> dict[ConfigId, ConfigState]:
    states: dict[ConfigId, ConfigState] = {}
    for c in reads:
        found = contents.state(c, consumer.where)
        if found is not None:
            states[c.config] = found
            continue
        short = f"{c.config.kind}/{c.config.name}"
        if c.config in contents.asked:
            states[c.config] = Missing()
            told = f"{consumer.name}: {short} is neither in the manifests nor in the cluster"
        else:
            told = (
                f"{consumer.name}: {short} is not in the manifests, so a change of it is not seen: --lookup asks the "
                f"cluster for it"
            )
        if c.optional or options.missing == "ignore":
            continue
        if options.missing == "fail":
            raise ManifestError(*consumer.where, told)
        notes.append(f"{consumer.where[0]}:{consumer.where[1]}: {told}")
    return states


def _set(
    consumer: Consumer, values: dict[str, str], gone: Sequence[str], target: tuple[Any, ...], notes: list[str]
) -> Plan:
    edits: list[Edit] = []
    changes: list[str] = []
    for name in gone:
        edits.append(Remove((*target, name)))
        changes.append(f"{consumer.name}: {name} goes")
    for name, value in values.items():
        before = consumer.carried.get(name)
        if before != value:
            edits.append(Set((*target, name), value))
            changes.append(f"{consumer.name}: {name} {'is new' if before is None else 'changes'}")
    return Plan(edits, notes, changes)


def _per_object(
    consumer: Consumer, configs: dict[str, str], target: tuple[Any, ...], options: Options, notes: list[str]
) -> Plan:
    prefix = options.annotation.partition("/")[0] + "/" if "/" in options.annotation else ""
    values = {prefix + _name(short): value or "absent" for short, value in configs.items()}
    gone = [
        name
        for name, value in consumer.carried.items()
        if name not in values
        and name.startswith(prefix)
        and name.removeprefix(prefix).startswith(_KINDS)
        and isinstance(value, str)
        and _OURS.match(value)
    ]
    return _set(consumer, values, gone, target, notes)


def _name(short: str) -> str:
    """``configmap/app`` as the name of an annotation: at most 63 characters."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", short)
    if len(name) > 63:
        name = f"{name[:52]}-{hashlib.sha256(short.encode()).hexdigest()[:10]}"
    return name.strip("-._")


def _counted(
    consumer: Consumer, digest: str, target: tuple[Any, ...], options: Options, notes: list[str]
) -> Plan:
    """The number grows when the digest is another than that which is recorded with it. A number that stands there
    without a record is taken to be right for what is there now."""
    recorded, carried = consumer.annotations.get(RECORD), consumer.carried.get(options.annotation)
    text = str(carried) if carried is not None else ""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0
    if text and not number and text != "0":
        raise ManifestError(
            *consumer.where, f"{consumer.name}: {options.annotation} is no number, so it can't be counted on"
        )
    if recorded == digest and carried is not None:
        return Plan([], notes, [])
    number += 1 if recorded is not None or carried is None else 0
    done = _set(consumer, {options.annotation: str(number)}, (), target, notes)
    record = Set((*consumer.path, "metadata", "annotations", RECORD), digest)
    return Plan([*done.edits, record], notes, done.changes or [f"{consumer.name}: its digest is recorded"])
