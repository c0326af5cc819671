"""Random plays with config objects, workloads, controllers, and a proxy that fails; hypothesis draws the steps.

What the steps do is in `stage`, what has to hold at rest in `verdict`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.conftest import Cluster
from tests.faults.proxy import (
    EXPIRED,
    EXPIRED_EVENT,
    FORBIDDEN,
    Answer,
    Cut,
    Delay,
    EndWatch,
    Fault,
    NoBookmarks,
    Reset,
)
from tests.stateful.cast import CONFIG_MAPS, CONFIGS, FOLLOWERS, KEYS, PASSWORDS, PAUSABLE, ROLLING, SCALABLE
from tests.stateful.stage import Stage
from tests.stateful.verdict import Verdict

T = TypeVar("T")

FAULTS: tuple[tuple[Fault, tuple[str, ...], str], ...] = (
    (Answer(500), ("patch", "list", "get"), ""),
    (Answer(503, retry_after=1), ("patch", "watch"), ""),
    (Answer(429, "TooManyRequests", retry_after=1), (), ""),
    (Reset(), (), ""),
    (Reset(after=True), ("patch", "create", "delete"), ""),
    (Answer(504, after=True), ("patch", "create", "delete"), ""),
    (Answer(409, "Conflict"), ("patch",), ""),
    (Cut(40), ("list", "get", "patch"), ""),
    (Delay(0.3), (), ""),
    (EndWatch(0.3), ("watch",), ""),
    (EndWatch(0.2, abort=True), ("watch",), ""),
    (NoBookmarks(), ("watch",), ""),
    (EXPIRED, ("watch",), ""),
    (EXPIRED_EVENT, ("watch",), ""),
    (FORBIDDEN, ("list", "watch"), "/secrets"),
    (Answer(401, "Unauthorized"), ("patch", "list"), ""),
)

_names = st.sampled_from(sorted(FOLLOWERS))
_values = st.tuples(st.sampled_from(CONFIGS), st.sampled_from("012"))


class Play(RuleBasedStateMachine):
    """One example: a namespace of its own on the real API server."""

    cluster: Cluster
    namespace: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.begun = False

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize(elected=st.booleans())
    def begin(self, elected: bool) -> None:
        self.stage = Stage(self.cluster, self.namespace)
        self.verdict = Verdict(self.stage)
        self.do(self.stage.__aenter__())
        self.begun = True
        self.do(self.stage.begin(elected=elected))
        self.do(self.verdict.at_rest(first=True))

    # --- what people do --------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(CONFIG_MAPS),
        data=st.dictionaries(st.sampled_from(KEYS), st.sampled_from("012"), min_size=1),
    )
    def change(self, name: str, data: dict[str, str]) -> None:
        self.do(self.stage.write("configmaps", name, data))

    @rule(password=st.sampled_from(PASSWORDS))
    def rotate(self, password: str) -> None:
        self.do(self.stage.write("secrets", "s", {"P": password}))

    @rule(config=st.sampled_from(CONFIGS))
    def delete(self, config: tuple[str, str]) -> None:
        """`change` and `rotate` create it again."""
        self.do(self.stage.write(*config, None))

    @rule(config=st.sampled_from(CONFIGS), other=st.booleans())
    def replace(self, config: tuple[str, str], other: bool) -> None:
        """Deleted, and created again at once under its name."""
        before = self.stage.content[config]
        if before is not None:
            self.do(self.stage.write(*config, None))
            key = "P" if config[0] == "secrets" else "X"
            self.do(self.stage.write(*config, {**before, key: "marker-9-correct-horse"} if other else before))

    @rule(name=st.sampled_from(CONFIG_MAPS), other=st.sampled_from("345"))
    def change_and_put_back(self, name: str, other: str) -> None:
        before = self.stage.content["configmaps", name]
        if before is not None:
            self.do(self.stage.write("configmaps", name, {**before, "X": other}))
            self.do(self.stage.write("configmaps", name, before))

    @rule(values=st.lists(_values, min_size=2, max_size=6))
    def burst(self, values: list[tuple[tuple[str, str], str]]) -> None:
        """From rest to rest several writes, each within the settle time of the one before: one rollout."""
        self.do(self.verdict.at_rest())
        soon = self.do(self.stage.write_all(values))
        self.do(self.verdict.at_rest(exact=soon))

    @rule(name=_names, there=st.booleans())
    def remove(self, name: str, there: bool) -> None:
        """A workload is deleted; and, `there`, made again at once. Otherwise `make` does it."""
        if name not in self.stage.gone:
            self.do(self.stage.remove(name))
        if there:
            self.do(self.stage.make_again(name))

    @precondition(lambda self: self.begun and self.stage.gone)
    @rule()
    def make(self) -> None:
        self.do(self.stage.make_again(min(self.stage.gone)))

    @rule(name=st.sampled_from(sorted(FOLLOWERS.keys() - {"work"})))
    def deploy(self, name: str) -> None:
        """Another client changes the pod template."""
        if name not in self.stage.gone:
            self.do(self.stage.deploy(name))

    @rule(name=st.sampled_from(ROLLING))
    def undo(self, name: str) -> None:
        """``kubectl rollout undo``: the template of the revision before."""
        if name not in self.stage.gone:
            self.do(self.stage.undo(name))

    @rule(name=st.sampled_from(ROLLING), person=st.booleans(), other=st.sampled_from("678"))
    def revert_in_mid_rollout(self, name: str, person: bool, other: str) -> None:
        """Configuration changes, reroll rolls, and before that is over a person undoes it, or an operator writes its
        own template again (once in a play, because reroll takes its time to answer the second)."""
        stage, config = self.stage, FOLLOWERS[name].consumed[0]
        if name in stage.gone or (not person and name in stage.operated):
            return
        key = "P" if config[0] == "secrets" else "X"
        value = f"marker-{other}-correct-horse" if key == "P" else other
        self.do(stage.write(*config, {**(stage.content[config] or {}), key: value}))
        self.do(stage.until_marked(name, 3.0))
        self.do(stage.undo(name) if person else stage.operate(name))

    @rule(name=st.sampled_from(PAUSABLE), paused=st.booleans())
    def pause(self, name: str, paused: bool) -> None:
        """``kubectl rollout pause`` and ``resume``; the template of a paused Deployment changes all the same."""
        if name not in self.stage.gone:
            self.do(self.stage.pause(name, paused))

    @rule(name=st.sampled_from(SCALABLE), replicas=st.sampled_from([0, 1, 3]))
    def scale(self, name: str, replicas: int) -> None:
        """Who scales up from nothing has pods started with what is there."""
        if name not in self.stage.gone:
            self.do(self.stage.scale(name, replicas))

    @rule(name=_names)
    def switch(self, name: str) -> None:
        """To follow or not, by the annotation and at rest, so that it is known which changes it is to hold for."""
        if name not in self.stage.gone:
            self.do(self.verdict.at_rest())
            # What is held up was not counted at rest, so what was rolled earlier would count as rolled while off.
            if name in self.stage.off or not self.verdict.held_up(name):
                self.do(self.stage.switch(name))

    @rule(name=_names, value=st.sampled_from([None, "{", '{"v":9}']))
    def garble(self, name: str, value: str | None) -> None:
        """The record on the workload is removed or spoilt, at rest: a change that was not followed yet would be
        forgotten with it by a controller that starts just then, for it is recorded nowhere else."""
        self.do(self.verdict.at_rest())
        if not self.verdict.held_up(name):
            self.do(self.stage.spoil(name, value))
            self.do(self.verdict.at_rest())

    @rule(seconds=st.sampled_from([0.05, 0.3, 0.8, 2.0]))
    def wait(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    # --- what goes wrong -------------------------------------------------------------------------------

    @rule(
        fault=st.sampled_from(FAULTS),
        times=st.sampled_from([1, 3, None]),
        probability=st.sampled_from([0.3, 1.0]),
    )
    def fail(self, fault: tuple[Fault, tuple[str, ...], str], times: int | None, probability: float) -> None:
        what, verbs, path = fault
        self.stage.fail(what, verbs, path, times, probability)

    @rule()
    def drop_watches(self) -> None:
        self.stage.drop_watches()
        self.do(asyncio.sleep(0))

    @precondition(lambda self: self.begun and len(self.stage.controllers) < 2)
    @rule()
    def start(self) -> None:
        self.do(self.stage.start())

    @precondition(lambda self: self.begun and self.stage.controllers)
    @rule(last=st.booleans())
    def kill(self, last: bool) -> None:
        """No orderly stop: what is in flight stays as it is."""
        slots = sorted(self.stage.controllers)
        self.do(self.stage.kill(slots[-1 if last else 0]))

    @precondition(lambda self: self.begun and self.stage.controllers)
    @rule(seconds=st.sampled_from([0.5, 6.0]))
    def freeze(self, seconds: float) -> None:
        """The controller that leads hears nothing any more, until the next rest."""
        slots = [slot for slot, control in self.stage.controllers.items() if control.leading]
        if slots:
            self.stage.freeze(slots[0])
            self.do(asyncio.sleep(seconds))

    # --- rest ------------------------------------------------------------------------------------------

    @rule()
    def heal(self) -> None:
        self.do(self.verdict.at_rest())

    def teardown(self) -> None:
        try:
            if self.begun and self.stage.rest:
                self.do(self.stage.end_all())
                self.do(self.verdict.at_rest())
                self.do(self.verdict.secrecy())
        finally:
            if self.begun:
                self.do(self.stage.__aexit__())
            self.runner.close()
