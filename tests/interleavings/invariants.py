"""What holds at rest, whatever happened before.

- No followed pod runs old content, unless somebody was told of it since.
- Exactly one rollout per net change where neither faults nor others had a hand in it; with them, never more than the
  changes of what is consumed, and what was taken back by others is written again a bounded number of times.
- What consumes nothing that changed is not touched.
- No ghosts: the store holds what the server has, and its content is the server's.
- No Job is lost, and none runs twice for one change.
- Queues are at rest, and nothing is remembered of work that is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from reroll.controller.config_objects import content as digested
from reroll.core.applied import APPLIED, STANDS_IN_FOR, decode
from reroll.core.observe import ConfigMapObject, SecretObject, epoch
from reroll.core.records import ConfigId, ConfigRecord, WorkloadId
from tests.interleavings.jobs import finished
from tests.interleavings.ledger import WORKLOADS, template_of, workload_id
from tests.interleavings.member import CONFIG_KINDS, KEY, Fault, Member
from tests.interleavings.pods import Use, uses
from tests.interleavings.server import CLASSES, Object, going

if TYPE_CHECKING:
    from tests.interleavings.play import Play

AGAIN = 8
"""How often a mark that others take away is written again, at most."""
_SAME_TIME = 6.0
_TOLD = ("paused", "OnDelete", "partition", "created before", "older", "undo", "put back")
"""Words of a note that tell of pods that run older configuration."""


def check(play: Play) -> None:
    """Raises Fault with everything that does not hold."""
    problems = [
        *_stale_pods(play),
        *_rollouts(play),
        *_jobs(play),
        *(problem for member in play.members for problem in _ghosts(play, member)),
        *(problem for member in play.members for problem in _unrest(play, member)),
    ]
    if problems:
        raise Fault("\n".join(problems))


def workloads(play: Play) -> Iterator[tuple[WorkloadId, str, Object]]:
    for plural in WORKLOADS:
        for found in play.server.all(plural):
            if not going(found):
                yield workload_id(plural, found["metadata"]["name"]), plural, found


# --- what runs ---------------------------------------------------------------------------------------


def _stale_pods(play: Play) -> Iterator[str]:
    for workload, found, pod, old in _running_old(play):
        if any(each["status"]["phase"] == "Pending" for each in _pods_of(play, found)):
            continue  # its rollout can't end, because a pod needs what is missing
        since = max(play.ledger.ages.get(use, 0.0) for use in old)
        if _left(found) or _told(play, workload, found, since) or _adopted(play, workload, pod, old, since):
            continue
        yield (
            f"{workload}: pod {pod['metadata']['name']} runs old content of {', '.join(map(str, old))}, "
            f"and nobody was told"
        )


def owed(play: Play) -> set[WorkloadId]:
    """Whose pods run old content, whether somebody was told or not."""
    return {workload for workload, *_ in _running_old(play)}


def _running_old(play: Play) -> Iterator[tuple[WorkloadId, Object, Object, list[Use]]]:
    """(workload, what it is, one of its pods, what that pod read and is another now)."""
    for workload, plural, found in workloads(play):
        if plural == "cronjobs" or (plural == "jobs" and finished(found)):
            continue
        for pod in _pods_of(play, found):
            if not going(pod) and pod["status"]["phase"] == "Running":
                unseen = play.ledger.unseen.get(workload, set())
                old = [use for use in _old(play, pod, template_of(plural, found)) if use not in unseen]
                if old:
                    yield workload, found, pod, old


def _pods_of(play: Play, found: Object) -> list[Object]:
    owners = [found]
    if found["kind"] == "Deployment":
        owners = play.deployments.replica_sets(found)
    return [pod for owner in owners for pod in play.server.owned("pods", owner["metadata"]["uid"])]


def _old(play: Play, pod: Object, template: Object) -> Iterator[Use]:
    """What a pod read that is another now. What its workload consumes no longer does not count."""
    read = play.pods.read[pod["metadata"]["uid"]]
    for use in uses(template):
        now = play.ledger.content(use)
        if use not in read or now is None:
            continue
        if use.plural == CLASSES:
            if int(read[use] or 0) < int(now):  # a newer one was mounted by this pod alone
                yield use
        elif read[use] != now:
            yield use


def _left(found: Object) -> bool:
    """Its record says that pods run older configuration, which was told when it was written."""
    record = (found["metadata"].get("annotations") or {}).get(APPLIED, "")
    try:
        return bool(decode(record).left)
    except ValueError:
        return False


def _adopted(play: Play, workload: WorkloadId, pod: Object, old: list[Use], since: float) -> bool:
    """Was it seen for the first time after the change, and nothing tells that the pod is older? Of two that came at
    nearly the same time, the server's whole seconds and a list of pods that is seconds old don't tell; and a key that
    was removed leaves no time in managedFields."""
    if play.ledger.adopted.get(workload, 0.0) < since:
        return False
    created = epoch(pod["metadata"]["creationTimestamp"])
    return since - created < _SAME_TIME or all(_last_write(play, use) <= created for use in old)


def _last_write(play: Play, use: Use) -> float:
    """When what is there was last written, by managedFields."""
    found = play.server.get(use.plural, use.name)
    entries = found["metadata"].get("managedFields") or () if found is not None else ()
    return max((epoch(entry["time"]) for entry in entries if "f:data" in entry["fieldsV1"]), default=0.0)


def _told(play: Play, workload: WorkloadId, found: Object, since: float) -> bool:
    every = [*play.said, *(said for member in play.members for said in member.said)]
    heard = [said for said in every if said.workload == workload]
    if any(said.at >= since and (said.warning or any(word in said.note for word in _TOLD)) for said in heard):
        return True
    # That new pods could not start is told once, however often the content changes meanwhile.
    of_rolls = [said for said in heard if said.reason in ("Rolled", "NotRolled")]
    last = max(of_rolls, key=lambda said: said.at, default=None)
    if last is not None and found["spec"].get("paused") and last.reason == "Rolled" and "paused" in last.note:
        return True  # what was changed and put back since then has changed nothing of that
    template = template_of("cronjobs" if found["kind"] == "CronJob" else "", found)
    missing = any(not use.optional and play.ledger.content(use) is None for use in uses(template))
    return last is not None and last.reason == "NotRolled" and missing


# --- what was done -----------------------------------------------------------------------------------


def _rollouts(play: Play) -> Iterator[str]:
    ledger, flavour = play.ledger, play.flavour
    for workload, plural, found in workloads(play):
        rolled, changes = ledger.rolled[workload], ledger.changes[workload]
        again = AGAIN * ledger.lost_marks[workload] + _in_gaps(play, workload, plural)
        if rolled > changes + again:
            yield f"{workload}: rolled {rolled} times for {changes} changes ({again} times again at most)"
        if flavour.faults or not play.exact or ledger.foreign[workload] or workload not in ledger.at_first:
            continue
        before, now = ledger.at_first[workload], ledger.contents[workload]
        if any(of[use] is None for of in (before, now) for use in of if use.plural != CLASSES) or not _rolls(
            play, workload
        ):
            continue
        if workload in play.owed:
            continue  # what it waited for may have come, or not
        due = int(before != now)
        if rolled != due and not (_held_back(found) and due <= rolled <= changes):
            yield f"{workload}: rolled {rolled} times, {due} was due: {_words(before)} became {_words(now)}"


def _in_gaps(play: Play, workload: WorkloadId, plural: str) -> int:
    """How often it may be rolled once too many, because a controller found a write of others by a list or a read, which
    don't tell what came first. A CronJob has no pods: whether its template is marked after it was made again harms
    nobody."""
    ledger = play.ledger
    if plural == "cronjobs" and ledger.made[workload]:
        return ledger.made[workload]
    return min(ledger.foreign[workload] + ledger.made[workload], ledger.gaps(plural, workload.name))


def _rolls(play: Play, workload: WorkloadId) -> bool:
    """Nothing stands in the way of rolling it."""
    plural = {
        "Deployment": "deployments",
        "StatefulSet": "statefulsets",
        "Job": "jobs",
        "CronJob": "cronjobs",
    }
    found = play.server.get(plural[workload.kind], workload.name)
    assert found is not None
    if workload.kind == "Job":
        return not finished(found)
    return workload.kind == "CronJob" or bool(found["spec"]["replicas"])


def _held_back(found: Object) -> bool:
    """Its rollout ends when somebody deletes pods or moves the partition: until then it counts as under way, and what
    comes and goes meanwhile may have been read by a pod."""
    strategy = found["spec"].get("updateStrategy") or {}
    return strategy.get("type") == "OnDelete" or bool(strategy.get("rollingUpdate"))


def _words(contents: dict[Use, str | None]) -> str:
    return ", ".join(f"{use}={value}" for use, value in contents.items())


def _jobs(play: Play) -> Iterator[str]:
    for name in sorted(play.ledger.jobs):
        if play.server.get("jobs", name) is None:
            yield f"job {name} is lost"
    for job in play.server.all("jobs"):
        if STANDS_IN_FOR in (job["metadata"].get("annotations") or {}):
            yield f"job {job['metadata']['name']} stands in for another one still"


# --- what is remembered ------------------------------------------------------------------------------


def _ghosts(play: Play, member: Member) -> Iterator[str]:
    there = {workload for workload, _, _ in workloads(play)}
    held = set(member.store.workloads())
    for workload in sorted(held - there):
        yield f"{member.name}: its store has a ghost: {workload}"
    for workload in sorted(there - held):
        yield f"{member.name}: its store lacks {workload}"
    for kind, plural, form in CONFIG_KINDS:
        names = {found["metadata"]["name"] for found in play.server.all(plural)}
        known = {name for _, name in member.store.configs.names(kind, "")}
        for name in sorted(known ^ names):
            yield f"{member.name}: its store has {'a ghost' if name in known else 'not'}: {plural}/{name}"
        for found in play.server.all(plural):
            config = ConfigId(kind, "shop", found["metadata"]["name"])
            if member.store.configs.wanted(config):
                yield from _content(member, config, play.server.raw(plural, config.name), form)


def _content(member: Member, config: ConfigId, raw: bytes, form: type) -> Iterator[str]:
    obj: ConfigMapObject | SecretObject = msgspec.json.decode(raw, type=form)
    state = member.store.configs.state(config)
    if not isinstance(state, ConfigRecord):
        yield f"{member.name}: what is in {config} is not known: {state}"
    elif (state.keys, state.digests) != digested(obj, KEY):
        yield f"{member.name}: {config} has other content in its store"


def _unrest(play: Play, member: Member) -> Iterator[str]:
    queue = member.queue.statistics()
    if (
        member.leading
        and not play.polls
        and (queue.ready or queue.delayed or queue.processing or queue.retrying)
    ):
        yield f"{member.name}: its queue is not at rest: {queue}"
    yield from (f"{member.name}: {words}" for words in member.remembers())


__all__ = ["Fault", "check"]
