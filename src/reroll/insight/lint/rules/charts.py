"""R8xx: the source of a Helm chart. Templates are no YAML, so these are read line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from reroll.insight.lint.finding import Finding, Rule

RULES = (
    Rule(
        "R801",
        "chart-checksum-covers-less",
        "warning",
        "A chart whose checksum annotations leave out a file that the pods consume",
        "An upgrade that changes only what is left out restarts nothing, and the pods run old configuration.",
        "Add a checksum of that file too; or use `reroll stamp` as a post-renderer in place of all of them.",
    ),
    Rule(
        "R802",
        "chart-checksum-of-nothing",
        "error",
        "A chart whose checksum annotation names a file that it does not have",
        "Helm fails to render the chart: no template of that name exists.",
        "Correct the name of the file.",
    ),
)

_INCLUDE = re.compile(
    r"checksum/[^:]*:.*?include\s*\(\s*print\s+\$\.Template\.BasePath\s+[\"']/?([^\"']+)[\"']"
)
_KIND = re.compile(r"^kind:[ \t]*[\"']?(\w+)", re.MULTILINE)
_NAME = re.compile(r"^[ \t]{1,4}name:[ \t]*(.+?)[ \t\r]*$", re.MULTILINE)
_REFERENCE = re.compile(
    r"^[ \t-]*(configMapRef|configMapKeyRef|configMap|secretRef|secretKeyRef|secret):[ \t]*(?:#.*)?$"
)
_INLINE = re.compile(
    r"(configMapRef|configMapKeyRef|configMap|secretRef|secretKeyRef|secret):[ \t]*"
    r"\{(?:[^{}]*,)?[ \t]*(?:name|secretName):[ \t]*((?:\{\{.*?\}\}|[^,{}])+)"
)
_FIELD = re.compile(r"^[ \t-]*(name|secretName):[ \t]*(.+?)[ \t\r]*$")
_WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Rollout", "CronJob"})


def check(chart: str, templates: Mapping[str, str]) -> Iterator[Finding]:
    """The findings in one chart: `chart` is its folder, `templates` the texts by their paths below templates/."""
    owners: dict[tuple[str, str], str] = {}
    for file, text in templates.items():
        for part in re.split(r"^---.*$", text, flags=re.MULTILINE):
            kind, name = _KIND.search(part), _name(part)
            if kind is not None and kind[1] in ("ConfigMap", "Secret") and name:
                owners.setdefault((kind[1].lower(), name), file)
    for file, text in templates.items():
        start = 1
        for part in re.split(r"(?m)^(?=---)", text):
            kind = _KIND.search(part)
            if kind is not None and kind[1] in _WORKLOADS:
                yield from _workload(chart, file, start, part, kind[1], owners, templates)
            start += part.count("\n")


def _workload(
    chart: str,
    file: str,
    start: int,
    text: str,
    kind: str,
    owners: Mapping[tuple[str, str], str],
    templates: Mapping[str, str],
) -> Iterator[Finding]:
    lines = text.split("\n")
    covered: dict[str, int] = {}
    for number, line in enumerate(lines):
        for match in _INCLUDE.finditer(line):
            covered.setdefault(match[1], number)
    if not covered:
        return
    origin = f"{chart}/templates/{file}"
    shown = f"{kind.lower()} in {file}"
    folder = file.rpartition("/")[0]
    for name, number in covered.items():
        if name not in templates and f"{folder}/{name}" not in templates:
            message = (
                f"the checksum is of {name}, which is not among the templates of this chart: correct the name"
            )
            yield Finding("R802", "error", shown, "", message, origin, start + number, 1)
    consumed: dict[str, int] = {}
    for number, field, name in _references(lines):
        owner = owners.get(("configmap" if field.startswith("configMap") else "secret", _folded(name)))
        if owner is not None:
            consumed.setdefault(owner, number)
    for owner, number in consumed.items():
        if owner not in covered and owner.removeprefix(f"{folder}/") not in covered:
            message = (
                f"the pods consume what {owner} makes, and the checksum is of {', '.join(covered)} only: a change of "
                f"{owner} restarts nothing"
            )
            yield Finding("R801", "warning", shown, "", message, origin, start + number, 1)


def _references(lines: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """(line, field, name as it is written) of each reference, in either style of YAML."""
    for number, line in enumerate(lines):
        for match in _INLINE.finditer(line):
            yield number, match[1], match[2].strip()
        reference = _REFERENCE.match(line)
        if reference is None:
            continue
        for following in lines[number + 1 : number + 4]:
            if (field := _FIELD.match(following)) is not None:
                yield number, reference[1], field[2]
                break


def _name(part: str) -> str:
    """metadata.name as it is written."""
    metadata = re.search(r"^metadata:.*$", part, re.MULTILINE)
    found = _NAME.search(part, metadata.end()) if metadata is not None else None
    return _folded(found[1]) if found is not None else ""


def _folded(expression: str) -> str:
    """The expression without what makes no difference: quotes and white space."""
    return re.sub(r"[\s\"'-]+(?=\}\})|(?<=\{\{)[\s-]+|[\"']|\s*\|\s*quote", "", expression).strip()
