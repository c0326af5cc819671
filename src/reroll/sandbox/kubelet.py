"""The kubelet of all nodes: gives pods a node, starts their containers, refreshes their files and ends them.

No process runs. A container starts when everything that it needs is there, is ready a while later or crashes by
a rule, and what it was given is kept: see `reroll.sandbox.content`.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Iterable
from functools import partial
from itertools import count
from typing import Final

from msgspec import Struct, field

from reroll.core.durations import parse_duration
from reroll.kube.event_object import event_name, microtime
from reroll.sandbox import conditions
from reroll.sandbox.clockwork import MOMENT, Clockwork
from reroll.sandbox.content import (
    ConfigKind,
    ContainerContent,
    Content,
    Finding,
    Unavailable,
    Volumes,
    containers_of,
    projected,
    stale,
    start,
    uses_in_files,
    uses_in_variables,
    volumes,
)
from reroll.sandbox.crashes import CrashRule, crash_if
from reroll.sandbox.kinds import CONFIG_MAP, EVENT, JOB, NODE, POD, SECRET, Kind
from reroll.sandbox.pod_status import Life, Phase, crashed_state, pod_status
from reroll.sandbox.pods import controller_of, fits, has_ended, is_ending
from reroll.sandbox.storage import Object

READY_AFTER: Final = "sandbox.reroll.dev/ready-after"
"""On a pod template: how long its pods take to become Ready, such as ``2s``."""
FINISH_AFTER: Final = "sandbox.reroll.dev/finish-after"
"""On a pod template: how long its containers run before they end well. Those of a Job do without."""

_KINDS: Final[dict[ConfigKind, Kind]] = {"configmap": CONFIG_MAP, "secret": SECRET}
_SHORTEST_BACKOFF: Final = 0.1
"""Seconds: less would keep the event loop busy with one crashing pod."""
_LONGEST_BACKOFF: Final = 30
"""Times the first backoff: where the doubling ends."""


class Pace(Struct, frozen=True):
    """How long things take, in seconds."""

    ready_after: float = 0.5
    """From a container's start until its pod is Ready."""
    kubelet_sync: float = 2.0
    """From a change of a ConfigMap or Secret until mounted files follow: 0 to 90 s on a real node."""
    terminate_after: float = 0.1
    """From a pod's deletion until it is gone, where its grace period is not shorter."""
    finish_after: float = 1.0
    """From the start of a Job's pod until it succeeds."""
    crash_backoff: float = 1.0
    """From a crash until the container is started again; twice as long after each."""


class _Run(Struct):
    """What the kubelet knows of one pod."""

    uid: str
    address: str
    variables: set[tuple[ConfigKind, str]]
    """The config objects that its variables are of."""
    files: set[tuple[ConfigKind, str]]
    """Those that its files are of."""
    mounted: Volumes | None = None
    """None: its volumes are not set up yet."""
    started: dict[str, ContainerContent] = field(default_factory=dict)
    """By container."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Why a container can't be configured."""
    since: float = 0.0
    """When the last container started, on the loop's clock."""
    crash: str = ""
    """Why it crashed; "": it did not."""
    last_state: Object = field(default_factory=dict)
    """What is told of the last crash."""
    restarts: int = 0
    refreshing: bool = False
    ending: bool = False
    warned: set[str] = field(default_factory=set)


