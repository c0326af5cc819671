"""The annotations of wave (wave-k8s/wave), read as reroll's policy.

``wave.pusher.com/update-on-config-change: "true"`` on a Deployment, StatefulSet or DaemonSet follows everything that
its pod template references. ``wave.pusher.com/extra-configmaps`` and ``extra-secrets`` name further objects, with
commas between, each as ``NAME`` or ``NAMESPACE/NAME``. wave reads all keys of those, and so does reroll, as nothing
references them. Without the first annotation the other two do nothing.

wave keeps its own hash in ``wave.pusher.com/config-hash`` on the pod template (`reroll.dialects.marks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from reroll.core.policy import Layer, Problem
from reroll.core.records import ConfigKind
from reroll.core.selector import NAME, Selector
from reroll.dialects.marks import CONFIG_HASH as CONFIG_HASH

PREFIX: Final = "wave.pusher.com/"
UPDATE: Final = PREFIX + "update-on-config-change"
EXTRA: Final[Mapping[ConfigKind, str]] = {
    "configmap": PREFIX + "extra-configmaps",
    "secret": PREFIX + "extra-secrets",
}


def wave_layer(annotations: Mapping[str, str], origin: str) -> Layer | None:
    """What wave's annotations on a workload say; None if there are none, or if they ask for nothing.

    `origin` names the workload for people: ``the workload``. Never raises.
    """
    if not any(key.startswith(PREFIX) for key in annotations):
        return None
    problems: list[Problem] = []
    if annotations.get(UPDATE) != "true":
        without = f'it does nothing without {UPDATE}: "true"'
        problems += [
            _problem(key, annotations[key], origin, without) for key in EXTRA.values() if key in annotations
        ]
        if UPDATE in annotations and annotations[UPDATE] != "false":
            problems.append(_problem(UPDATE, annotations[UPDATE], origin, 'only "true" has an effect'))
        return Layer(problems=tuple(problems)) if problems else None
    where = f"annotation {UPDATE} of {origin}"
    origins = {"configmaps": where, "secrets": where}
    follow: list[Selector] = []
    for kind, key in EXTRA.items():
        if key in annotations:
            origins["follow"] = f"annotation {key} of {origin}"
            for item in map(str.strip, annotations[key].split(",")):
                namespace, _, name = item.rpartition("/")
                if NAME.fullmatch(name) and (not namespace or NAME.fullmatch(namespace)):
                    follow.append(Selector(kind=kind, namespace=namespace or None, pattern=name))
                elif item:
                    message = f"{item[:80]!r} is neither NAME nor NAMESPACE/NAME; the other items hold"
                    problems.append(_problem(key, item, origin, message))
    return Layer(
        configmaps=True,
        secrets=True,
        follow=tuple(dict.fromkeys(follow)) if "follow" in origins else None,
        origins=origins,
        problems=tuple(problems),
    )


def _problem(key: str, value: str, origin: str, message: str) -> Problem:
    return Problem(annotation=key, value=value[:80], message=f"{key}: {value[:80]!r} on {origin}: {message}")
