"""R6xx: annotations of reroll, Reloader and wave that do not do what their author must expect."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from reroll.core.applied import PREFIX
from reroll.core.policy import MARKS, ON_CONFIG, SETTINGS, native_layer
from reroll.dialects import reloader, wave
from reroll.dialects.marks import LAST_RELOADED_FROM
from reroll.dialects.reloader import DEFAULT_KEYS
from reroll.insight.lint.finding import Finding, Rule
from reroll.insight.lint.shape import at, mapping
from reroll.insight.lint.world import Config, Subject, Workload, World
from reroll.manifests.edit import Edit, Remove, Set
from reroll.manifests.yaml_text import Path

RULES = (
    Rule(
        "R601",
        "bad-reroll-annotation",
        "error",
        "An annotation of reroll that can't be read",
        "The setting does not hold; of a bad `ignore` or `mode` the workload is left alone until it is corrected.",
        "Correct the value, as the message says.",
    ),
    Rule(
        "R602",
        "bad-reloader-annotation",
        "error",
        "An annotation of Reloader that can't be read",
        "Reloader logs it at most, and the workload is not reloaded.",
        "Correct the value, as the message says.",
    ),
    Rule(
        "R603",
        "bad-wave-annotation",
        "error",
        "An annotation of wave that can't be read, or does nothing",
        "The workload is not updated.",
        "Correct it, as the message says.",
    ),
    Rule(
        "R604",
        "unknown-annotation",
        "error",
        "An annotation whose name is almost one that is known",
        "Nothing reads it.",
        "Write the name that is meant; `--fix` does.",
        fixable=True,
    ),
    Rule(
        "R605",
        "misplaced-annotation",
        "error",
        "A setting that stands where it is not read",
        "Settings of reroll and wave on a pod template, or of a workload on a config object, do nothing; and "
        "changing one on a pod template is itself a rollout.",
        "Put it on the workload's own metadata; `--fix` does where the two are one object.",
        fixable=True,
    ),
    Rule(
        "R606",
        "hidden-by-the-workload",
        "warning",
        "Reloader's annotations on a pod template that the workload's own hide",
        "Reloader reads them from the pod template only if the workload has none of them: they are never merged.",
        "Put all of them on the workload.",
    ),
    Rule(
        "R607",
        "regex-anchored-in-part",
        "warning",
        "A regular expression of Reloader's with | outside of brackets",
        "Reloader makes ^a|b$ of a|b, which matches every name that begins with a or ends with b.",
        "Write (a|b), which matches what is meant everywhere; `--fix` does.",
        fixable=True,
    ),
    Rule(
        "R608",
        "wave-without-config",
        "warning",
        "wave is to update a workload that consumes nothing",
        "There is no ConfigMap or Secret whose change could update it.",
        "Take the annotation away, or name what it depends on in extra-configmaps or extra-secrets.",
    ),
    Rule(
        "R609",
        "annotation-not-text",
        "error",
        "The value of an annotation is no string",
        "The API server refuses the whole object: annotations are strings, and true and 1 in YAML are none.",
        "Put it into quotes; `--fix` does.",
        fixable=True,
    ),
    Rule(
        "R610",
        "ignore-on-workload",
        "warning",
        "Reloader's ignore on a workload",
        "Reloader reads it on ConfigMaps and Secrets only: on a workload it does nothing.",
        'Write `reloader.stakater.com/auto: "false"`, or exclude objects by name.',
    ),
)

_PAIRS = re.compile(r"(?<![\w.-])reroll\.dev/|reloader\.stakater\.com/|(?<![\w.-])wave\.pusher\.com/")
_WAVE_KEYS = (wave.UPDATE, *wave.EXTRA.values(), wave.CONFIG_HASH)
_KNOWN = (*SETTINGS, *ON_CONFIG, *sorted(DEFAULT_KEYS.all), *_WAVE_KEYS)
_OURS = frozenset((*_KNOWN, *MARKS, LAST_RELOADED_FROM))
_ON_OBJECT: Path = ("metadata", "annotations")
_WORKLOAD_ONLY = frozenset(SETTINGS) - {PREFIX + "ignore"}


def check(world: World) -> Iterator[Finding]:
    for subject in world.subjects:
        yield from _keys(subject, _ON_OBJECT)
        if isinstance(subject, Workload):
            if subject.template_at:
                yield from _keys(subject, (*subject.template_at, *_ON_OBJECT))
            yield from _workload(subject)
        elif isinstance(subject, Config):
            yield from _config(subject)
        elif subject.kind == "Namespace":
            yield from _native(subject)


def _keys(subject: Subject, where: Path) -> Iterator[Finding]:
    """Names that are almost right, and values that are no strings."""
    annotations = mapping(at(subject.value, where))
    for key, value in annotations.items():
        if not isinstance(key, str):
            continue
        path = (*where, key)
        if not isinstance(value, str) and (key in _OURS or _PAIRS.search(key)):
            fix: tuple[Edit, ...] = ()
            if isinstance(value, bool | int):
                written = str(value).lower() if isinstance(value, bool) else str(value)
                fix = (Set((*subject.place, *path), written),)
            yield subject.found(
                "R609",
                "error",
                path,
                f"{key} on {subject.shown} is no string, and the API server refuses the object: put it into quotes",
                fix,
            )
        if key in _OURS:
            continue
        meant = nearest_key(key)
        if meant:
            rename: tuple[Edit, ...] = ()
            if meant not in annotations and isinstance(value, str):
                rename = (Set((*subject.place, *where, meant), value), Remove((*subject.place, *path)))
            yield subject.found(
                "R604",
                "error",
                path,
                f"{key} on {subject.shown} is read by nothing: did you mean {meant}?",
                rename,
            )


def nearest_key(key: str) -> str:
    """The annotation that this name is a slip for; "" if it is another tool's own."""
    if len(key) > 120 or key in _OURS:
        return ""
    folded = key.lower().replace("_", "-")
    for known in _KNOWN:
        if folded == known:
            return known
    if folded.startswith(PREFIX):
        names = [known.removeprefix(PREFIX) for known in _KNOWN if known.startswith(PREFIX)]
        slip = difflib.get_close_matches(folded.removeprefix(PREFIX), names, n=1, cutoff=0.7)
        return PREFIX + slip[0] if slip else ""
    theirs = _PAIRS.search(key) is not None
    close = difflib.get_close_matches(folded, _KNOWN, n=1, cutoff=0.85 if theirs else 0.9)
    if close and (_family(close[0]) == _family(key) if theirs else _near_prefix(key, close[0])):
        return close[0]
    return ""


