"""The documentation tells what the code does: names, defaults, examples and links."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from reroll.cli.controller import controller
from reroll.cli.main import app
from reroll.controller.announce import BEHIND
from reroll.controller.metrics import REASONS, Metrics
from reroll.core import policy
from reroll.core.applied import PREFIX
from reroll.core.decision import Kind
from reroll.core.policy import PolicyDefaults, native_layer, resolve
from reroll.core.selector import parse_items, shared_with
from reroll.dialects import reloader
from reroll.settings import PREFIX as ENVIRONMENT
from reroll.settings import Settings, load
from reroll.versions import copies

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.glob("*.md"), ROOT / "ARCHITECTURE.md", ROOT / "README.md", ROOT / "deploy" / "README.md"]
)


def page(name: str) -> str:
    return (DOCS / name).read_text()


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    for path in PAGES:
        text = path.read_text()
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            yield Block(str(path.relative_to(ROOT)), line, match[1], match[2])


def rows(text: str) -> Iterator[list[str]]:
    """The rows of all tables, cell by cell."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("| "))]


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


# --- settings --------------------------------------------------------------------------------------------


def test_every_setting_with_its_default() -> None:
    table = {
        match[1]: row
        for row in rows(page("settings.md"))
        if len(row) == 4 and (match := re.match(r"\[`(\w+)`\]", row[0]))
    }
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    assert table.keys() == fields.keys()
    for name, (_, flag, environment, default) in table.items():
        assert f"`{ENVIRONMENT}{name.upper()}`" in environment
        value = fields[name].default
        shown = {
            "()": "none" if name == "namespaces_to_ignore" else "all",
            "''": '`""`',
            "True": "`true`",
            "False": "`false`",
        }.get(repr(value), f"`{value}`")
        assert default == shown, name
        assert f"**`{name}`**" in page("settings.md"), f"{name} is not explained"
        for word in re.findall(r"`(--[\w-]+)`", flag):
            assert word.removeprefix("--no-") in options() or word.removeprefix("--") in options(), word


def options() -> set[str]:
    """The options of `reroll controller`, without hyphens in front."""
    command = app["controller"]
    arguments = command.assemble_argument_collection()
    return {name.removeprefix("--") for argument in arguments for name in argument.names}


def test_every_setting_has_a_flag() -> None:
    parameters = set(inspect.signature(controller).parameters)
    fields = {field.name for field in msgspec.structs.fields(Settings)}
    assert parameters - fields == {"namespace", "config"}
    assert fields - parameters == {"namespaces"}


def test_the_settings_file_of_the_page_is_read(tmp_path: Path) -> None:
    (example,) = [block for block in blocks() if block.text.startswith("# settings.yaml\n")]
    file = tmp_path / "settings.yaml"
    file.write_text(example.text)
    assert load(file=file, environ={}) == Settings(
        namespaces=("shop", "billing"), settle=2.0, settle_max=30.0, auto_all=True
    )


# --- metrics ---------------------------------------------------------------------------------------------


def test_every_metric_and_no_other() -> None:
    exposed = {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in Metrics().registry.collect()
        if family.name.startswith("reroll_")
    }
    text = page("metrics.md")
    mentioned = set(re.findall(r"\breroll_\w+", text))
    assert mentioned == exposed.keys()
    for name, kind, *_ in rows(text):
        if name.startswith("`reroll_"):
            assert kind == exposed[name.strip("`")], name


def test_every_reason_and_decision() -> None:
    assert all(f"`{reason}`" in page("metrics.md") for reason in REASONS)
    decided = ", ".join(kind.value for kind in Kind)
    assert f"`kind`: {decided}" in page("metrics.md")
    assert {row[0] for row in rows(page("how-it-decides.md"))} >= {kind.value for kind in Kind}


# --- annotations -----------------------------------------------------------------------------------------


def test_every_annotation_and_no_other() -> None:
    known = {*policy.SETTINGS, *policy.ON_CONFIG, *policy.MARKS}
    text = page("annotations.md")
    listed = {match for row in rows(text) for match in re.findall(r"\[`(reroll\.dev/[\w-]+)`\]", row[0])}
    assert listed == known
    everywhere = {
        # Those of the sandbox are on pod templates of its own stage, and have their page.
        key
        for path in PAGES
        for key in re.findall(r"(?<!sandbox\.)(?<!version\.)reroll\.dev/[a-z][a-z-]*[a-z]", path.read_text())
    }
    # A wrong word is shown once, as what is wrong with it; the other is on the Lease, and on no object of a user.
    on_copies = {v for v in vars(copies).values() if isinstance(v, str) and v.startswith("reroll.dev/")}
    assert everywhere - known - on_copies == {"reroll.dev/atuo", BEHIND}
    assert on_copies <= everywhere, "what stands on copies of the mode version is explained"


def test_every_annotation_of_reloader() -> None:
    text = page("annotations.md")
    for key in reloader.DEFAULT_KEYS.all - {reloader.DEFAULT_KEYS.paused_at}:
        assert f"`{key}`" in text


def annotated(block: Block) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """(object, its annotations) of a block of YAML."""
    for obj in yaml.safe_load_all(block.text):
        if isinstance(obj, dict) and isinstance(obj.get("metadata"), dict):
            yield obj, obj["metadata"].get("annotations") or {}


