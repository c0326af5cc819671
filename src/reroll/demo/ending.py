"""The last words of the demo: whether every step did what it says, and what to try next."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from reroll.demo.board import brief
from reroll.demo.result import DemoResult
from reroll.demo.run import Options


def ending(result: DemoResult, options: Options) -> RenderableType:
    """What is printed below the demo."""
    return Group(_verdict(result, len(options.steps)), Text(""), *_next(result, options))


def _verdict(result: DemoResult, steps: int) -> RenderableType:
    if result.ok:
        return Text(f"All {steps} steps did what they say, in {result.seconds:.0f} s.", "bold green")
    failed = next((step for step in result.steps if not step.ok), None)
    if failed is None:
        return Text(f"Only {len(result.steps)} of {steps} steps were run.", "bold red")
    lines = [
        Text(f"Step {failed.number} of {steps} did not do what it says: {failed.title}", "bold red"),
        Text(f"  done      {failed.command}"),
        Text(f"  expected  {failed.expected}"),
        Text(f"  seen      {failed.seen}"),
    ]
    lines += [Text(f"  {name:<9} {brief(reason)}") for name, reason in failed.why.items()]
    return Group(*lines)


def _next(result: DemoResult, options: Options) -> Iterator[RenderableType]:
    if result.kubeconfig or options.keep:
        until = ", until you press Ctrl-C here" if options.place == "sandbox" else ""
        yield Text(
            f"The app is still there{until}; the controller ended with the demo. To play with it:", "bold"
        )
        yield _commands(_kept(result, options))
        return
    yield Text("What to try next:", "bold")
    yield _commands(
        [
            ("reroll demo --keep", "the same, and leave the app there to play with"),
            ("reroll demo --pause", "one key press a step"),
            ("reroll demo --real", "on a real control plane, built with Go on this machine"),
            ("reroll demo --context NAME", "on a cluster of yours, in a namespace of its own"),
            ("reroll explain deployment/NAME", "what a workload of yours consumes"),
            ("kubectl annotate deployment/NAME reroll.dev/auto=true", "let it follow"),
            ("reroll controller", "and roll what is stale"),
        ]
    )


def _kept(result: DemoResult, options: Options) -> Iterator[tuple[str, str]]:
    flags = "".join(
        f" --{name} {shlex.quote(value)}"
        for name, value in (("kubeconfig", options.kubeconfig), ("context", options.context))
        if value
    )
    where = f"-n {result.namespace}"
    if options.place != "given":
        yield f"export KUBECONFIG={shlex.quote(result.kubeconfig)}", "in each terminal"
        if shutil.which("kubectl") is None and options.place == "dev cluster":
            yield (
                'export PATH="$PATH:$(devcluster/cluster.py build --find)"',
                "the dev cluster brings a kubectl",
            )
    yield f"reroll controller {where} --key-namespace {result.namespace}{flags}", "in a terminal of its own"
    patch = """-p '{"data":{"SEARCH":"off"}}'"""
    yield f"kubectl{flags} {where} patch configmap/features --type merge {patch}", "web reads all of it"
    yield f"kubectl{flags} {where} get events", "why it was rolled"
    yield (
        f"reroll explain deployment/web {where} --key-namespace {result.namespace}{flags}",
        "what it consumes",
    )
    if options.place == "sandbox":
        return
    yield f"kubectl{flags} delete namespace {result.namespace}", "when done"
    if options.place == "dev cluster":
        yield "make cluster-down", "stop the dev cluster"


def _commands(rows: Iterable[tuple[str, str]]) -> RenderableType:
    """Commands that can be copied, each with a remark."""
    return Group(
        *(Text.assemble(f"  {command:<30}", (f" # {remark}", "dim")) for command, remark in rows),
    )
