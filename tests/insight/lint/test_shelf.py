"""Documents on disk are linted as those in memory are."""

from __future__ import annotations

import gc
import io
from pathlib import Path

import pytest
import yaml

from reroll.insight.lint.run import Input, lint, mend, read_input
from reroll.insight.lint.shelf import AT_HAND, Shelf
from reroll.insight.lint.world import World
from reroll.manifests.stream import Document, read_documents
from tests.insight.lint.stage import config, deployment, env

ODD = """\
\ufeff# reroll-lint: ignore R102
apiVersion: v1
kind: ConfigMap
metadata: {name: odd, annotations: {reroll.dev/ato: "true"}}
data: {a: "1", b: "\u00e9\U0001f600", n: .nan, i: 123456789012345678901234567890}
---
apiVersion: v1
kind: List
items:
- &x {apiVersion: v1, kind: Secret, metadata: {name: s, annotations: {reroll.dev/auto: yes}}}
- *x
---
- no object
---
"""


def stream(count: int) -> str:
    objects = []
    for number in range(count):
        objects.append(config(f"app-{number}", data={"level": "info"}))
        annotations = {"reroll.dev/ato": "true"} if number % 7 == 0 else {"reroll.dev/auto": "true"}
        container = env(f"app-{number}", "level" if number % 5 else "levle")
        objects.append(deployment(f"web-{number}", container=container, annotations=annotations))
    return ODD + yaml.safe_dump_all(objects)


def test_the_findings_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(stream(60))
    (tmp_path / "kustomization.yaml").write_text("generatorOptions: {disableNameSuffixHash: true}\n")
    (tmp_path / "broken.yaml").write_text("a: [\n")
    reports = []
    for shelf in (None, Shelf(), Shelf(0), Shelf(2000)):
        found = read_input([str(tmp_path)], shelf=shelf)
        reports.append(lint(World(found.documents, complete=True), found))
    first, *others = reports
    assert len(first.findings) > 30
    assert all(other == first for other in others)


def test_what_was_read_does_not_stay() -> None:
    def held() -> int:
        gc.collect()
        return sum(type(one) is Document for one in gc.get_objects())

    before = held()
    found = read_input(["-"], io.BytesIO(stream(200).encode()), shelf=Shelf(0))
    assert len(found.documents) > 400
    world = World(found.documents, complete=True)
    assert lint(world, found).findings
    assert held() - before <= AT_HAND


def test_fixes_are_written(tmp_path: Path) -> None:
    texts = []
    for name, shelf in (("memory", None), ("disk", Shelf(0))):
        file = tmp_path / name / "all.yaml"
        file.parent.mkdir()
        file.write_text(stream(20))
        found = read_input([str(file)], shelf=shelf)
        world = World(found.documents)
        mended, _ = mend(world, lint(world, found), found.files)
        assert mended
        texts.append(file.read_text())
    assert texts[0] == texts[1]
    assert "reroll.dev/auto" in texts[0]


@pytest.mark.parametrize("text", ["a: 1\n", "", "# nothing\n", ODD.split("---")[0], "[" * 400 + "]" * 400])
def test_a_document_comes_back_as_it_was(text: str) -> None:
    shelf = Shelf(0)
    for document in read_documents(text, "x.yaml"):
        kept = shelf.put(document)
        assert (kept.text, kept.origin, kept.line) == (document.text, document.origin, document.line)
        assert repr(kept.data) == repr(document.data)
        assert repr(kept.placed) == repr(document.placed)
        assert kept.where(("data", "b")) == document.where(("data", "b"))
        assert isinstance(kept, Document)


def test_an_input_without_a_shelf_keeps_its_documents() -> None:
    found: Input = read_input(["-"], b"a: 1\n")
    assert type(found.documents[0]) is Document
