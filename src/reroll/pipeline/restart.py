"""Restarts workloads, so many at a time, and follows each to its end. After a failure no further one is begun.

The method `rollout` writes the annotation of `kubectl rollout restart` on the pod template, and the workload's own
controller replaces the pods; `evict` and `delete-pods` leave the template as it is and have the pods go one after
another, each when all others are ready, by the eviction API (which PodDisruptionBudgets can delay) or by deletion.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from reroll.core.kinds import DAEMON_SET, DEPLOYMENT, DEPLOYMENT_CONFIG, KINDS, STATEFUL_SET
from reroll.core.progress import Progress
from reroll.core.records import WorkloadId
from reroll.kube.client import Client
from reroll.kube.errors import ApiError, Conflict, NotFound, TooManyRequests
from reroll.kube.resources import PODS
from reroll.modes.bodies import place, timestamp
from reroll.modes.restart import Pod, evict, next_step, pods_of
from reroll.pipeline.result import Method, Outcome, Result, Silent, State, View
from reroll.pipeline.selection import Target
from reroll.rollouts.live import RESTARTABLE, RESTARTED_AT, Live, decode_live, read
from reroll.rollouts.paths import path
from reroll.rollouts.progress import after_verdict
from reroll.rollouts.reasons import why
from reroll.rollouts.rollback import take_back
from reroll.rollouts.wait import Ended, follow

_ATTEMPTS = 5
_EVERY = 0.5
_LOOK_CLOSER = 5.0


class Options(Struct, frozen=True):
    """How it is to be done."""

    method: Method = "rollout"
    wait: bool = False
    """The methods that have pods go one by one wait in any case."""
    timeout: float = 600.0
    """Seconds, for all together."""
    max_in_flight: int = 10
    rollback: bool = False
    """Take a restart back that failed or did not end in time; only of the method rollout, with `wait`."""
    dry_run: bool = False
    log_lines: int = 10


async def restart(
    client: Client, targets: Sequence[Target], options: Options, view: View | None = None
) -> Result:
    """Restart these workloads. What goes wrong with one is its outcome; nothing is raised but programming errors."""
    return Result(await each_of(targets, Restarter(client, options, view or Silent()).one, options, view))


async def each_of(
    targets: Sequence[Target],
    one: Callable[[Target, float], Any],
    options: Options,
    view: View | None,
) -> tuple[Outcome, ...]:
    """Call `one` (a coroutine function of the target and the deadline that returns its Outcome) for each target, some
    at a time. None is begun after a failure or the deadline."""
    deadline = time.monotonic() + options.timeout
    outcomes: dict[int, Outcome] = {}
    waiting = list(reversed(list(enumerate(targets))))
    stopped = False

    async def work() -> None:
        nonlocal stopped
        while waiting:
            number, target = waiting.pop()
            began = time.monotonic()
            if stopped or (began >= deadline and not options.dry_run):
                words = (
                    "another one failed before its turn" if stopped else "the time was over before its turn"
                )
                found = outcome(target, "not started", words, options.method)
            else:
                try:
                    found = await one(target, deadline)
                except NotFound:
                    found = outcome(target, "failed", "there is no such workload", options.method)
                except ApiError as error:
                    found = outcome(target, "failed", error.message, options.method)
                except msgspec.DecodeError as error:
                    found = outcome(target, "failed", f"an answer is not understood: {error}", options.method)
                found = replace(found, seconds=round(time.monotonic() - began, 1))
            stopped = stopped or found.state in ("failed", "timed out")
            outcomes[number] = found
            if view is not None:
                view.ended(found)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, min(options.max_in_flight, len(targets)))):
                group.create_task(work())
    except ExceptionGroup as several:
        raise several.exceptions[0] from None  # such as BrokenPipeError, of whoever shows the progress
    return tuple(outcomes[number] for number in sorted(outcomes))


def outcome(target: Target, state: State, message: str, action: str) -> Outcome:
    """An outcome of this target."""
    kind, namespace, name = target.workload
    return Outcome(kind, namespace, name, state, message, action=action, why=target.why)


def refusal(live: Live, workload: WorkloadId, method: Method) -> tuple[State, str] | None:
    """(state, why) where this workload can't be restarted by this method, or has nothing to restart. Pure."""
    word = f"{workload.kind.lower()}/{workload.name} -n {workload.namespace}"
    if live.metadata.deletion_timestamp is not None:
        return "refused", "it is being deleted"
    no_pods = (
        live.status.desired_number_scheduled == 0
        if workload.kind == DAEMON_SET.id
        else live.spec.replicas == 0
    )
    if no_pods:
        return (
            "skipped",
            "it has no pods (0 replicas): those that it starts next read the configuration as it is then",
        )
    if method != "rollout":
        return None
    if live.spec.paused and workload.kind in (DEPLOYMENT.id, DEPLOYMENT_CONFIG.id):
        return "refused", (
            f"it is paused, so its pods would not be replaced: resume it first (kubectl rollout resume {word}), or "
            f"have its pods replaced with --method evict"
        )
    if live.strategy == "OnDelete":
        return "refused", (
            "its update strategy is OnDelete: a change of its pod template replaces no pod. Have its pods replaced "
            "with --method evict or --method delete-pods"
        )
    if workload.kind == STATEFUL_SET.id and live.partition and live.partition >= (live.spec.replicas or 1):
        return "refused", (
            f"the partition {live.partition} of its update strategy keeps all its pods on the older revision: "
            f"lower it, or have its pods replaced with --method evict"
        )
    return None


