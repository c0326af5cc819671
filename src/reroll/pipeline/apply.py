"""Applies manifests, and has those workloads restarted that would not notice.

Everything is tried first, as a server-side dry run: what the server refuses is told before anything is written. Then
the objects are applied in their order. A workload whose pod template the apply changed rolls by itself and is only
waited for; one that a controller follows is left to it and waited for; all others that consume what changed are
restarted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from reroll.core.kinds import WorkloadKind
from reroll.core.observe import decode_object, workload_record
from reroll.core.progress import Progress
from reroll.core.records import ConfigId, WorkloadId
from reroll.dialects import ALL
from reroll.insight.stale.audit import audit
from reroll.kube.client import APPLY_PATCH, Client
from reroll.kube.errors import ApiError, Conflict, NotFound
from reroll.kube.resources import NAMESPACES
from reroll.pipeline.place import Manifest, Place, Served, in_order
from reroll.pipeline.plan import Change, Consumer, changed_keys, consumer, template_of, what_changed
from reroll.pipeline.restart import Options, Restarter, each_of, outcome
from reroll.pipeline.result import Outcome, Result, Silent, View
from reroll.pipeline.selection import Target, list_kind
from reroll.rollouts.live import RESTARTABLE
from reroll.rollouts.paths import path
from reroll.rollouts.wait import follow

_AT_ONCE = 10
_ESTABLISHED_WITHIN = 30.0
_POLL = 0.3
_LATE = "its pods ran older configuration already"
CONTROLLER_WITHIN = 30.0
"""Seconds, besides its settle time, that a controller gets to act on a change."""


class Applied(Struct, frozen=True):
    """One object, and what became of it. Of a Secret the names of its keys are told, never a value."""

    object: str
    """Such as configmap/shop/app."""
    state: Literal["created", "configured", "unchanged", "failed", "not applied"]
    message: str = ""
    keys: tuple[str, ...] = ()
    """Of a ConfigMap or Secret: the keys that changed."""


class ApplyResult(Struct, frozen=True):
    """All that happened; in a dry run all that would."""

    objects: tuple[Applied, ...]
    outcomes: tuple[Outcome, ...] = ()
    dry_run: bool = False

    @property
    def workloads(self) -> Result:
        return Result(self.outcomes)

    def code(self, *, exit_code: bool) -> int:
        """The exit code, as of `Result.code`; with `exit_code` 4: nothing was changed, and nothing restarted."""
        if any(each.state in ("failed", "not applied") for each in self.objects):
            return 1
        changed = any(each.state != "unchanged" for each in self.objects)
        return self.workloads.code(exit_code=exit_code and not changed)


class ApplyOptions(Struct, frozen=True):
    """How it is to be done; `restart` holds what concerns restarts, and whether it is a dry run."""

    restart: Options
    namespace: str
    """Of objects that name none."""
    force_conflicts: bool = False
    files: bool = True
    """Whether workloads are restarted that have it only as mounted files."""
    restarts: bool = True
    """Whether any are restarted."""


class _Item(Struct):
    """One manifest on its way."""

    manifest: Manifest
    place: Place | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    """As the server answered; None: it could not be tried yet."""
    problem: str = ""

    @property
    def name(self) -> str:
        if self.place is not None:
            return str(self.place)
        return "/".join(
            part for part in (self.manifest.kind.lower(), self.manifest.namespace, self.manifest.name) if part
        )

    @property
    def change(self) -> Change:
        return what_changed(self.before, self.after or {})

    @property
    def config(self) -> ConfigId | None:
        """Which ConfigMap or Secret it is, None if it is none."""
        if (
            self.place is None
            or self.place.resource.group
            or self.manifest.kind not in ("ConfigMap", "Secret")
        ):
            return None
        kind: Literal["configmap", "secret"] = "configmap" if self.manifest.kind == "ConfigMap" else "secret"
        return ConfigId(kind, self.place.namespace, self.place.name)

    @property
    def keys(self) -> tuple[str, ...]:
        return (
            changed_keys(self.before, self.after)
            if self.config is not None and self.after is not None
            else ()
        )

    def told(self) -> Applied:
        if self.problem:
            return Applied(self.name, "failed", self.problem)
        if self.after is None:
            return Applied(self.name, "created", "after what it needs is there")
        return Applied(self.name, self.change, keys=self.keys)


async def apply(
    client: Client,
    manifests: Sequence[Manifest],
    options: ApplyOptions,
    view: View | None = None,
    written: Callable[[ApplyResult], None] | None = None,
) -> ApplyResult:
    """Apply these manifests. `written` is called when the objects are applied and the workloads' turn comes.

    Raises ApiError where the server can't be asked at all, and msgspec.DecodeError.
    """
    applier = _Applier(client, options, view or Silent())
    return await applier.run(manifests, written or (lambda result: None))


class _Applier:
    def __init__(self, client: Client, options: ApplyOptions, view: View) -> None:
        self._client, self._options, self._view = client, options, view
        self._served = Served(client)
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def run(self, manifests: Sequence[Manifest], written: Callable[[ApplyResult], None]) -> ApplyResult:
        dry_run = self._options.restart.dry_run
        items = [_Item(each) for each in in_order(manifests)]
        await asyncio.gather(*(self._try(item, items) for item in items))
        _tell_twice(items)
        if any(item.problem for item in items):
            told = [
                item.told() if item.problem else Applied(item.name, "not applied", "nothing was written")
                for item in items
            ]
            return _handed(written, ApplyResult(tuple(told), dry_run=dry_run))
        consumers = await self._consumers(items)
        objects = tuple(item.told() for item in items) if dry_run else await self._write(items)
        result = _handed(written, ApplyResult(objects, dry_run=dry_run))
        if any(each.state in ("failed", "not applied") for each in objects):
            return result
        return replace(result, outcomes=await self._roll(items, consumers))

    # --- trying ----------------------------------------------------------------------------------------

    async def _try(self, item: _Item, items: Sequence[_Item]) -> None:
        """Ask the server what it would make of an object; what it needs and is applied first is no obstacle."""
        async with self._slots:
            try:
                await self._locate(item)
                if item.place is None:
                    if not _defined(item.manifest, items):
                        item.problem = (
                            f"the server knows no kind {item.manifest.kind} in {item.manifest.api_version}"
                        )
                    return
                item.before = await self._read(item.place.path)
                if item.before is None and _makes_namespace(items, item.place.namespace):
                    there = await self._read(NAMESPACES.path(None, item.place.namespace))
                    if there is None:
                        return
                item.after = await self._send(item, dry_run=True)
            except ApiError as error:
                item.problem = _words(error)

    async def _locate(self, item: _Item) -> None:
        manifest = item.manifest
        resource = await self._served.resource(manifest.api_version, manifest.kind)
        if resource is not None:
            namespace = (manifest.namespace or self._options.namespace) if resource.namespaced else ""
            item.place = Place(resource, namespace, manifest.name)

    async def _read(self, where: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = msgspec.json.decode(await self._client.get(where))
        except NotFound:
            return None
        return found

    async def _send(self, item: _Item, *, dry_run: bool) -> dict[str, Any]:
        assert item.place is not None
        body = dict(item.manifest.body)
        if item.place.namespace:
            body["metadata"] = {**body["metadata"], "namespace": item.place.namespace}
        answer = await self._client.patch(
            item.place.path + ("?dryRun=All" if dry_run else ""),
            msgspec.json.encode(body),
            content_type=APPLY_PATCH,
            attempts=4,  # to apply the same twice is to apply it once
            force=self._options.force_conflicts,
        )
        found: dict[str, Any] = msgspec.json.decode(answer)
        return found

    # --- who consumes what changes ---------------------------------------------------------------------

    async def _consumers(self, items: Sequence[_Item]) -> list[Consumer]:
        """The workloads that consume what is about to change, as they are before it does."""
        # What is created counts too: it may have been deleted before, or optional references waited for it.
        changed = {item.config: item.keys for item in items if item.config is not None and item.keys}
        if not self._options.restarts:
            return []
        found: dict[WorkloadId, Consumer] = {}
        behind = await self._behind(items)
        touched = {config.namespace for config in changed} | {each.namespace for each in behind}
        for namespace in sorted(touched):
            meta = (await self._read(NAMESPACES.path(None, namespace)) or {}).get("metadata") or {}
            annotations: Mapping[str, str] = meta.get("annotations") or {}

            def take(kind: WorkloadKind, raw: msgspec.Raw, of: Mapping[str, str] = annotations) -> None:
                one = consumer(
                    kind,
                    bytes(raw),
                    lambda workload: {**behind.get(workload, {}), **changed},
                    namespace_annotations=lambda _: of,
                    files=self._options.files,
                )
                if one is None:
                    return
                late = not any(config in changed for config in one.configs)
                if late and one.action == "controller":
                    return  # it knows better than times do
                found[one.workload] = replace(one, why=(*one.why, _LATE)) if late else one

            for kind in RESTARTABLE.values():
                await list_kind(self._client, kind, namespace, partial(take, kind))
        return list(found.values())

    async def _behind(self, items: Sequence[_Item]) -> dict[WorkloadId, dict[ConfigId, tuple[str, ...]]]:
        """Workloads whose pods surely ran older content of these objects before: of an apply that was cut off, or of
        anybody. What may not be looked at is none."""
        configs = {item.config for item in items if item.config is not None and item.before is not None}
        found: dict[WorkloadId, dict[ConfigId, tuple[str, ...]]] = {}
        namespaces = sorted({config.namespace for config in configs})
        if not namespaces:
            return found
        try:
            report = await audit(self._client, now=time.time(), namespaces=namespaces, at_least="certain")
        except ApiError:
            return found
        for each in report.stale:
            workload = WorkloadId(each.kind, each.namespace, each.name)
            for finding in each.findings:
                kind, _, name = finding.config.partition("/")
                config = ConfigId("secret" if kind == "secret" else "configmap", each.namespace, name)
                if config in configs:
                    held = found.setdefault(workload, {})
                    held[config] = (*held.get(config, ()), *finding.keys)
        return found

    # --- writing ---------------------------------------------------------------------------------------

    async def _write(self, items: Sequence[_Item]) -> tuple[Applied, ...]:
        """Apply them, rank by rank; after a failure no further rank."""
        failed = False
        told: dict[int, Applied] = {}
        for rank in sorted({item.manifest.rank for item in items}):
            numbers = [number for number, item in enumerate(items) if item.manifest.rank == rank]
            if failed:
                told |= {
                    n: Applied(items[n].name, "not applied", "something before it failed") for n in numbers
                }
                continue
            await asyncio.gather(*(self._write_one(items[number]) for number in numbers))
            told |= {number: items[number].told() for number in numbers}
            failed = any(items[number].problem for number in numbers)
        return tuple(told[number] for number in sorted(told))

    async def _write_one(self, item: _Item) -> None:
        async with self._slots:
            try:
                if item.place is None:
                    await self._locate(item)
                if item.place is None:
                    item.problem = (
                        f"the server knows no kind {item.manifest.kind} in {item.manifest.api_version}"
                    )
                    return
                item.after = await self._send(item, dry_run=False)
                if item.manifest.kind == "CustomResourceDefinition":
                    await self._established(item.place)
            except ApiError as error:
                item.problem = _words(error)

    async def _established(self, place: Place) -> None:
        deadline = time.monotonic() + _ESTABLISHED_WITHIN
        while time.monotonic() < deadline:
            found = await self._read(place.path) or {}
            conditions = (found.get("status") or {}).get("conditions") or ()
            if any(each.get("type") == "Established" and each.get("status") == "True" for each in conditions):
                break
            await asyncio.sleep(_POLL)
        self._served.forget()

    # --- rolling ---------------------------------------------------------------------------------------

    async def _roll(self, items: Sequence[_Item], consumers: Sequence[Consumer]) -> tuple[Outcome, ...]:
        """Restart who would not notice, and wait for all."""
        by_the_apply = {
            item.place.workload: ("its pod template is new" if item.before is not None else "it is new",)
            for item in items
            if item.place is not None and _rolls(item)
        }
        theirs = {each.workload: each for each in consumers if each.workload not in by_the_apply}
        targets = [Target(workload, why) for workload, why in by_the_apply.items()]
        targets += [Target(each.workload, each.why) for each in theirs.values()]
        restarter = Restarter(self._client, self._options.restart, self._view)

        async def one(target: Target, deadline: float) -> Outcome:
            if target.workload in by_the_apply:
                return await self._followed(target, deadline, "rolls by the apply itself")
            if theirs[target.workload].action == "controller":
                return await self._by_controller(theirs[target.workload], target, deadline)
            return await restarter.one(target, deadline)

        return await each_of(targets, one, self._options.restart, self._view)

    async def _followed(self, target: Target, deadline: float, words: str) -> Outcome:
        options = self._options.restart
        if options.dry_run:
            return outcome(target, "planned", words, "followed")
        if not options.wait:
            return outcome(target, "restarted", f"{words}; not waited for", "followed")
        ended = await follow(
            self._client,
            target.workload,
            deadline=deadline,
            told=lambda now: self._told(target.workload, now),
            log_lines=options.log_lines,
        )
        return replace(outcome(target, ended.state, ended.words, "followed"), reasons=ended.reasons)

    async def _by_controller(self, found: Consumer, target: Target, deadline: float) -> Outcome:
        """Wait until the controller has acted on it, and then for its rollout."""
        options = self._options.restart
        words = "is left to the controller that follows it"
        if options.dry_run or not options.wait:
            return await self._followed(target, deadline, words)
        patience = min(deadline, time.monotonic() + CONTROLLER_WITHIN + found.patience)
        while await self._state(target.workload) == found.state:
            if time.monotonic() >= patience:
                kind, namespace, name = target.workload
                return outcome(
                    target,
                    "timed out",
                    f"it is to be followed by a controller, and none has acted on it: is it running? "
                    f"reroll explain {kind.lower()}/{name} -n {namespace} tells what it would do",
                    "followed",
                )
            self._told(target.workload, Progress("going", "the controller has not acted yet"))
            await asyncio.sleep(_POLL)
        return await self._followed(target, deadline, words)

    async def _state(self, workload: WorkloadId) -> tuple[str, str]:
        kind = RESTARTABLE[workload.kind]
        obj = decode_object(kind, await self._client.get(path(workload, RESTARTABLE)))
        record = workload_record(obj, kind.id, None, relevant=ALL.relevant, arrived=0.0)
        applied = "" if record.applied is None else msgspec.json.encode(record.applied).decode()
        return record.template_hash + (record.mark or ""), applied

    def _told(self, workload: WorkloadId, now: Progress) -> None:
        self._view.going(workload, now.words, now.new, now.wanted)


def _handed(written: Callable[[ApplyResult], None], result: ApplyResult) -> ApplyResult:
    written(result)
    return result


def _rolls(item: _Item) -> bool:
    """The apply itself changes what its pods are made of."""
    kind = item.manifest.workload_kind
    if kind is None or kind.id not in RESTARTABLE or item.after is None:
        return False
    return item.before is None or template_of(item.before, kind) != template_of(item.after, kind)


def _defined(manifest: Manifest, items: Sequence[_Item]) -> bool:
    """A definition of its kind is among them."""
    return any(
        (spec := item.manifest.body.get("spec") or {}).get("group") == manifest.group
        and (spec.get("names") or {}).get("kind") == manifest.kind
        for item in items
        if item.manifest.kind == "CustomResourceDefinition"
    )


def _makes_namespace(items: Sequence[_Item], namespace: str) -> bool:
    return any(item.manifest.kind == "Namespace" and item.manifest.name == namespace for item in items)


def _tell_twice(items: Sequence[_Item]) -> None:
    """An object that is there twice would be what the second says, or the first: which one is chance."""
    seen: dict[str, _Item] = {}
    for item in items:
        if item.place is None or item.problem:
            continue
        first = seen.setdefault(item.place.path, item)
        if first is not item:
            item.problem = f"{item.manifest.origin}: it was given already, in {first.manifest.origin}"


def _words(error: ApiError) -> str:
    if isinstance(error, Conflict) and "conflict" in error.message:
        return f"{error.message}; leave these fields out of the manifest, or take them over with --force-conflicts"
    return error.message
