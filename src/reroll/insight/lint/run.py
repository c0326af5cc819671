"""The whole of a lint: the input read, the rules asked, comments heeded, files mended."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from reroll.insight.lint.comments import ignored
from reroll.insight.lint.finding import SEVERITIES, Finding, Severity
from reroll.insight.lint.rules import FAMILIES, RULES, charts
from reroll.insight.lint.shelf import Shelf
from reroll.insight.lint.world import World
from reroll.manifests.edit import apply_edits
from reroll.manifests.in_place import write_in_place
from reroll.manifests.problem import ManifestError
from reroll.manifests.stream import Document, Readable, read_documents

_SUFFIXES = (".yaml", ".yml", ".json")


class Input(Struct):
    """What was read."""

    documents: list[Document]
    files: dict[str, Path]
    """By origin: those that can be written."""
    charts: dict[str, dict[str, str]]
    """Folder of a chart -> texts of its templates, by their paths below templates/."""
    unreadable: list[Finding]
    shelf: Shelf | None = None


class Report(Struct, frozen=True):
    """What was found."""

    findings: tuple[Finding, ...]
    documents: int
    files: tuple[str, ...]
    templates: int = 0
    """Of the sources of charts, which are no documents yet."""

    def worst(self) -> Severity | None:
        """The severity of the worst finding."""
        return next((s for s in SEVERITIES if any(f.severity == s for f in self.findings)), None)


def read_input(
    paths: Sequence[str], stdin: bytes | Readable | None = None, *, shelf: Shelf | None = None
) -> Input:
    """Files, folders with all below them, and "-" for `stdin`. Raises OSError for a path that is not there.

    `shelf` keeps the documents; without one, all stay in memory.
    The templates of a chart are no manifests: of a folder with a Chart.yaml they are read as text.
    """
    found = Input([], {}, {}, [], shelf)
    for given in dict.fromkeys(paths):
        if given == "-":
            _take(found, "standard input", stdin or b"")
            continue
        path = Path(given)
        if path.is_dir():
            for chart in sorted(one.parent for one in path.rglob("Chart.yaml")):
                _chart(found, chart)
            for one in sorted(path.rglob("*")):
                if one.suffix in _SUFFIXES and one.is_file() and not _of_chart(one, found.charts):
                    _file(found, one)
        else:
            _file(found, path)
    return found


def _of_chart(path: Path, known: Iterable[str]) -> bool:
    """Templates and values of a chart are no manifests; its crds/ are."""
    for chart in known:
        if path.is_relative_to(chart):
            inside = path.relative_to(chart).parts
            if inside[0] == "templates" or (len(inside) == 1 and path.name != "kustomization.yaml"):
                return True
    return False


def _chart(found: Input, folder: Path) -> None:
    texts: dict[str, str] = {}
    for path in sorted((folder / "templates").rglob("*")):
        if path.suffix in (".yaml", ".yml", ".tpl") and path.is_file():
            name = path.relative_to(folder / "templates").as_posix()
            texts[name] = path.read_text(encoding="utf-8", errors="replace")
    found.charts[str(folder)] = texts


def _file(found: Input, path: Path) -> None:
    if str(path) in found.files:
        return
    with path.open("rb") as content:
        _take(found, str(path), content)
    found.files[str(path)] = path


def _take(found: Input, origin: str, content: bytes | Readable) -> None:
    documents = []
    try:
        for document in read_documents(content, origin):
            try:
                _ = document.placed
            except ManifestError as error:
                found.unreadable.append(_unreadable(error))
                # Its place is kept, so that what is written back is the whole file.
                document = Document(document.text, origin, document.line)
                document.__dict__.update(data=None, placed=(), node=None)
            documents.append(document if found.shelf is None else found.shelf.put(document))
    except ManifestError as error:
        found.unreadable.append(_unreadable(error))
        return
    found.documents += documents


def _unreadable(error: ManifestError) -> Finding:
    return Finding("R001", "error", error.file, "", error.message, error.file, error.line, error.column)


def lint(
    world: World,
    found: Input,
    *,
    select: Collection[str] = (),
    ignore: Collection[str] = (),
) -> Report:
    """What the rules find, in the order of files and lines. `select` and `ignore` hold ids or beginnings of ids, such
    as R6."""
    raised = list(found.unreadable)
    for family in FAMILIES:
        raised += family(world)
    for chart, templates in found.charts.items():
        raised += charts.check(chart, templates)
    for number, document in enumerate(world.documents):
        for line, rule in ignored(document.text).named:
            if rule not in RULES:
                message = f"there is no rule {rule}, so this comment ignores nothing: reroll lint --rules lists them"
                at = document.line + line
                raised.append(
                    Finding("R002", "warning", document.origin, "", message, document.origin, at, 1, number)
                )
    kept = [
        one
        for one in dict.fromkeys(raised)
        if wanted(one.rule, select, ignore) and not _silenced(one, world, found)
    ]
    kept.sort(key=lambda one: (one.file, one.line, one.column, one.rule, one.path))
    files = tuple(dict.fromkeys(document.origin for document in world.documents))
    sources = sum(map(len, found.charts.values()))
    return Report(tuple(kept), len(world.documents), files, sources)


def wanted(rule: str, select: Collection[str], ignore: Collection[str]) -> bool:
    """Is this rule asked for? To name a rule in full counts for more than a family."""
    if rule in ignore:
        return False
    if rule in select:
        return True
    if any(rule.startswith(prefix) for prefix in ignore):
        return False
    return not select or any(rule.startswith(prefix) for prefix in select)


def _silenced(finding: Finding, world: World, found: Input) -> bool:
    if finding.document >= 0:
        document = world.documents[finding.document]
        return ignored(document.text).covers(finding.rule, finding.line - document.line)
    for chart, templates in found.charts.items():
        name = finding.file.removeprefix(f"{chart}/templates/")
        if name != finding.file and name in templates:
            return ignored(templates[name]).covers(finding.rule, finding.line - 1)
    return False


def mend(world: World, report: Report, files: dict[str, Path]) -> tuple[list[Finding], list[str]]:
    """Write the files with all fixes made: (what was mended, what could not be, in words).

    A file is written as a whole or not at all. Raises OSError.
    """
    mended: list[Finding] = []
    notes: list[str] = []
    texts: dict[int, str] = {}
    for number, document in enumerate(world.documents):
        todo = [one for one in report.findings if one.document == number and one.fix]
        if not todo or document.origin not in files:
            continue
        now = document
        for one in todo:
            try:
                text = apply_edits(now, one.fix)
            except ManifestError as error:
                notes.append(str(error))
                continue
            now = Document(text, document.origin, document.line)
            mended.append(one)
        texts[number] = now.text
    for origin in dict.fromkeys(world.documents[number].origin for number in texts):
        whole = [
            texts.get(number, document.text)
            for number, document in enumerate(world.documents)
            if document.origin == origin
        ]
        write_in_place(files[origin], "".join(whole))
    return mended, notes