def remark(live: Live, method: Method) -> str:
    """What a person wants to know before a restart; "" if nothing. Pure."""
    if method == "rollout" and live.strategy == "Recreate":
        return "its strategy is Recreate: all its pods stop before new ones start"
    if method == "rollout" and live.partition:
        return f"its partition is {live.partition}: pods of lower ordinals are not restarted"
    return ""


class Restarter:
    """Restarts one workload after another."""

    def __init__(self, client: Client, options: Options, view: View) -> None:
        self._client, self._options, self._view = client, options, view

    async def one(self, target: Target, deadline: float) -> Outcome:
        method, workload = self._options.method, target.workload
        if workload.kind not in RESTARTABLE:
            return outcome(target, "refused", _other_kind(workload.kind), method)
        live = await read(self._client, workload)
        refused = refusal(live, workload, method)
        if refused is not None:
            return outcome(target, *refused, method)
        note = remark(live, method)
        if method == "rollout":
            found = await self._roll(target, live, deadline)
        elif self._options.dry_run:
            found = outcome(target, "planned", f"would have its pods go one by one ({method})", method)
        else:
            found = await self._replace_pods(target, live, deadline)
        return replace(found, message=f"{found.message}; {note}") if note else found

    async def _roll(self, target: Target, live: Live, deadline: float) -> Outcome:
        options, workload = self._options, target.workload
        ours, before, begun = await self._mark(workload, live, dry_run=options.dry_run)
        if options.dry_run:
            return outcome(target, "planned", "would be restarted", "rollout")
        if not options.wait:
            return outcome(target, "restarted", "restarted; not waited for", "rollout")
        ended = await follow(
            self._client,
            workload,
            deadline=deadline,
            told=lambda now: self._told(workload, now),
            log_lines=options.log_lines,
            begun=begun,
            since=after_verdict(live, workload.kind),
        )
        found = replace(outcome(target, ended.state, ended.words, "rollout"), reasons=ended.reasons)
        if ended.state == "done" or not options.rollback:
            return found
        if ended.superseded:
            return replace(found, message=f"{found.message}; not taken back: that one is not ours")
        return await self._take_back(found, workload, ours, before)

    async def _mark(self, workload: WorkloadId, live: Live, *, dry_run: bool) -> tuple[str, str | None, Live]:
        """Start the rollout. Returns (what was written, what was there before, the workload as it is now)."""
        kind = KINDS[workload.kind]
        where = kind.restart_at or (*kind.template, "metadata", "annotations", RESTARTED_AT)
        for attempt in range(_ATTEMPTS):
            before = live.spec.restart_at if kind.restart_at else live.restarted_at
            if timestamp(time.time()) == before:
                await asyncio.sleep(1.0)  # the same text once more would change nothing
            ours = timestamp(time.time())
            body: dict[str, Any] = {"metadata": {"resourceVersion": live.metadata.resource_version}}
            place(body, where, ours)
            try:
                query = "?dryRun=All" if dry_run else ""
                answer = await self._client.patch(path(workload, KINDS) + query, msgspec.json.encode(body))
                return ours, before, decode_live(answer)
            except Conflict:
                if attempt + 1 == _ATTEMPTS:
                    raise
                live = await read(self._client, workload)
        raise AssertionError("not reached")

    async def _take_back(
        self, found: Outcome, workload: WorkloadId, ours: str, before: str | None
    ) -> Outcome:
        if KINDS[workload.kind].restart_at:
            return replace(found, message=f"{found.message}; a Rollout's restart can't be taken back")
        self._told(workload, Progress("going", f"{found.state}: it is taken back"))
        try:
            taken = await take_back(self._client, workload, ours, before)
            if taken.problem:
                return replace(found, message=f"{found.message}; not taken back: {taken.problem}")
            back = await follow(
                self._client,
                workload,
                deadline=time.monotonic() + self._options.timeout,
                told=lambda now: self._told(workload, replace(now, words=f"taken back: {now.words}")),
                log_lines=0,
                begun=taken.after,
                since=taken.since,
            )
        except ApiError as error:
            return replace(found, message=f"{found.message}; not taken back: {error.message}")
        words = f"taken back: {back.words}" if back.state == "done" else f"taken back, and then {back.words}"
        return replace(found, message=f"{found.message}; {words}", rolled_back=True)

    async def _replace_pods(self, target: Target, live: Live, deadline: float) -> Outcome:
        method, workload, kind = self._options.method, target.workload, KINDS[target.workload.kind]
        pods = await pods_of(self._client, workload, kind, live.pods_selector)
        going = {
            pod.short for pod in pods if not pod.going and (target.pods is None or pod.name in target.pods)
        }
        if not going:
            return outcome(target, "skipped", "it has no pods that are to go", method)
        closer = time.monotonic() + _LOOK_CLOSER
        while True:
            wanted = live.status.desired_number_scheduled or live.spec.replicas or 1
            step = next_step(going, pods, wanted)
            serving = sum(pod.ready and not pod.going for pod in pods)
            gone = len(going) - step.left
            if not step.left and serving >= wanted:
                return outcome(target, "done", f"{_counted(len(going))} replaced, {serving} ready", method)
            words = step.wait_for or f"{gone} of {_counted(len(going))} replaced"
            try:
                for pod in step.evict:
                    await self._send_away(workload.namespace, pod)
            except TooManyRequests as error:
                words = f"a PodDisruptionBudget allows no eviction just now: {error.message}"
            self._told(workload, Progress("going", words, gone, len(going)))
            now = time.monotonic()
            if now >= closer or now >= deadline:
                closer = now + _LOOK_CLOSER
                found = await why(self._client, workload, live, log_lines=self._options.log_lines)
                if found.broken and now < deadline:
                    ended = Ended(
                        "failed", "a pod that was started anew crashes again and again", found.reasons
                    )
                elif now >= deadline:
                    ended = Ended("timed out", f"not done in time: {words}", found.reasons)
                else:
                    ended = None
                if ended is not None:
                    return replace(outcome(target, ended.state, ended.words, method), reasons=ended.reasons)
            await asyncio.sleep(_EVERY)
            pods = await pods_of(self._client, workload, kind, live.pods_selector)
            live = await read(self._client, workload)

    async def _send_away(self, namespace: str, pod: Pod) -> None:
        if self._options.method == "evict":
            await evict(self._client, namespace, pod)
            return
        body = msgspec.json.encode({"preconditions": {"uid": pod.uid}})
        with contextlib.suppress(NotFound, Conflict):
            await self._client.delete(PODS.path(namespace, pod.name), body)

    def _told(self, workload: WorkloadId, now: Progress) -> None:
        self._view.going(workload, now.words, now.new, now.wanted)


def _other_kind(kind: str) -> str:
    return {
        "CronJob": "a CronJob's next Job reads the configuration as it is then: there is nothing to restart",
        "Job": "a Job's pod template can't be changed: delete it and create it again",
    }.get(kind, f"a {kind} is not restarted here: only {', '.join(RESTARTABLE)}")


def _counted(pods: int) -> str:
    return f"{pods} pod{'' if pods == 1 else 's'}"
