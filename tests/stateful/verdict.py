"""What has to hold at rest: by what runs, by what the server holds, and by how often was rolled.

- No pod of what is followed was created with other content than is there now, unless its record says that older pods
  are left, and a Warning Event does, or it was adopted so.
- Each workload was rolled at least once if what it consumes differs from the rest before and no other client had its
  pods started; at most as often as that was written; and exactly once per net change where all was written within the
  settle time and nothing failed.
- What is not opted in, or is finished, was not touched.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from prometheus_client import generate_latest

from reroll.core.applied import APPLIED, decode
from reroll.core.digests import config_map_digests, secret_digests
from reroll.core.records import ConfigId, ConfigRecord, Missing, WorkloadId
from reroll.insight.explain import explain
from reroll.settings import Settings
from tests.faults.world import PATIENCE
from tests.stateful.cast import BYSTANDER, DEPLOYMENTS, DONE, FOLLOWERS, JOBS, RESOURCES
from tests.stateful.stage import Content, Stage

_SAME_TIME = 2.0
"""Seconds: what was created and changed within so short a time can't be ordered by times, which are whole seconds."""


class Verdict:
    """Judges one stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._done: str = ""
        self._patience = PATIENCE

    async def at_rest(self, *, first: bool = False, exact: bool = False, within: float = PATIENCE) -> None:
        """All faults are lifted, a controller runs, and everything came to an end: then it has to be right."""
        self._patience = within
        stage, world = self.stage, self.stage.world
        for proxy in stage.proxies:
            proxy.heal()
        if not stage.controllers:
            await stage.start()
        controls = stage.controllers.values()
        await world.until_true(lambda: all(c.working for c in controls), "the controllers work")
        await world.until_true(lambda: any(c.leading for c in controls), "a controller leads")
        await world.until_true(
            lambda: all(check.ok for c in controls for check in c.ready_checks()), "all is read"
        )
        await world.until(self._equal, "the stores equal the server")
        await self._until_right("nobody runs stale configuration")
        await world.until_idle(*controls)
        await self._until_right("nobody runs stale configuration, when all is done")
        await world.until(self._all_seen, "the watch of templates has told of all")
        if not first and len(stage.controllers) > 1 and not stage.elected:
            exact = False
        for name in FOLLOWERS:
            self._count(name, first=first, exact=exact)
        await self._bystanders()
        stage.rough = len(stage.controllers) > 1 and not stage.elected

    async def _until_right(self, what: str) -> None:
        """Wait until nothing is wrong; else fail with what is."""
        wrong: list[str] = []
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    await self.stage.release()
                    wrong = [each for name in FOLLOWERS for each in await self._wrong(name)]
                    if not wrong:
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"not within {self._patience:.0f} s: {what}: {'; '.join(wrong)}") from None

    # --- what runs -------------------------------------------------------------------------------------

    def held_up(self, name: str) -> bool:
        """It does not follow, or can't come to an end."""
        stage, follower = self.stage, FOLLOWERS[name]
        missing = any(stage.content[each] is None for each in follower.consumed)
        return name in stage.off | stage.paused | stage.gone or (missing and not follower.optional)

    async def _wrong(self, name: str) -> list[str]:
        if self.held_up(name):
            return []
        stage, follower = self.stage, FOLLOWERS[name]
        answer = await stage.world.request(
            "GET", stage.world.path(follower.resource.plural, name), allowed=[404]
        )
        if answer["kind"] == "Status":
            return [f"{name} does not exist"]
        if follower.resource in RESOURCES[:3] and not _ended(answer):
            return [f"the rollout of {name} is not over: {answer.get('status')}"]
        record = _record(answer)
        left = record.left if record is not None else 0
        wrong: list[str] = []
        if left:
            events = await stage.world.get("events")
            told = any(
                event["reason"] in ("PutBack", "Contested") and event["regarding"]["name"] == name
                for event in events["items"]
            )
            if not told:
                wrong.append(f"{name}: older pods are left, and no Event says so")
        elif follower.resource in RESOURCES[:3]:
            wrong += [
                f"{name}: pod {pod['metadata']['name']} runs old content of {', '.join(old)}"
                for pod in await self._pods(name, answer)
                if (old := self._old(name, pod))
            ]
        told_by = await explain(
            stage.client,
            WorkloadId(follower.resource.kind, stage.namespace, name),
            Settings(settle=0.0),
            key_places=[(stage.namespace, "reroll-digest-key")],
        )
        if told_by.stale or told_by.decision != "skip":
            wrong.append(f"{name}: explain says {told_by.decision}: {told_by.reason}")
        return wrong

    async def _pods(self, name: str, workload: dict[str, Any]) -> list[dict[str, Any]]:
        owners = [workload]
        if FOLLOWERS[name].resource is DEPLOYMENTS:
            owners = await self.stage.owned("replicasets", workload)
        uids = {owner["metadata"]["uid"] for owner in owners}
        found = await self.stage.world.get("pods")
        return [
            pod
            for pod in found["items"]
            if pod["metadata"].get("ownerReferences", [{"uid": ""}])[0]["uid"] in uids
            and "deletionTimestamp" not in pod["metadata"]
        ]

    def _old(self, name: str, pod: dict[str, Any]) -> list[str]:
        """What the pod was started with, and is another now."""
        stage, follower = self.stage, FOLLOWERS[name]
        created = stage.seen.pods.get(pod["metadata"]["uid"])
        if created is None:
            return ["(the watch of pods has not told of it)"]
        adopted = stage.seen.adopted.get((follower.resource.kind, name), 0)
        old: list[str] = []
        for each in follower.consumed:
            now = stage.content[each]
            if now is None or self._read(each, created, waits=not follower.optional) == now:
                continue
            if created < adopted and self._at(each, adopted) == now:
                continue  # it is adopted as it is, and the owner hears that pods may be older
            if stage.rough and self._same_time(each, created, pod):
                continue
            old.append("/".join(each))
        return old

    def _at(self, config: tuple[str, str], version: int) -> Content:
        past = [content for at, content in self.stage.history[config] if at <= version]
        return past[-1] if past else None

    def _read(self, config: tuple[str, str], created: int, *, waits: bool) -> Content:
        """What a pod read that was created then. `waits`: it does not start without."""
        read = self._at(config, created)
        if read is not None or not waits:
            return read
        later = [c for at, c in self.stage.history[config] if at > created and c is not None]
        return later[0] if later else None

    def _same_time(self, config: tuple[str, str], created: int, pod: dict[str, Any]) -> bool:
        """Was it changed within the seconds in which the pod was created?"""
        changed = self.stage.times[config]
        at = datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp()
        return abs(changed - at) < _SAME_TIME

    # --- what is held ----------------------------------------------------------------------------------

    async def _equal(self) -> bool:
        """What each store holds of what is followed is what the server has now."""
        stage = self.stage
        names = FOLLOWERS.keys() - stage.off - stage.gone
        followed = {each for name in names for each in FOLLOWERS[name].consumed}
        for resource, name in followed:
            data = stage.content[resource, name]
            path = stage.world.path(resource, name)
            answer = await stage.world.request("GET", path, allowed=[404])
            found = answer.get("data") or {}
            assert (answer["kind"] == "Status") == (data is None)
            for control in stage.controllers.values():
                configs = control.store.configs
                if resource == "secrets":
                    state = configs.state(ConfigId("secret", stage.namespace, name))
                    wanted = secret_digests(stage.namespace, name, found, configs.key)
                else:
                    state = configs.state(ConfigId("configmap", stage.namespace, name))
                    assert data is None or found == data
                    wanted = config_map_digests(found, None)
                if data is None and not isinstance(state, Missing):
                    return False
                if data is not None and (
                    not isinstance(state, ConfigRecord) or (state.keys, state.digests) != wanted
                ):
                    return False
        return all(await self._no_ghosts())

    async def _no_ghosts(self) -> list[bool]:
        """By controller: it knows the workloads that there are, and no others."""
        stage, there = self.stage, set()
        for resource in RESOURCES:
            found = await stage.world.get(resource.plural)
            there |= {
                WorkloadId(resource.kind, stage.namespace, o["metadata"]["name"]) for o in found["items"]
            }
        return [set(control.store.workloads()) == there for control in stage.controllers.values()]

    async def _all_seen(self) -> bool:
        """The watches of the play have told of everything that there is."""
        stage = self.stage
        for name in FOLLOWERS.keys() - stage.gone:
            found = await stage.get(name)
            if not stage.seen.holds(FOLLOWERS[name].resource.kind, found):
                return False
        return True

    async def _bystanders(self) -> None:
        bystander = await self.stage.world.get("daemonsets", BYSTANDER)
        assert bystander["metadata"]["generation"] == 1
        assert "reroll" not in str(bystander["metadata"].get("annotations"))
        done = await self.stage.world.get(JOBS.plural, DONE)
        self._done = self._done or done["metadata"]["uid"]
        assert done["metadata"]["uid"] == self._done, "a finished Job was run again"

    # --- what was done ---------------------------------------------------------------------------------

    def _count(self, name: str, *, first: bool, exact: bool) -> None:
        stage, follower = self.stage, FOLLOWERS[name]
        key = follower.resource.kind, name
        total = stage.seen.changes.get(key, 0)
        since = total - stage.counted.get(name, 0) - stage.foreign.get(name, 0)
        if first:
            assert total == 0, f"{name} was rolled by its adoption"
        elif self.held_up(name):
            if name in stage.off:
                assert since == 0, f"{name} was rolled {since} times while it was not to be"
                stage.counted[name], stage.foreign[name] = total, 0
            return
        else:
            most = stage.writes.get(name, 0) + stage.again.get(name, 0)
            before = {each: stage.rest[name][each] for each in follower.consumed}
            now = {each: stage.content[each] for each in follower.consumed}
            whole = None not in (*before.values(), *now.values())
            differs = before != now and name not in stage.restarted | stage.empty
            # Pods are evicted, and the template stays: what runs was judged, and that is all that can be counted.
            least = int(differs and whole and follower.mode != "restart")
            if exact and whole and name not in stage.restarted | stage.empty:
                most = least
            if follower.mode == "restart":
                most = 0
            assert least <= since <= most, f"{name} was rolled {since} times, not {least} to {most}"
        stage.rest[name] = dict(stage.content)
        stage.counted[name] = total
        for each in (stage.writes, stage.foreign, stage.again):
            each.pop(name, None)
        stage.restarted.discard(name)

    async def secrecy(self) -> None:
        """Nothing that is written, told or kept holds a value of a Secret."""
        stage, controls = self.stage, self.stage.controllers.values()
        told = [stage.logged.getvalue()]
        told += [repr(vars(control.store)) for control in controls]
        told += [generate_latest(control.metrics.registry).decode() for control in controls]
        for resource in ("events", *(each.plural for each in RESOURCES)):
            told.append(str(await stage.world.get(resource)))
        for text in told:
            assert "correct-horse" not in text


def _record(workload: dict[str, Any]) -> Any:
    text = workload["metadata"].get("annotations", {}).get(APPLIED)
    try:
        return decode(text) if text is not None else None
    except ValueError:
        return None


def _ended(workload: dict[str, Any]) -> bool:
    """Its rollout, by its status alone."""
    spec, status = workload["spec"], workload.get("status", {})
    if status.get("observedGeneration", 0) < workload["metadata"]["generation"]:
        return False
    if workload["kind"] == "DaemonSet":
        wanted = status["desiredNumberScheduled"]
        return bool(wanted == status.get("updatedNumberScheduled", 0) == status.get("numberReady", 0))
    counts = ("replicas", "updatedReplicas", "readyReplicas")
    return all(status.get(each, 0) == spec["replicas"] for each in counts)
