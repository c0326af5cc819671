"""`reroll lint`: what is wrong with these manifests?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from reroll.insight.lint.run import Input
    from reroll.insight.lint.world import World


def lint(
    *files: Annotated[str, Parameter(allow_leading_hyphen=True)],
    select: Annotated[list[str] | None, Parameter(negative="")] = None,
    ignore: Annotated[list[str] | None, Parameter(negative="")] = None,
    fail_on: Literal["error", "warning", "info"] = "warning",
    fix: Annotated[bool, Parameter(negative="")] = False,
    complete: Annotated[bool, Parameter(negative="")] = False,
    auto_all: Annotated[bool, Parameter(negative="")] = False,
    against: Annotated[list[str] | None, Parameter(negative="")] = None,
    lookup: Annotated[bool, Parameter(negative="")] = False,
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None,
    output: Annotated[
        Literal["text", "json", "yaml", "sarif", "junit"], Parameter(name=["--output", "-o"])
    ] = "text",
    rules: Annotated[bool, Parameter(negative="")] = False,
    explain: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
) -> int:
    """Check manifests for what goes wrong between workloads and their ConfigMaps and Secrets: references that lead
    nowhere, files that never update, annotations that nothing reads, checksums that cover too little.

    Reads manifests, kustomizations and the sources of Helm charts, and writes nothing without --fix. A comment
    `# reroll:ignore R101` on the line, on the line above, or at the head of a document silences a rule there.

    Example: `reroll lint deploy/`

    More: `helm template ./chart | reroll lint -`, `reroll lint --fix deploy/`, `reroll lint --explain R101`, `reroll
    lint deploy/ -o sarif > lint.sarif`

    Exit codes: 0 nothing found, 1 findings as severe as `--fail-on`, or the cluster could not be read; 2 not
    understood.

    Parameters
    ----------
    files
        Files, folders, or - for standard input. Default: -.
    select
        Only these rules, such as R101, or families, such as R6. May be given several times.
    ignore
        Not these rules or families. May be given several times.
    fail_on
        The least severity for which to exit with 1.
    fix
        Mend what can be mended surely, in the files themselves. What is left is told.
    complete
        The manifests are all there is in their namespaces: what is referred to and not there is an error.
    auto_all
        The cluster's controller runs with --auto-all: workloads need no annotation to be followed.
    against
        Earlier manifests to compare immutable objects with, files or folders; or git:REVISION. May be given several
        times. Default: git:HEAD.
    lookup
        Ask the cluster for what is referred to and not in the manifests.
    namespace
        Namespace of objects that name none, for --lookup. Default: the context's.
    output
        text for people; json, yaml, sarif or junit for programs.
    rules
        List the rules and do nothing else.
    explain
        Tell about one rule and do nothing else.
    kubeconfig
        Path of a kubeconfig, for --lookup. Default: KUBECONFIG or ~/.kube/config.
    context
        Context of the kubeconfig. Default: its current one.
    """
    import sys

    from reroll.cli.failure import Failure
    from reroll.insight.lint import formats
    from reroll.insight.lint.finding import SEVERITIES
    from reroll.insight.lint.run import lint as run
    from reroll.insight.lint.run import mend, read_input
    from reroll.insight.lint.shelf import Shelf
    from reroll.insight.lint.world import World
    from reroll.manifests.problem import ManifestError

    if rules or explain is not None:
        return _about(explain)
    if unknown := [file for file in files if file.startswith("-") and file != "-"]:
        raise Failure(f"there is no option {unknown[0]}: reroll lint --help lists them", 2)
    selected, ignored = _ids("--select", select or ()), _ids("--ignore", ignore or ())
    given = files or ("-",)
    if fix and "-" in given:
        raise Failure("--fix needs files or folders: standard input can't be written", 2)

    def look() -> tuple[Input, World]:
        stdin = sys.stdin.buffer if "-" in given and not fix else None
        found = read_input(given, stdin, shelf=Shelf())
        world = World(found.documents, complete=complete, auto_all=auto_all)
        _remember(world, found, against or ["git:HEAD"])
        if lookup:
            _cluster(world, namespace, kubeconfig, context)
        return found, world

    try:
        found, world = look()
        report = run(world, found, select=selected, ignore=ignored)
        if fix:
            mended, notes = mend(world, report, found.files)
            for note in notes:
                print(f"reroll: {note}", file=sys.stderr)
            for one in mended:
                print(f"reroll: mended {formats.place(one)}: {one.rule} {one.object}", file=sys.stderr)
            if mended:
                found, world = look()
                report = run(world, found, select=selected, ignore=ignored)
    except ManifestError as error:
        raise Failure(str(error), 2) from error
    except OSError as error:
        if error.filename is None:
            raise
        raise Failure(f"{error.filename}: {error.strerror}", 2) from error
    if output == "text":
        for line in formats.as_text(report):
            print(line)
    else:
        form = {
            "json": formats.as_json,
            "yaml": formats.as_yaml,
            "sarif": formats.as_sarif,
            "junit": formats.as_junit,
        }
        sys.stdout.write(form[output](report))
    worst = report.worst()
    return 1 if worst is not None and SEVERITIES.index(worst) <= SEVERITIES.index(fail_on) else 0


def _about(rule: str | None) -> int:
    """List the rules, or explain one."""
    from reroll.cli.failure import Failure
    from reroll.insight.lint.rules import RULES

    if rule is None:
        for one in RULES.values():
            print(f"{one.id}  {one.severity:<7}  {one.title}{' [--fix]' if one.fixable else ''}")
        return 0
    known = RULES.get(rule.upper())
    if known is None:
        raise Failure(f"there is no rule {rule}: reroll lint --rules lists them", 2)
    print(
        f"{known.id} {known.name} ({known.severity})\n\n{known.title}.\n\nWhy: {known.why}\n\nWhat to do: {known.todo}"
    )
    if known.fixable:
        print("\n`reroll lint --fix` does it where that is sure.")
    return 0


def _ids(option: str, given: Sequence[str]) -> tuple[str, ...]:
    """Rules and families. Raises Failure for one that is none."""
    from reroll.cli.failure import Failure
    from reroll.insight.lint.rules import RULES

    words = tuple(word.strip().upper() for text in given for word in text.split(",") if word.strip())
    for word in words:
        if not any(rule.startswith(word) for rule in RULES):
            raise Failure(f"{option}: there is no rule {word}: reroll lint --rules lists them", 2)
    return words


def _remember(world: World, found: Input, against: Sequence[str]) -> None:
    """What the config objects were before."""
    from reroll.insight.lint.before import remember, remember_git
    from reroll.insight.lint.run import read_input
    from reroll.insight.lint.shelf import Shelf

    for given in against:
        if given.startswith("git:"):
            remember_git(
                world,
                [
                    found.files[file]
                    for file in dict.fromkeys(one.document.origin for one in world.configs)
                    if file in found.files
                ],
                given.removeprefix("git:") or "HEAD",
            )
        else:
            remember(world, read_input([given], shelf=Shelf()).documents, given)


def _cluster(world: World, namespace: str | None, kubeconfig: str | None, context: str | None) -> None:
    import asyncio

    from reroll.cli.failure import Failure
    from reroll.insight.lint.lookup import look_up
    from reroll.kube.client import Client
    from reroll.kube.config import load_config
    from reroll.kube.errors import ApiError

    cluster = load_config(kubeconfig=kubeconfig, context=context)

    async def ask() -> None:
        async with Client(cluster) as client:
            await look_up(client, world, namespace or cluster.namespace)

    try:
        asyncio.run(ask())
    except ApiError as error:
        raise Failure(str(error)) from error