class Kubelet:
    """Runs the pods of a sandbox."""

    def __init__(self, clockwork: Clockwork, pace: Pace, crash: CrashRule | None = None) -> None:
        self._clockwork = clockwork
        self._storage = clockwork.storage
        self._pace = pace
        self._rules = (crash, crash_if) if crash else (crash_if,)
        self._runs: dict[tuple[str, str], _Run] = {}
        self._users: dict[tuple[Kind, str, str], set[tuple[str, str]]] = {}
        """By config object, the pods that use it."""
        self._counter = count(1)
        self._digest_key = secrets.token_bytes(16)

    # --- what pods run with ---------------------------------------------------------------------------

    def content(self, pod: Object) -> Content:
        """What the containers of a pod that were started run with."""
        meta = pod["metadata"]
        run = self._runs.get((meta["namespace"], meta["name"]))
        started = run.started if run is not None and run.uid == meta["uid"] else {}
        held = tuple(started[one["name"]] for one in containers_of(pod) if one["name"] in started)
        return Content(meta["name"], held)

    def stale(self, pod: Object) -> list[Finding]:
        """Where a pod runs with something else than a new one would be given."""
        find = partial(self._find, pod["metadata"]["namespace"])
        return stale(self.content(pod), pod, find, self._digest)

    def _digest(self, value: bytes) -> str:
        return hashlib.blake2b(value, key=self._digest_key, digest_size=6).hexdigest()

    def _find(self, namespace: str, kind: ConfigKind, name: str) -> Object | None:
        return self._storage.find(_KINDS[kind], namespace, name)

    # --- config objects -------------------------------------------------------------------------------

    def config_changed(self, kind: Kind, namespace: str, name: str) -> None:
        """Let pods that wait for a ConfigMap or Secret start, and refresh mounted files a while later."""
        for key in self._users.get((kind, namespace, name), ()):
            run = self._runs[key]
            if run.mounted is None or run.waiting:
                self._clockwork.touch(POD, *key)
            if run.mounted is not None and not run.refreshing and (kind, name) in _kinds(run.files):
                run.refreshing = True
                self._clockwork.call_in(self._pace.kubelet_sync, partial(self._refresh, key, run))

    def _refresh(self, key: tuple[str, str], run: _Run) -> None:
        run.refreshing = False
        pod = self._storage.find(POD, *key)
        if pod is None or self._runs.get(key) is not run:
            return
        try:
            run.mounted = volumes(pod, partial(self._find, key[0]))
        except Unavailable:
            return  # what is mounted stays as it was until the object is back
        fresh = projected(self.content(pod), pod, run.mounted)
        run.started = {held.name: held for held in fresh.containers}

    # --- pods -----------------------------------------------------------------------------------------

    def forget(self, namespace: str, name: str, uid: str) -> None:
        """A pod is gone."""
        run = self._runs.get((namespace, name))
        if run is None or run.uid != uid:
            return
        del self._runs[namespace, name]
        for kind, used in _kinds(run.variables | run.files):
            self._users[kind, namespace, used].discard((namespace, name))

    def sync(self, namespace: str, name: str) -> None:
        """Take one pod's next step, and tell its status."""
        pod = self._storage.find(POD, namespace, name)
        if pod is None:
            return
        run = self._run_of(pod)
        if is_ending(pod):
            if not run.ending:
                run.ending = True
                grace = pod["metadata"].get("deletionGracePeriodSeconds", 0)
                self._clockwork.call_in(min(self._pace.terminate_after, grace), partial(self._end, pod))
        elif not has_ended(pod) and (pod["spec"].get("nodeName") or self._bind(pod, run)):
            pod = self._storage.get(POD, namespace, name)
            self._start(pod, run)
            self._tell(pod, run)
            self._come_back(pod, run)

    def _run_of(self, pod: Object) -> _Run:
        meta = pod["metadata"]
        key = (meta["namespace"], meta["name"])
        run = self._runs.get(key)
        if run is None or run.uid != meta["uid"]:
            number = next(self._counter)
            address = f"10.244.{number // 250 % 250}.{number % 250 + 2}"
            run = self._runs[key] = _Run(meta["uid"], address, uses_in_variables(pod), uses_in_files(pod))
            for kind, used in _kinds(run.variables | run.files):
                self._users.setdefault((kind, key[0], used), set()).add(key)
        return run

    def _bind(self, pod: Object, run: _Run) -> bool:
        """Give a pod a node, as the scheduler does."""
        fitting = [node for node in self._storage.objects(NODE) if fits(pod["spec"], node)]
        if fitting:
            chosen = fitting[next(self._counter) % len(fitting)]["metadata"]["name"]
            bound = {**pod, "spec": {**pod["spec"], "nodeName": chosen}}
            self._storage.update(POD, bound, subresource="binding")
            return True
        message = "no node is schedulable and has the labels that the pod's nodeSelector asks for"
        self._warn(pod, run, "FailedScheduling", message)
        held = conditions.put(
            pod.get("status", {}).get("conditions") or [],
            "PodScheduled",
            "False",
            "Unschedulable",
            message,
            self._storage.timestamp(),
        )
        status = {**(pod.get("status") or {}), "phase": "Pending", "conditions": held}
        self._storage.update(POD, {**pod, "status": status}, subresource="status")
        return False

    def _start(self, pod: Object, run: _Run) -> None:
        """Start the containers that are not, as far as what they need is there."""
        find = partial(self._find, pod["metadata"]["namespace"])
        if run.crash and (_restarts(pod) and self._backoff(run) <= 0):
            # New containers: they are given their variables anew, and the files as they are by now.
            run.restarts += 1
            run.crash, run.started, run.mounted, run.waiting = "", {}, None, {}
        if run.mounted is None:
            try:
                run.mounted = volumes(pod, find)
            except Unavailable as error:
                note = f'MountVolume.SetUp failed for volume "{error.volume}" : {error}'
                self._warn(pod, run, "FailedMount", note)
                return
        run.waiting = {}
        begun = False
        init = {container["name"] for container in pod["spec"].get("initContainers") or ()}
        for container in containers_of(pod):
            if container["name"] in run.started:
                continue
            if not init.isdisjoint(run.waiting):
                break  # init containers run one after the other, and before all others
            try:
                run.started[container["name"]] = start(pod, container, run.mounted, find)
                run.since = self._clockwork.time()
                begun = True
            except Unavailable as error:
                run.waiting[container["name"]] = str(error)
                self._warn(pod, run, "Failed", f"Error: {error}")
        if begun and not run.waiting:
            self._judge(pod, run)

    def _tell(self, pod: Object, run: _Run) -> None:
        """Write the status of a pod that has a node."""
        up = run.mounted is not None and not run.waiting and not run.crash
        phase: Phase = "Running" if up or run.restarts or run.crash else "Pending"
        if run.crash and not _restarts(pod):
            phase = "Failed"
        elif up and self._age(run) >= self._finish_after(pod):
            phase = "Succeeded"
        life = Life(
            phase=phase,
            ready=up and phase == "Running" and self._age(run) >= self._ready_after(pod),
            crashed=bool(run.crash),
            started=run.started.keys(),
            waiting=run.waiting,
            restarts=run.restarts,
            last_state=run.last_state,
            address=run.address,
        )
        status = pod_status(pod, life, self._storage.timestamp())
        self._storage.update(POD, {**pod, "status": status}, subresource="status")

    def _judge(self, pod: Object, run: _Run) -> None:
        """Ask the rules whether the containers crash with what they were given."""
        content = self.content(pod)
        run.crash = next((why for rule in self._rules if (why := rule(pod, content))), "")
        if run.crash:
            run.last_state = crashed_state(run.crash, self._storage.timestamp())
            if _restarts(pod):
                self._warn(pod, run, "BackOff", "Back-off restarting failed container")

    def _come_back(self, pod: Object, run: _Run) -> None:
        """Ask to be looked at when the next thing is due."""
        if run.crash:
            due = [self._backoff(run)] if _restarts(pod) else []
        elif run.mounted is not None and not run.waiting:
            due = [after - self._age(run) for after in (self._ready_after(pod), self._finish_after(pod))]
        else:
            due = []
        if coming := [seconds for seconds in due if 0 < seconds < math.inf]:
            self._clockwork.touch_in(
                min(coming) + MOMENT, POD, pod["metadata"]["namespace"], pod["metadata"]["name"]
            )

    def _age(self, run: _Run) -> float:
        """Seconds since the last container started, and a moment more: what is that near counts as due."""
        return self._clockwork.time() - run.since + MOMENT

    def _backoff(self, run: _Run) -> float:
        """Seconds until crashed containers are started again."""
        times: int = min(2**run.restarts, _LONGEST_BACKOFF)
        return max(self._pace.crash_backoff, _SHORTEST_BACKOFF) * times - self._age(run)

    def _ready_after(self, pod: Object) -> float:
        asked = _duration(pod, READY_AFTER)
        return self._pace.ready_after if asked is None else asked

    def _finish_after(self, pod: Object) -> float:
        """Infinity: its containers run until they are ended."""
        if not _restarts(pod, ended_well=True):
            asked = _duration(pod, FINISH_AFTER)
            if asked is not None:
                return asked
            if (controller_of(pod) or {}).get("kind") == JOB.kind:
                return self._pace.finish_after
        return math.inf

    def _end(self, pod: Object) -> None:
        meta = pod["metadata"]
        there = self._storage.find(POD, meta["namespace"], meta["name"])
        if there is not None and there["metadata"]["uid"] == meta["uid"]:
            self._storage.delete(POD, meta["namespace"], meta["name"], grace=0)

    def _warn(self, pod: Object, run: _Run, reason: str, note: str) -> None:
        """A Warning Event, once per cause."""
        if note in run.warned:
            return
        run.warned.add(note)
        meta = pod["metadata"]
        self._storage.create(
            EVENT,
            {
                "metadata": {"name": event_name(meta["name"]), "namespace": meta["namespace"]},
                "eventTime": microtime(self._storage.now()),
                "reportingController": "kubelet",
                "reportingInstance": pod["spec"].get("nodeName") or "sandbox",
                "action": reason,
                "reason": reason,
                "type": "Warning",
                "note": note,
                "regarding": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "namespace": meta["namespace"],
                    "name": meta["name"],
                    "uid": meta["uid"],
                },
            },
        )


def _kinds(used: Iterable[tuple[ConfigKind, str]]) -> set[tuple[Kind, str]]:
    return {(_KINDS[kind], name) for kind, name in used}


def _restarts(pod: Object, *, ended_well: bool = False) -> bool:
    """True if containers that ended are started again."""
    policy = pod["spec"].get("restartPolicy", "Always")
    return policy == "Always" or (policy == "OnFailure" and not ended_well)


def _duration(pod: Object, annotation: str) -> float | None:
    """The seconds of an annotation; None where it is not there or can't be read."""
    text = (pod["metadata"].get("annotations") or {}).get(annotation)
    try:
        return None if text is None else parse_duration(text)
    except ValueError:
        return None