def test_the_examples_are_understood() -> None:
    seen: set[str] = set()
    for block in blocks():
        if block.language != "yaml":
            continue
        for obj, values in annotated(block):
            keys = {key for key in values if key.startswith(PREFIX)}
            seen |= keys
            if obj.get("kind") in ("ConfigMap", "Secret"):
                assert keys <= {policy.IGNORE, *policy.ON_CONFIG}, block
                continue
            layer = native_layer(values, "the workload")
            assert not layer.problems, f"{block}: {layer.problems}"
            found = resolve([layer], PolicyDefaults(allow_cross_namespace=True), home="shop")
            assert found.enabled or not keys, f"{block}: it asks for nothing"
    assert seen >= {*policy.SETTINGS, *policy.ON_CONFIG} - {policy.MODE}


def test_the_shared_example_is_shared() -> None:
    value = next(
        values[policy.SHARE_WITH]
        for block in blocks()
        if block.language == "yaml"
        for _, values in annotated(block)
        if policy.SHARE_WITH in values
    )
    assert shared_with(value, "shop")
    assert shared_with(value, "team-a")
    assert not shared_with(value, "platform-ops")


GRAMMAR = {
    "app": ["app"],
    "app-*": ["app-*"],
    "configmap/app": ["configmap/app"],
    "secret/app": ["secret/app"],
    "app#host,port": ["app#host,port"],
    "app#host,port db": ["app#host,port", "db"],
    "app#host,port,db": ["app#db,host,port"],
    "app#host,secret/tls": ["app#host", "secret/tls"],
    "shared/ca": ["shared/ca"],
    "secret/shared/ca": ["secret/shared/ca"],
    "cm/secret/ca": ["configmap/secret/ca"],
}
"""Each row of the page's table, and what it means."""


def test_the_grammar() -> None:
    text = page("annotations.md")
    table = text[text.index("| item | means |") : text.index("- A name without a kind")]
    items = [row[0].strip("`") for row in rows(table)][1:]
    assert items == list(GRAMMAR)
    for item, means in GRAMMAR.items():
        found = parse_items(item)
        assert not found.errors
        assert [str(selector) for selector in found.selectors] == means
    for alias in ("configmaps/app", "cm/app", "secrets/app"):
        assert f"`{alias}`" in table
        assert not parse_items(alias).errors


@pytest.mark.parametrize(
    ("annotation", "value", "refused"),
    [
        (policy.AUTO, "yes", False),
        (policy.FOLLOW, "app Bad_Name", False),
        (policy.SEARCH, "yes", False),
        (policy.SETTLE, "30", False),
        (policy.SETTLE, "2h", False),
        (policy.IGNORE, "Bad_Name", True),
        (policy.IGNORE, "true", True),
        (policy.MODE, "signal", True),
        ("reroll.dev/atuo", "true", False),
    ],
)
def test_what_is_said_of_bad_values(annotation: str, value: str, refused: bool) -> None:
    found = resolve([native_layer({annotation: value}, "the workload")], PolicyDefaults(auto_all=True))
    assert found.problems
    assert bool(found.refused) is refused
    if annotation == policy.AUTO:
        assert not found.enabled, "--auto-all must not speak in its place"


# --- all pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [b for b in blocks() if b.language in ("yaml", "json", "toml")], ids=str)
def test_blocks_can_be_read(block: Block) -> None:
    assert block.language == "yaml", "teach this test the language"
    assert all(document is not None for document in yaml.safe_load_all(block.text))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(path: Path) -> None:
    text = path.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(there.read_text()), f"{target}: no such heading"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(path: Path) -> None:
    named = re.findall(r"`((?:src|tests|docs|deploy|devcluster|scripts|bench)/[\w./-]+)`", path.read_text())
    if path.name == "ARCHITECTURE.md":
        steps = re.findall(
            r"`((?:kube|core|controller|modes|rollouts|dialects|insight|alerts|cli)/[\w./-]*)`",
            path.read_text(),
        )
        assert len(steps) > 20
        named += [f"src/reroll/{step}" for step in steps]
    for name in named:
        assert (ROOT / name).exists(), name


def test_every_runtime_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = [re.split(r"[<>=~! ]", line)[0].lower() for line in project["project"]["dependencies"]]
    tools = [re.split(r"[<>=~! ]", line)[0].lower() for line in project["dependency-groups"]["dev"]]
    explained = {word.lower() for row in rows(page("dependencies.md")) for word in re.split(r"[ ,]+", row[0])}
    assert {*names, *tools} <= explained
    # What is said not to be used yet is not, and what is not said so is.
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    modules = {"prometheus-client": "prometheus_client", "pyyaml": "yaml", "tzdata": "zoneinfo"}
    for row in rows(page("dependencies.md")):
        name = re.split(r"[ ,]+", row[0])[0].lower()
        if name in names:
            imported = re.search(rf"^\s*(import|from) {modules.get(name, name)}\b", source, re.MULTILINE)
            assert bool(imported) is ("nothing imports it yet" not in row[2]), name


def test_the_roles_are_explained() -> None:
    """Each resource and verb of the manifests stands in the table of security.md, and none besides."""
    explained: set[tuple[str, str]] = set()
    for row in rows(page("security.md")):
        if len(row) == 3:
            verbs = re.findall(r"\b(get|list|watch|create|patch|delete)\b", row[1])
            resources = re.findall(
                r"\b(configmaps|secrets|namespaces|deployments|statefulsets|daemonsets|cronjobs|jobs|rollouts"
                r"|deploymentconfigs|pods/eviction|pods|events|replicasets|controllerrevisions|secretproviderclasses|secretproviderclasspodstatuses)\b",
                row[0],
            )
            explained |= {(resource, verb) for resource in resources for verb in verbs}
    granted = {
        (resource, verb)
        for path in ("install.yaml", "kustomize/versions/cluster-role.yaml")
        for obj in yaml.safe_load_all((ROOT / "deploy" / path).read_text())
        for rule in obj.get("rules", ())
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert explained == granted
