"""The demo from its start to its end: a cluster, the app, the controller, the steps, and all of it removed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import msgspec
from msgspec import Struct

from reroll.demo import example
from reroll.demo.board import Board, Shown, brief
from reroll.demo.dev_cluster import DevCluster
from reroll.demo.error import DemoError, StepFailed
from reroll.demo.observer import EventView, Look
from reroll.demo.result import DemoResult, StepResult
from reroll.demo.sandbox import sandbox
from reroll.demo.stage import SETTLE, Stage
from reroll.demo.steps import STEPS, Step
from reroll.kube.client import Client
from reroll.kube.config import ClusterConfig, load_config
from reroll.kube.errors import ApiError

APP_READY_WITHIN = 180.0
"""Seconds for the app's pods to start; a cluster of one's own pulls an image first."""
STEP_WITHIN = 60.0
"""Seconds for the rollouts of one step to end."""
QUIET = SETTLE + 1.5
"""Seconds without a new rollout after which none is to be expected any more."""

Pause = Callable[[], Awaitable[None]]
Linger = Callable[[DemoResult], Awaitable[None]]


class Options(Struct, frozen=True, kw_only=True):
    """Where and how. Without a kubeconfig and a context it is on the sandbox, or (`real`) on the dev cluster."""

    kubeconfig: str | None = None
    context: str | None = None
    real: bool = False
    keep: bool = False
    namespace: str = example.NAMESPACE
    steps: Sequence[Step] = STEPS

    @property
    def place(self) -> Literal["sandbox", "dev cluster", "given"]:
        """Whose cluster it is."""
        if self.kubeconfig or self.context:
            return "given"
        return "dev cluster" if self.real else "sandbox"


async def run(
    options: Options, board: Board, pause: Pause | None = None, linger: Linger | None = None
) -> DemoResult:
    """Run the steps until one fails. `pause` is awaited before each.

    Whatever happens, the controller is stopped, and without `keep` the namespace and the dev cluster are
    removed; with it they stay if the steps came to an end. The sandbox lives in this process and ends with it:
    with `keep`, `linger` is awaited while it is there. Raises DemoError, ConfigError and ApiError.
    """
    try:
        return await _run(options, board, pause, linger)
    except asyncio.CancelledError:
        board.doing("")  # it was cleaned up after: a second interrupt does not get here
        raise
    finally:
        board.finish()


async def _run(options: Options, board: Board, pause: Pause | None, linger: Linger | None) -> DemoResult:
    board.namespace = options.namespace
    board.steps = [Shown(step.title, step.command, step.expected, step.outcome) for step in options.steps]
    async with (
        _cluster(options, board) as (config, connection, kubeconfig),
        Client(config, field_manager="reroll-demo") as client,
        Client(config, field_manager=example.OPERATOR) as operator,
    ):
        board.cluster = f"{await _version(client)}, {_where(options, config)}"
        promise = "kept" if options.keep else "removed at the end"
        board.say(f"cluster: {board.cluster}")
        board.say(f"namespace: {options.namespace}, made for this and {promise}; nothing else is written")
        async with _app(options, board, client, operator):
            stage = Stage(client, operator, options.namespace, board, connection)
            try:
                results = await _steps(options, board, stage, pause)
            finally:
                board.doing("stopping the controller")
                await stage.controller.stop()
                board.controller = "stopped"
        result = DemoResult(
            ok=len(results) == len(options.steps) and all(result.ok for result in results),
            cluster=board.cluster,
            namespace=options.namespace,
            kubeconfig=kubeconfig if options.keep else "",
            seconds=round(board.seconds, 1),
            steps=results,
        )
        if options.keep and options.place == "sandbox" and linger is not None:
            board.doing("")
            await linger(result)
    board.doing("")
    return result


# --- around the steps --------------------------------------------------------------------------------


@asynccontextmanager
async def _cluster(options: Options, board: Board) -> AsyncIterator[tuple[ClusterConfig, list[str], str]]:
    """The way to the API server, the options by which the controller finds it, and its kubeconfig."""
    if options.place == "sandbox":
        board.doing("sandbox: starting")
        async with sandbox() as kubeconfig:
            yield load_config(kubeconfig=kubeconfig), ["--kubeconfig", kubeconfig], kubeconfig
        return
    if options.place == "given":
        config = load_config(kubeconfig=options.kubeconfig, context=options.context)
        connection: list[str] = []
        if options.kubeconfig:
            connection += ["--kubeconfig", options.kubeconfig]
        if options.context:
            connection += ["--context", options.context]
        yield config, connection, options.kubeconfig or ""
        return
    cluster = DevCluster(board.doing, keep=options.keep)
    whole = False
    try:
        board.doing("dev cluster: starting")
        kubeconfig = await cluster.start()
        yield load_config(kubeconfig=kubeconfig), ["--kubeconfig", kubeconfig], kubeconfig
        whole = True
    finally:
        if not (options.keep and whole):
            board.doing("stopping the dev cluster")
            await cluster.stop()


@asynccontextmanager
async def _app(options: Options, board: Board, client: Client, operator: Client) -> AsyncIterator[None]:
    """The namespace with the app in it."""
    board.doing(f"making namespace {options.namespace}")
    if await example.claim_namespace(client, options.namespace):
        board.say("what an earlier demo left there was removed first", "quiet")
    whole = False
    try:
        board.doing("applying the example app: three Deployments, a StatefulSet and what they consume")
        count = await example.apply(client, operator, options.namespace)
        board.say(f"applied {count} objects")
        yield
        whole = True
    finally:
        if not (options.keep and whole):
            board.doing(f"removing namespace {options.namespace}")
            try:
                # A cluster of our own takes it along; in another one it should be gone when we say so.
                if options.place == "given" or options.keep:
                    await example.remove_namespace(client, options.namespace, wait=True)
            except (ApiError, DemoError) as error:
                if whole:
                    raise
                # What went wrong first is told by its own error, which is on its way.
                board.left = f"namespace {options.namespace} could not be removed: {error}"


async def _version(client: Client) -> str:
    answer = msgspec.json.decode(await client.get("/version"))
    return f"Kubernetes {answer.get('gitVersion', '?')}"


def _where(options: Options, config: ClusterConfig) -> str:
    return f"{config.server} ({config.origin})" if options.place == "given" else options.place


# --- the steps ---------------------------------------------------------------------------------------


async def _steps(options: Options, board: Board, stage: Stage, pause: Pause | None) -> list[StepResult]:
    board.doing("waiting for the pods of the app")
    try:
        look = await stage.until(
            lambda look: all(view.settled for view in look.workloads.values()),
            "the pods of the example app are ready",
            APP_READY_WITHIN,
        )
    except StepFailed as error:
        raise DemoError("; ".join([str(error), *await stage.pod_problems()])) from None
    results: list[StepResult] = []
    for number, (step, shown) in enumerate(zip(options.steps, board.steps, strict=True), 1):
        if pause is not None:
            await pause()
        result, look = await _step(number, step, shown, board, stage, look)
        results.append(result)
        if not result.ok:
            break
    return results


async def _step(
    number: int, step: Step, shown: Shown, board: Board, stage: Stage, before: Look
) -> tuple[StepResult, Look]:
    """Do one step and compare what came of it with what it says. `before`: how things stood."""
    began = time.monotonic()
    board.begin(shown)
    board.say(f"step {number} of {len(board.steps)}: {step.title}", "step")
    board.say(f"  $ {step.command}")
    board.say(f"  expected: {step.expected}")
    problem, look = "", before
    try:
        await step.act(stage)
        look = await _settled(step, stage, before)
        problem = compare(step, before, look)
        if not problem and not stage.controller.running:
            problem = f"the controller ended by itself:\n{stage.controller.tail}"
    except (StepFailed, DemoError) as error:
        problem = str(error)
        look = await stage.look()
    shown.seen = problem or _seen(step, look)
    shown.why = why(step, before, look, board)
    shown.state = "failed" if problem else "passed"
    if problem:
        shown.outcome = "failed"
    for name, reason in shown.why.items():
        board.say(f"  why {name}: {brief(reason)}")
    board.say(f"{'✗' if problem else '✓'} {shown.seen}", "bad" if problem else "good")
    result = StepResult(
        number=number,
        title=step.title,
        command=step.command,
        expected=step.expected,
        ok=not problem,
        seen=shown.seen,
        why=shown.why,
        rollouts={name: count for name, count in begun(before, look).items() if count},
        seconds=round(time.monotonic() - began, 1),
    )
    return result, look


async def _settled(step: Step, stage: Stage, before: Look) -> Look:
    """Look until all that is expected has happened and ended, and nothing more came for a while; or until
    too much happened, or the time is over."""
    began = changed = time.monotonic()
    last = before.revisions
    while True:
        look = await stage.look()
        now = time.monotonic()
        if look.revisions != last:
            last, changed = look.revisions, now
        too_many = any(count > step.rollouts.get(name, 0) for name, count in begun(before, look).items())
        ended = all(view.settled for view in look.workloads.values())
        whole = ended and now - changed > QUIET and not compare(step, before, look)
        if whole or too_many or now - began > STEP_WITHIN or not stage.controller.running:
            return look
        await asyncio.sleep(0.15)


def begun(before: Look, after: Look) -> dict[str, int]:
    """New rollouts by workload."""
    return {name: view.revision - before.revisions.get(name, 0) for name, view in after.workloads.items()}


def new_events(before: Look, after: Look) -> list[EventView]:
    """Events of rollouts that were not there before."""
    known = {event.id for event in before.events}
    return [event for event in after.events if event.id not in known and event.reason == "Rolled"]


def compare(step: Step, before: Look, after: Look) -> str:
    """What is not as the step says, in words; "" if all is."""
    problems: list[str] = []
    events = {event.workload: event.note for event in new_events(before, after)}
    for name, count in begun(before, after).items():
        wanted = step.rollouts.get(name, 0)
        view = after.workloads[name]
        if count != wanted:
            problems.append(f"{name}: {_times(count)} instead of {wanted or 'none'}")
        elif wanted and not view.settled:
            problems.append(f"{name}: its rollout has not ended")
        if name in step.told and name not in events:
            problems.append(f"{name}: no Event of reroll tells why it was rolled")
        elif name not in step.told and name in events:
            problems.append(f"{name}: rolled by reroll ({events[name]})")
    problems += [f"{name}: it is gone" for name in before.workloads.keys() - after.workloads.keys()]
    return "; ".join(problems)


def why(step: Step, before: Look, after: Look, board: Board) -> dict[str, str]:
    """Events about the rollouts of this step; where nothing was rolled, reroll's last word on it."""
    reasons: dict[str, str] = {}
    for event in new_events(before, after):
        note = event.note.removeprefix("rolled: ")
        reasons[event.workload] = (
            f"{reasons[event.workload]}; then {note}" if event.workload in reasons else note
        )
    for name in step.about:
        told = board.last_decision(name)
        known = reasons.get(name)
        if told is not None and (known is None or _is_cut(known, told.reason)):
            reasons[name] = told.reason
    return reasons


def _is_cut(note: str, reason: str) -> bool:
    """A note holds 1 kB; the log has the whole of it."""
    return note.endswith("…") and reason.startswith(note[:-1])


def _seen(step: Step, look: Look) -> str:
    if not step.rollouts:
        return "no rollout"
    parts = []
    for name, count in step.rollouts.items():
        view = look.workloads[name]
        by = "" if name in step.told else " (none by reroll)"
        parts.append(f"{name}: {_times(count)}{by}, {view.desired}/{view.desired} pods new")
    return "; ".join(parts)


def _times(count: int) -> str:
    return f"{count} rollout{'' if count == 1 else 's'}"
