"""How old a workload's pods are, asked of the server.

Only asked where timestamps are all there is: at adoption, for changes that were made while no controller
was watching, and where a template went back to an older revision. An answer serves for a few seconds: one list of
metadata of a namespace serves all its workloads, so that a thousand questions after a restart are one request.
A failure serves as long, so that those who ask meanwhile don't each wait for the next one.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeAlias

import msgspec
import structlog
from msgspec import Struct

from reroll.core.kinds import KINDS, WorkloadKind
from reroll.core.observe import epoch
from reroll.core.proof import NOT_PERMITTED, PodAges
from reroll.core.records import WorkloadId
from reroll.kube.errors import ApiError, Forbidden
from reroll.kube.pods import Meta, list_metadata
from reroll.kube.ports import Lister

log = structlog.get_logger("reroll.controller")

MOST_TIMES: Final = 5_000
"""Of how many pods of one workload the times are kept, the oldest first."""
_FRESH = 5.0  # seconds
_PATIENCE = 15.0  # seconds; the client's own tries would take minutes, and the decision can do without

_Asked: TypeAlias = tuple[str, str]
"""(namespace, labelSelector or "" for all of its pods)."""


class _Answer(Struct, frozen=True):
    """What a list brought, and when, by the clock of the event loop."""

    at: float
    ages: dict[WorkloadId, PodAges] | None
    """None: the pods can't be listed."""
    problem: str = ""
    forbidden: bool = False


class Ages:
    """Answers for the pods' ages, from lists that are fresh for a few seconds."""

    def __init__(self, client: Lister) -> None:
        self._client = client
        self._answers: dict[_Asked, _Answer] = {}
        self._locks: dict[_Asked, asyncio.Lock] = {}
        self.problem = ""
        """Why the last question got no answer; "" where it got one."""

    async def of(
        self,
        workload: WorkloadId,
        selector: str = "",
        kind: WorkloadKind | None = None,
        *,
        within: float = _FRESH,
    ) -> PodAges | None:
        """The ages of its pods; None where the server does not answer now, and `NOT_PERMITTED` where it never will.
        Then `problem` says why.

        `selector`: the workload's own as a labelSelector, with which no other pods are listed; "" where many workloads
        of a namespace are asked about. `kind`: where it is not one of `KINDS`, whose owner references are known.
        `within`: by how many seconds the answer may be old.
        """
        kind = kind or KINDS.get(workload.kind)
        if kind is None or not kind.kind:
            self.problem = f"which pods a {workload.kind} controls is not known"
            return NOT_PERMITTED
        namespace = workload.namespace
        answer = self._fresh((namespace, ""), within) or await self._ask((namespace, selector), within)
        self.problem = answer.problem
        if answer.ages is None:
            return NOT_PERMITTED if answer.forbidden else None
        owner = workload._replace(kind=_owner(kind.group, kind.kind))
        return answer.ages.get(owner, PodAges(0, 0.0))

    async def by_workload(self, namespace: str, selector: str = "") -> dict[WorkloadId, PodAges]:
        """The ages of all pods of a namespace, or ("") of all, asked now. Raises ApiError and msgspec.DecodeError.

        The kind in an id is that of the pod's controller; of a group that is not built in, it is ``KIND.GROUP``.
        """
        times: dict[WorkloadId, list[float]] = {}

        def take(meta: Meta) -> None:
            owner = meta.workload
            if owner is not None and meta.deletion_timestamp is None:
                workload = WorkloadId(
                    _owner(owner.group, owner.kind), namespace or meta.namespace, owner.name
                )
                times.setdefault(workload, []).append(epoch(meta.creation_timestamp))

        await list_metadata(self._client, namespace, take, begin_again=times.clear, selector=selector)
        return {workload: _ages(sorted(found)) for workload, found in times.items()}

    def _fresh(self, asked: _Asked, within: float = _FRESH) -> _Answer | None:
        answer = self._answers.get(asked)
        if answer is None:
            return None
        return answer if _now() - answer.at < (_FRESH if answer.ages is None else within) else None

    async def _ask(self, asked: _Asked, within: float) -> _Answer:
        async with self._locks.setdefault(asked, asyncio.Lock()):
            answer = self._fresh(asked, within)
            if answer is None:
                answer = await self._list(*asked)
                self._answers = {each: found for each in self._answers if (found := self._fresh(each))}
                self._answers[asked] = answer
                self._locks = {
                    each: lock for each, lock in self._locks.items() if lock.locked() or each in self._answers
                }
        return answer

    async def _list(self, namespace: str, selector: str) -> _Answer:
        asked_at = _now()
        try:
            async with asyncio.timeout(_PATIENCE):
                return _Answer(asked_at, await self.by_workload(namespace, selector))
        except Forbidden:
            return _Answer(_now(), None, "its pods may not be listed with these credentials", forbidden=True)
        except TimeoutError:
            problem = f"no answer within {_PATIENCE:g} s"
        except ApiError as error:
            problem = error.message
        except msgspec.DecodeError as error:
            problem = f"the answer is not understood: {error}"
        log.warning("pods can't be listed, so their ages are not known", namespace=namespace, problem=problem)
        return _Answer(_now(), None, f"its pods can't be listed: {problem}")


def _ages(created: list[float]) -> PodAges:
    return PodAges(len(created), created[0], tuple(created[:MOST_TIMES]))


def _owner(group: str, kind: str) -> str:
    """A controller's kind, told apart from the built-in one of that name: Kruise has a StatefulSet too."""
    known = KINDS.get(kind)
    return kind if not group or (known is not None and known.group == group) else f"{kind}.{group}"


def _now() -> float:
    return asyncio.get_running_loop().time()
