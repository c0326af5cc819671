"""What each Pod runs with, as text, at the path /sandbox/pods."""

from __future__ import annotations

from collections.abc import Iterator

from reroll.sandbox.content import Finding, Given
from reroll.sandbox.kinds import POD
from reroll.sandbox.kubelet import Kubelet
from reroll.sandbox.storage import Storage

_WIDTH = 60


def pods_page(storage: Storage, kubelet: Kubelet) -> str:
    """Every Pod with its variables and files that are of ConfigMaps and Secrets, and which of them are old.

    Values of Secrets are shown by their digest alone.
    """
    lines: list[str] = []
    for pod in storage.objects(POD):
        lines += _pod(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}", pod, kubelet)
    return "\n".join([*(lines or ["There are no Pods."]), ""])


def _pod(name: str, pod: dict[str, object], kubelet: Kubelet) -> Iterator[str]:
    old = {(finding.container, finding.where): finding for finding in kubelet.stale(pod)}
    yield f"{name}: {f'{len(old)} of what it runs with is old' if old else 'up to date'}"
    for container in kubelet.content(pod).containers:
        for where, given in sorted({**container.env, **container.files}.items()):
            finding = old.pop((container.name, where), None)
            if given.kind:
                yield f"  {container.name} {where} = {_value(given, finding)}"
    for finding in old.values():
        yield f"  {finding.container} {finding.where}: not there; a new Pod has {_cut(finding.now)}"


def _value(given: Given, finding: Finding | None) -> str:
    source = f"({given.means} of {given.kind}/{given.object}, key {given.key})"
    shown = "a value of a Secret" if given.kind == "secret" else _cut(given.value.decode(errors="replace"))
    if finding is None:
        return f"{shown} {source}"
    now = "nothing" if finding.now is None else "another" if given.kind == "secret" else _cut(finding.now)
    never = ", and this one will never see it" if given.bound or given.means in ("env", "envFrom") else ""
    return f"{shown} {source}: OLD, a new Pod has {now}{never}"


def _cut(value: str | None) -> str:
    text = repr(value or "")
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"
