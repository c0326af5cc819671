"""What changes, and when: read from options in their order, or from a scenario file, which is a YAML list.

    - set: configmap/shop/app:level=debug
    - at: 30s
      unset: configmap/shop/app:level
    - at: 1m
      change: new/            # manifests as they will be, of objects that are there; relative to this file
    - delete: secret/shop/db  # also at 1m

A time counts from the start, and holds for what follows it, until the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import yaml
from msgspec import Struct
from msgspec.structs import replace

from reroll.core.durations import parse_duration
from reroll.core.kinds import find_kind
from reroll.core.records import ConfigId, WorkloadId
from reroll.core.selector import KIND_WORDS
from reroll.insight.simulation.bad_input import BadInput, Origin
from reroll.insight.simulation.documents import yaml_problem

Action: TypeAlias = Literal["set", "unset", "delete", "change", "apply"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)


class Step(Struct, frozen=True):
    """One change."""

    at: float
    """Seconds after the start."""
    action: Action
    origin: Origin
    """Names the option without its value, which may be a Secret's."""
    target: ConfigId | WorkloadId | None = None
    """Of set, unset and delete."""
    key: str = ""
    value: str = ""
    path: str = ""
    """Of change and apply: where the manifests are; "-" is standard input."""


def from_options(options: Sequence[tuple[str, str]], default_namespace: str) -> list[Step]:
    """Steps of (name, value) in the order of the command line: ``("at", "30s"), ("set", "configmap/a:b=c")``.

    Raises BadInput.
    """
    at = 0.0
    steps = []
    for name, value in options:
        if name == "at":
            at = _time(value, at, Origin("--at"))
        else:
            steps.append(_step(name, value, at, Origin(f"--{name}"), default_namespace))
    return steps


def from_file(path: str, default_namespace: str) -> list[Step]:
    """Steps of a scenario file. Raises BadInput."""
    place = Path(path)
    try:
        text = place.read_bytes().decode()
        node = yaml.compose(text, yaml.CSafeLoader)
    except OSError as error:
        raise BadInput(Origin(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(Origin(path), "is not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise BadInput(*yaml_problem(error, path, text)) from error
    if not isinstance(node, yaml.SequenceNode):
        raise BadInput(
            Origin(path), "a scenario is a list of changes, such as: - set: configmap/shop/app:level=debug"
        )
    return list(_steps(node, path, default_namespace))


def _steps(node: yaml.SequenceNode, path: str, default_namespace: str) -> Iterator[Step]:
    at = 0.0
    for item in node.value:
        origin = Origin(path, item.start_mark.line + 1)
        fields: dict[str, str] = {}
        for key, value in item.value if isinstance(item, yaml.MappingNode) else ():
            if not isinstance(value, yaml.ScalarNode):
                raise BadInput(Origin(path, value.start_mark.line + 1), f"{key.value} takes text")
            fields[str(key.value)] = value.value
        if "at" in fields:
            at = _time(fields.pop("at"), at, origin)
        if len(fields) != 1:
            raise BadInput(
                origin, f"a step has one change, which is one of {', '.join(ACTIONS)}, and may have at"
            )
        [(name, text)] = fields.items()
        step = _step(name, text, at, origin, default_namespace)
        if step.path and step.path != "-":
            step = replace(step, path=str(Path(path).parent / step.path))
        yield step


def _time(text: str, before: float, origin: Origin) -> float:
    try:
        at = parse_duration(text)
    except ValueError as error:
        raise BadInput(origin, f"{text!r} is {error}") from error
    if at < before:
        raise BadInput(
            origin, f"{text} lies before the time of the change before it; times count from the start"
        )
    return at


def _step(name: str, text: str, at: float, origin: Origin, default_namespace: str) -> Step:
    if name in ("change", "apply"):
        if not text:
            raise BadInput(origin, "expected a file or a folder of manifests")
        return Step(at, "change" if name == "change" else "apply", origin, path=text)
    if name == "delete":
        return Step(at, "delete", origin, _target(text, origin, default_namespace))
    if name not in ("set", "unset"):
        raise BadInput(origin, f"{name[:40]!r} is no change; there are {', '.join(ACTIONS)}")
    where, colon, rest = text.partition(":")
    key, equals, value = rest.partition("=")
    form = "configmap/NAMESPACE/NAME:KEY" + ("=VALUE" if name == "set" else "")
    if not colon or not key or (name == "set") != bool(equals):
        raise BadInput(origin, f"write {form}, or secret/... ; without NAMESPACE it is {default_namespace!r}")
    target = _target(where, origin, default_namespace)
    if not isinstance(target, ConfigId):
        raise BadInput(origin, f"{target} has no keys; write {form}")
    return Step(at, "set" if name == "set" else "unset", origin, target, key, value)


def _target(text: str, origin: Origin, default_namespace: str) -> ConfigId | WorkloadId:
    """``configmap/shop/app``, ``secret/db``, ``deployment/shop/web``."""
    parts = text.split("/")
    if len(parts) in (2, 3) and all(parts):
        word, name = parts[0].lower(), parts[-1]
        namespace = parts[1] if len(parts) == 3 else default_namespace
        if word in KIND_WORDS:
            return ConfigId(KIND_WORDS[word], namespace, name)
        kind = find_kind(word)
        if kind is not None:
            return WorkloadId(kind.kind, namespace, name)
    shown = text.partition(":")[0].partition("=")[0][:80]
    raise BadInput(
        origin, f"{shown!r} names no object; write configmap/NAMESPACE/NAME, secret/..., deployment/..."
    )