def _family(key: str) -> str:
    found = _PAIRS.search(key)
    return found[0] if found else ""


def _near_prefix(key: str, known: str) -> bool:
    """The prefix is another one, and almost the same."""
    one, other = key.partition("/")[0], known.partition("/")[0]
    return difflib.SequenceMatcher(None, one.lower(), other).ratio() >= 0.85


def _native(subject: Subject) -> Iterator[Finding]:
    for problem in native_layer(subject.annotations, subject.shown).problems:
        if problem.annotation in _OURS or not nearest_key(problem.annotation):
            yield subject.found("R601", "error", (*_ON_OBJECT, problem.annotation), problem.message)


def _workload(workload: Workload) -> Iterator[Finding]:
    own, carried = workload.annotations, workload.template_annotations
    on_template: Path = (*workload.template_at, *_ON_OBJECT)
    yield from _native(workload)
    if workload.template_at:
        yield from _misplaced(workload, on_template)
    layer = reloader.reloader_layer(own, carried, workload.shown, kind=workload.kind)
    for problem in layer.problems if layer is not None else ():
        where = _ON_OBJECT if problem.annotation in own else on_template
        yield workload.found("R602", "error", (*where, problem.annotation), problem.message)
    said = wave.wave_layer(own, workload.shown)
    for problem in said.problems if said is not None else ():
        yield workload.found("R603", "error", (*_ON_OBJECT, problem.annotation), problem.message)
    if said is not None and said.configmaps and not workload.uses and not said.follow:
        yield workload.found(
            "R608",
            "warning",
            (*_ON_OBJECT, wave.UPDATE),
            f"{workload.shown} consumes no ConfigMap and no Secret, so {wave.UPDATE} does nothing",
        )
    if DEFAULT_KEYS.ignore in own:
        yield workload.found(
            "R610",
            "warning",
            (*_ON_OBJECT, DEFAULT_KEYS.ignore),
            f"{DEFAULT_KEYS.ignore} is read on ConfigMaps and Secrets only: on {workload.shown} it does nothing",
        )
    yield from _hidden(workload, on_template)
    for place, where in ((own, _ON_OBJECT), (carried, on_template)):
        for key in DEFAULT_KEYS.reload.values():
            if key in place:
                yield from _regexes(workload, where, key, place[key])


