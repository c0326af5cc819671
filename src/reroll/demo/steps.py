"""The steps: what is done, as a person would type it, and what has to come of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from reroll.demo.error import StepFailed
from reroll.demo.example import OPERATOR
from reroll.demo.observer import Look
from reroll.demo.stage import Stage

COUNTRIES: Final = ("at", "be", "ch", "de", "dk", "es", "fr", "it", "nl", "pl")
QUEUES: Final = ("billing", "mail", "orders", "returns", "stock")

_PUT_BACK_AFTER = 0.3
_DEAD_FOR = 2.0
_HALF_WITHIN = 30.0


class Step(Struct, frozen=True):
    """One step. It holds when exactly `rollouts` were begun and have ended, and exactly those workloads
    that `told` names got an Event of reroll about it."""

    title: str
    command: str
    expected: str
    outcome: str
    """In two words, for the list of steps."""
    act: Callable[[Stage], Awaitable[None]]
    about: tuple[str, ...] = ()
    """Workloads of which the reason is of interest."""
    rollouts: dict[str, int] = {}
    """By workload; all others: none."""
    told: tuple[str, ...] = ()


async def _start(stage: Stage) -> None:
    await stage.start_controller()
    await stage.until(
        lambda look: all(view.adopted for view in look.workloads.values()),
        "every workload carries the annotation reroll.dev/applied",
        30.0,
    )


async def _unused_key(stage: Stage) -> None:
    await stage.config_map("web", {"MAINTAINER": "bob"})


async def _used_key(stage: Stage) -> None:
    await stage.config_map("web", {"LOG_LEVEL": "debug"})


async def _secret(stage: Stage) -> None:
    await stage.secret("db", {"PASSWORD": "second"})


async def _fifteen(stage: Stage) -> None:
    await asyncio.gather(
        *(stage.config_map(f"rules-{country}", {"rules": "vat = new\n"}) for country in COUNTRIES),
        *(stage.secret(f"queue-{queue}", {"token": "second"}) for queue in QUEUES),
    )


async def _put_back(stage: Stage) -> None:
    await stage.config_map("cache", {"cache.conf": "maxmemory 128mb\n"})
    await asyncio.sleep(_PUT_BACK_AFTER)
    await stage.config_map("cache", {"cache.conf": "maxmemory 64mb\n"})


async def _while_dead(stage: Stage) -> None:
    await stage.kill_controller()
    before = (await stage.look()).revisions
    await stage.config_map("api", {"settings.toml": "page_size = 50\n"})
    stage.board.say("  changed while no controller runs", "quiet")
    if (await stage.watch(_DEAD_FOR)).revisions != before:
        raise StepFailed(
            "something was rolled while no controller of the demo ran: is another reroll at work?"
        )
    await stage.start_controller()


async def _undo(stage: Stage) -> None:
    await stage.undo("web")


async def _operator(stage: Stage) -> None:
    template = await stage.template("api")
    mark = (await stage.look()).workloads["api"].mark

    def half_rolled(look: Look) -> bool:
        api = look.workloads["api"]
        return (
            api.mark != mark and any(p.new and p.ready for p in api.pods) and not all(p.new for p in api.pods)
        )

    await stage.config_map("api", {"settings.toml": "page_size = 100\n"})
    await stage.until(half_rolled, "some pods of api are new, and some are old", _HALF_WITHIN)
    await stage.put_back("api", template)
    stage.board.say(f"  {OPERATOR} put the old pod template of api back", "quiet")


def _patch(kind: str, name: str, field: str, data: dict[str, str]) -> str:
    body = json.dumps({field: data}, separators=(",", ":"))
    return f"kubectl patch {kind}/{name} --type merge -p '{body}'"


STEPS: Final = (
    Step(
        title="reroll starts",
        command="reroll controller --namespace reroll-demo",
        expected="it records what each workload runs with, and restarts nothing",
        outcome="no restart",
        act=_start,
        about=("web",),
    ),
    Step(
        title="A key nobody uses changes",
        command=_patch("configmap", "web", "data", {"MAINTAINER": "bob"}),
        expected="nothing: web reads only LOG_LEVEL of it",
        outcome="nothing",
        act=_unused_key,
        about=("web",),
    ),
    Step(
        title="A key in use changes",
        command=_patch("configmap", "web", "data", {"LOG_LEVEL": "debug"}),
        expected="one rollout of web",
        outcome="1 rollout",
        act=_used_key,
        about=("web",),
        rollouts={"web": 1},
        told=("web",),
    ),
    Step(
        title="A password is rotated",
        command=_patch("secret", "db", "stringData", {"PASSWORD": "..."}),
        expected="one rollout of api (envFrom) and one of cache (subPath)",
        outcome="1 each",
        act=_secret,
        about=("api", "cache"),
        rollouts={"api": 1, "cache": 1},
        told=("api", "cache"),
    ),
    Step(
        title="Fifteen objects at once",
        command="kubectl apply -f rules/ -f queues/   # 10 ConfigMaps and 5 Secrets",
        expected="one rollout of worker, for all of them",
        outcome="1 rollout",
        act=_fifteen,
        about=("worker",),
        rollouts={"worker": 1},
        told=("worker",),
    ),
    Step(
        title="A change is put back",
        command="kubectl apply -f cache-128mb.yaml; sleep 0.3; kubectl apply -f cache-64mb.yaml",
        expected="nothing: by the time changes have settled there is none",
        outcome="nothing",
        act=_put_back,
        about=("cache",),
    ),
    Step(
        title="A change while it is dead",
        command="kill -9 CONTROLLER; "
        + _patch("configmap", "api", "data", {"settings.toml": "page_size = 50"})
        + "; reroll controller",
        expected="one rollout of api, as soon as the controller is back",
        outcome="caught up",
        act=_while_dead,
        about=("api",),
        rollouts={"api": 1},
        told=("api",),
    ),
    Step(
        title="An undo",
        command="kubectl rollout undo deployment/web",
        expected="the rollout of the undo itself, and no other: your rollout wins",
        outcome="left alone",
        act=_undo,
        about=("web",),
        rollouts={"web": 1},
    ),
    Step(
        title="An operator undoes it",
        command=_patch("configmap", "api", "data", {"settings.toml": "page_size = 100"})
        + f"; {OPERATOR} puts the old pod template of api back",
        expected="reroll sees that old pods are left, writes its mark again, and all pods follow",
        outcome="all follow",
        act=_operator,
        about=("api",),
        rollouts={"api": 3},
        told=("api",),
    ),
)
