"""A workload with pods that really are replaced, one by one, for the tests of what counts as running.

`Running` is the `World` of test_decide.py with pods: each is of one revision, and has read what was there as it was
created. The rollout goes on by `step`, the status follows from the pods, and a decision that asks for ages gets them.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from reroll.controller import starts
from reroll.controller.entry import Entry
from reroll.core.authors import UNDO
from reroll.core.decide import decide
from reroll.core.decision import Decision, Situation
from reroll.core.marks import NATIVE, MarkStyle
from reroll.core.observe import with_revisions
from reroll.core.progress import Progress, RolloutStatus, progress
from reroll.core.proof import NOT_PERMITTED, PodAges
from reroll.core.records import Change, ConfigId, ConfigRecord, Consumed, Revision, WorkloadRecord
from tests.core.test_decide import World, uses

APP = ConfigId("configmap", "shop", "app")


class APod(Struct, frozen=True):
    revision: Revision
    created: float
    read: bytes
    """The digests of configmap/app as it started."""


class Running(World):
    """A Deployment of `replicas` pods that reads all of configmap/app."""

    def __init__(
        self, replicas: int = 4, consumed: Consumed | None = None, marks: MarkStyle = NATIVE
    ) -> None:
        super().__init__(consumed or uses("app"))
        self.marks = marks
        self.listable = True
        self.seen = True
        self.status = RolloutStatus()
        self.pods: list[APod] = []
        self.become(revisions=None, origin="unseen", replicas=replicas, carrier="web")
        super().put("app", "A=1")
        self.now += 10
        self.pods = [self.new_pod() for _ in range(replicas)]
        self.observed()
        assert self.decided().applied is not None
        self.written(self.decided())

    # --- pods

    def content(self) -> bytes:
        state = self.states[APP]
        assert isinstance(state, ConfigRecord)
        return state.digests

    def new_pod(self, revision: Revision | None = None) -> APod:
        return APod(revision or self.workload.revision, float(int(self.now)), self.content())

    @property
    def wanted(self) -> int:
        return self.workload.replicas or 0

    def progress(self) -> Progress:
        updated = sum(pod.revision == self.workload.revision for pod in self.pods)
        status = replace(
            self.status,
            seen=self.seen,
            wanted=self.wanted,
            total=len(self.pods),
            updated=0 if self.workload.paused and updated < len(self.pods) else updated,
            available=len(self.pods),
            paused=self.workload.paused,
            on_delete=self.workload.on_delete,
            partition=self.workload.partition,
        )
        held = self.workload.on_delete or self.workload.partition
        return progress(status, "StatefulSet" if held else "Deployment")

    def observed(self) -> None:
        """A status arrives."""
        self.seen = True
        self.become_revised(self.workload, self.workload)

    def become_revised(self, record: WorkloadRecord, previous: WorkloadRecord) -> None:
        self.workload = with_revisions(record, previous, complete=self.progress_of(record).complete)

    def progress_of(self, record: WorkloadRecord) -> Progress:
        before, self.workload = self.workload, record
        try:
            return self.progress()
        finally:
            self.workload = before

    def step(self) -> bool:
        """Its controller replaces one pod of an older revision, or scales by one; False where nothing is left to do."""
        self.now += 1
        present = self.workload.revision
        older = [pod for pod in self.pods if pod.revision != present]
        held = self.workload.paused or self.workload.on_delete
        moved = True
        if len(self.pods) > self.wanted:
            self.pods.remove(older[0] if older else self.pods[0])
        elif len(self.pods) < self.wanted:
            self.pods.append(self.new_pod())
        elif older and not held and len(older) > self.workload.partition:
            self.pods.remove(older[-1])
            self.pods.append(self.new_pod())
        else:
            moved = False
        self.observed()
        return moved

    def finish(self) -> None:
        while self.step():
            pass

    def kill(self, number: int) -> None:
        """A pod is deleted, and its ReplicaSet makes another of the same revision."""
        self.now += 1
        pod = self.pods.pop(number % len(self.pods))
        self.pods.append(self.new_pod(pod.revision))
        self.observed()

    def ages(self) -> PodAges:
        if not self.listable:
            return NOT_PERMITTED
        created = tuple(sorted(pod.created for pod in self.pods))
        return PodAges(len(created), created[0] if created else 0.0, created)

    def stale_pods(self) -> int:
        return sum(pod.read != self.content() for pod in self.pods)

    # --- others

    def put(self, name: str, data: str, **how: object) -> None:  # type: ignore[override]
        super().put(name, data, **how)  # type: ignore[arg-type]
        state = self.states[APP]
        assert isinstance(state, ConfigRecord)
        entry = Entry(self.workload, self.policy, tuple(self.consumed), (), self.progress())
        self.workload = starts.mixed(entry, APP, state, self.key.id)

    def template(
        self,
        template: str,
        mark: str | None,
        *,
        by: str = "",
        willed: bool = False,
        ties: bool = False,
        **fields: object,
    ) -> None:
        """Another client changes the template. `ties`: within the same second as what was before."""
        previous = self.workload
        if previous.revision == (template, mark):
            self.become(**fields)
            return
        change = self.moment()
        if ties:
            self.now -= 10.0
            change = replace(change, stamp=self.now)
        change = Change(change.stamp, change.arrived, change.version, by, willed)
        self.become(template_hash=template, mark=mark, template_change=change, **fields)
        self.seen = False
        self.become_revised(self.workload, previous)
        self.pods_start(live=True)

    def person_undoes(self, to: WorkloadRecord) -> None:
        """``kubectl rollout undo`` of a Deployment takes the record back, too. It leaves the present revision alone."""
        if to.revision == self.workload.revision:
            return
        self.template(to.template_hash, to.mark, by=UNDO, willed=True, applied=to.applied)

    def operator_writes(self, template: str | None = None) -> None:
        """It writes the object as it knows it, without mark and record."""
        self.template(
            template or self.workload.template_hash,
            None,
            by="operator",
            unsaved=self.workload.applied is not None,
        )

    def restart_controller(self) -> None:
        super().restart_controller()
        self.become(mixed=frozenset(), revisions=None, origin="unseen")
        self.become(template_change=replace(self.workload.template_change, by="", willed=False))
        self.observed()

    # --- what reroll does

    def situation(
        self, *, at: float | None = None, pods: PodAges | None = None, pending_since: float | None = None
    ) -> Situation:
        found = super().situation(at=self.now if at is None else at, pods=pods, pending_since=pending_since)
        policy = replace(self.policy, settle=0.0)
        return replace(found, progress=self.progress(), policy=policy, marks=self.marks)

    def decided(self) -> Decision:
        """What is decided now, with the pods' ages where they are asked for."""
        decision = decide(self.situation())
        return decide(self.situation(pods=self.ages())) if decision.ask_pods else decision

    def explained(self) -> Decision:
        """What `reroll explain` is told: with the ages, and without what a controller remembers."""
        remembered = self.workload
        self.restart_controller()
        try:
            return decide(self.situation(pods=self.ages()))
        finally:
            self.workload = remembered

    def written(self, decision: Decision) -> None:
        previous = self.workload
        self.write(decision)
        if (
            previous.applied is not None
            and decision.applied is not None
            and decision.applied.at != previous.applied.at
        ):
            self.become(mixed=frozenset())
        if decision.mark is not None:
            self.seen = False
        self.become_revised(self.workload, previous)

    def reconcile(self) -> Decision:
        """Decide and write, until nothing more is to be written."""
        for _ in range(5):
            decision = self.decided()
            if decision.applied is None:
                return decision
            self.written(decision)
            if decision.warning:
                self.warned.append(decision)
            self.done.append(decision)
        raise AssertionError(f"it does not come to rest: {[each.reason for each in self.done[-5:]]}")

    @property
    def done(self) -> list[Decision]:
        return self.__dict__.setdefault("_done", [])  # type: ignore[no-any-return]

    @property
    def warned(self) -> list[Decision]:
        return self.__dict__.setdefault("_warned", [])  # type: ignore[no-any-return]

    def settle(self) -> Decision:
        """Let everything come to its end: rollouts, decisions, waits."""
        for _ in range(40):
            decision = self.reconcile()
            moved = self.step()
            if not moved and decision.until is not None:
                self.now = max(self.now, decision.until)
            elif not moved and self.reconcile() == decision:
                return decision
        raise AssertionError("it does not come to an end")
