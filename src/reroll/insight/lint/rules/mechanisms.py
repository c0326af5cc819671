"""R5xx: what makes a workload follow its configuration: too much of it, too little, or in the wrong place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reroll.core.policy import AUTO, FOLLOW, SEARCH
from reroll.dialects import reloader, wave
from reroll.insight.lint.finding import Finding, Rule
from reroll.insight.lint.uses import Use
from reroll.insight.lint.world import Workload, World
from reroll.manifests.stream import Document

RULES = (
    Rule(
        "R501",
        "two-mechanisms",
        "warning",
        "Several reload mechanisms on one workload",
        "Each acts on a change by itself, so one change is two rollouts, and the second aborts the first.",
        "Keep one. Where reroll's controller runs, Reloader's and wave's annotations are understood as they are.",
    ),
    Rule(
        "R502",
        "checksum-covers-less",
        "warning",
        "Checksum annotations that do not cover all that the pods consume",
        "A deploy that changes what is not covered restarts nothing, and the pods run old configuration.",
        "Add an annotation for each file, or let `reroll stamp` write one over exactly what is consumed.",
    ),
    Rule(
        "R503",
        "checksum-misplaced",
        "warning",
        "A checksum annotation on the workload instead of its pod template",
        "Only a change of the pod template starts a rollout: on the workload's own metadata it does nothing.",
        "Move it to `spec.template.metadata.annotations`.",
    ),
)

CHECKSUM = re.compile(
    r"(?:^|[/.-])(?:checksum|sha256sum)|^rollme$|^configmap-version$|(?:config|secret)-?(?:hash|checksum)$",
    re.I,
)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_SECRET_WORDS = re.compile(r"secret|cred|passw|token|tls|cert|auth|env|config\Z|\Aall\Z|values", re.I)
_SOURCE = re.compile(r"^# Source: (\S+)", re.MULTILINE)


def mechanisms(workload: Workload) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What makes a workload follow: the name of each mechanism -> (annotation, path of the mapping it stands in)."""
    own, carried = workload.annotations, workload.template_annotations
    on_template = tuple(str(step) for step in (*workload.template_at, "metadata", "annotations"))
    on_object = ("metadata", "annotations")
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for key in (AUTO, FOLLOW, SEARCH):
        if key in own and own[key].strip().lower() not in ("", "false"):
            found.setdefault("reroll", (key, on_object))
    layer = reloader.reloader_layer(own, carried, "the workload", kind=workload.kind)
    if layer is not None and (
        layer.configmaps or layer.secrets or layer.secretproviderclasses or layer.search or layer.follow
    ):
        keys = reloader.DEFAULT_KEYS
        for place, where in ((own, on_object), (carried, on_template)):
            for key in place:
                if keys.read(key):
                    found.setdefault("Reloader", (key, where))
    if own.get(wave.UPDATE) == "true":
        found["wave"] = (wave.UPDATE, on_object)
    for key in carried:
        if CHECKSUM.search(key):
            found.setdefault("a checksum annotation", (key, on_template))
    return found


def check(world: World) -> Iterator[Finding]:
    for workload in world.workloads:
        found = mechanisms(workload)
        # A deploy that changes the configuration and its checksum is one rollout to reroll, the user's.
        if len(found) > 1 and found.keys() != {"reroll", "a checksum annotation"}:
            last, where = list(found.values())[-1]
            yield workload.found(
                "R501",
                "warning",
                (*where, last),
                f"{workload.shown} follows its configuration by {' and by '.join(found)}: a change is a rollout for "
                f"each of them. Keep one",
            )
        for key in workload.annotations:
            if CHECKSUM.search(key) and "/" in key and key not in workload.template_annotations:
                yield workload.found(
                    "R503",
                    "warning",
                    ("metadata", "annotations", key),
                    f"{key} stands on {workload.shown} and not on its pod template, where alone it starts a rollout: "
                    f"move it to {'.'.join(str(step) for step in workload.template_at)}.metadata.annotations",
                )
        if "a checksum annotation" in found and len(found) == 1:
            yield from _covers(world, workload)


def _covers(world: World, workload: Workload) -> Iterator[Finding]:
    """Rendered checksums can't be read backwards. But one checksum is of one file, and its name tells of what."""
    checksums = [key for key, value in workload.template_annotations.items() if _of_a_file(key, value)]
    if not checksums:
        return
    files: dict[str, list[Use]] = {}
    for use in workload.uses:
        config = world.find(use.kind, workload.namespace, use.name)
        if use.how != "pull" and config is not None:
            file = source_of(config.document) or f"{use.kind}/{use.name}"
            files.setdefault(file, []).append(use)
    path = (*workload.template_at, "metadata", "annotations", checksums[0])
    if len(files) > len(checksums):
        many = "checksum is" if len(checksums) == 1 else f"{len(checksums)} checksums are"
        names = ", ".join(sorted({f"{use.kind} {use.name}" for of in files.values() for use in of})[:6])
        yield workload.found(
            "R502",
            "warning",
            path,
            f"{'one ' if len(checksums) == 1 else ''}{many} not enough for the {len(files)} files that "
            f"{workload.shown} consumes ({names}): a change of what is left out restarts nothing",
        )
        return
    secret = next((use for of in files.values() for use in of if use.kind == "secret"), None)
    words = [key.rpartition("/")[2] for key in checksums]
    if secret is not None and not any(_SECRET_WORDS.search(word) for word in words):
        yield workload.found(
            "R502",
            "warning",
            path,
            f"{workload.shown} consumes secret {secret.name} ({secret.where}), and by its name {checksums[0]} is of "
            f"something else: a change of the Secret restarts nothing",
        )


def _of_a_file(key: str, value: str) -> bool:
    return CHECKSUM.search(key) is not None and _SHA256.match(value) is not None


def source_of(document: Document) -> str:
    """The template that Helm made a document of, as its comment says; "" where there is none."""
    match = _SOURCE.search(document.text)
    return match[1] if match is not None else ""