def _misplaced(workload: Workload, on_template: Path) -> Iterator[Finding]:
    own, carried = workload.annotations, workload.template_annotations
    for key in carried:
        if key in SETTINGS or (key in _WAVE_KEYS and key != wave.CONFIG_HASH):
            fix: tuple[Edit, ...] = ()
            if key not in own:
                fix = (
                    Remove((*workload.place, *on_template, key)),
                    Set((*workload.place, *_ON_OBJECT, key), carried[key]),
                )
            yield workload.found(
                "R605",
                "error",
                (*on_template, key),
                f"{key} stands on the pod template of {workload.shown}, where it is not read: put it on the "
                f"workload's own metadata",
                fix,
            )


def _hidden(workload: Workload, on_template: Path) -> Iterator[Finding]:
    """Step 3 of Reloader's decision: one of these keys on the workload hides all of them on the pod template."""
    own, carried = workload.annotations, workload.template_annotations
    keys = DEFAULT_KEYS
    told: set[str] = set()
    for kind, reload in keys.reload.items():
        group = (reload, keys.search, keys.auto, keys.typed_auto[kind])
        shadow = next((key for key in group if key in own), None)
        for key in group:
            if shadow is not None and key in carried and key not in told and own.get(key) != carried[key]:
                told.add(key)
                yield workload.found(
                    "R606",
                    "warning",
                    (*on_template, key),
                    f"{key} on the pod template of {workload.shown} is hidden by {shadow} on the workload: Reloader "
                    f"reads one place or the other, never both. Put it on the workload",
                )


def _regexes(workload: Workload, where: Path, key: str, value: str) -> Iterator[Finding]:
    items = [item.strip() for item in value.split(",")]
    bad = [item for item in items if open_alternation(item)]
    if not bad:
        return
    mended = ",".join(f"({item})" if item in bad else item for item in items)
    yield workload.found(
        "R607",
        "warning",
        (*where, key),
        f"Reloader reads {bad[0][:80]!r} in {key} as ^{bad[0][:80]}$, which is anchored in part only: write "
        f"({bad[0][:80]})",
        (Set((*workload.place, *where, key), mended),),
    )


def open_alternation(item: str) -> bool:
    """True if a regular expression has a | outside of all brackets."""
    depth, klass, escaped = 0, False, False
    for char in item:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif klass:
            klass = char != "]"
        elif char == "[":
            klass = True
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "|" and depth == 0:
            return True
    return False


def _config(config: Config) -> Iterator[Finding]:
    for key in config.annotations:
        if key in _WORKLOAD_ONLY or key in (*wave.EXTRA.values(), wave.UPDATE):
            yield config.found(
                "R605",
                "error",
                (*_ON_OBJECT, key),
                f"{key} is a setting of workloads and namespaces: on {config.shown} it is not read",
            )
    for key in (PREFIX + "match", DEFAULT_KEYS.match, DEFAULT_KEYS.ignore, PREFIX + "ignore"):
        value = config.annotations.get(key)
        theirs = key.startswith(reloader.MARKER)
        if value is None or value in ("true", "false"):
            continue
        if theirs or value.strip().lower() not in ("true", "false"):
            yield config.found(
                "R602" if theirs else "R601",
                "error",
                (*_ON_OBJECT, key),
                f'{key}: {value[:80]!r} on {config.shown}: only "true" has an effect',
            )
