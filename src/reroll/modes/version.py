"""The mode `version`: point the pod template at immutable copies of its configuration.

First the copies are made, then one patch names them in the template, with the record and the mark, so there is no
moment in which a template names what does not exist. What is made for nothing, because the controller ends in between
or the patch is refused, is found again by the next try: equal content has an equal name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec

from reroll.core.applied import APPLIED, encode
from reroll.core.decision import Decision
from reroll.core.pointing import Named, named, pointed
from reroll.core.records import ConfigId
from reroll.core.version_name import LENGTHS, copy_name
from reroll.kube.errors import Forbidden, Invalid, NotFound
from reroll.modes import pause as pausing
from reroll.modes.bodies import on_top, place
from reroll.modes.mode import Mode, Outcome, Patch, Subject, Wait
from reroll.versions.collect import RESOURCES
from reroll.versions.copies import FAILED
from reroll.versions.make import find_or_create, keep_from_collection
from reroll.versions.refusal import Refused

_BELIEVED: Final = 5.0
"""Seconds for which a copy that was seen is taken to exist, and not to be held: a crowd is pointed at it by then."""
_NEWS: Final = 0.2
"""Seconds after which the watch has told of what was read ahead of it."""
_AGAIN: Final = 10.0
"""Seconds at least before what the server refuses is tried again."""


class Version(Mode):
    """Makes copies, and points the template at them."""

    def __init__(self) -> None:
        self._seen: dict[tuple[ConfigId, str], tuple[float, str]] = {}
        """(source, the name of its version) -> when the copy was seen to exist, and the copy's name."""

    async def begin(self, subject: Subject, decision: Decision) -> Outcome:
        """See `Mode`."""
        assert decision.applied is not None, "a decision to roll is recorded"
        template: Any = await subject.read()
        for name in subject.kind.template:
            template = template[name]
        home, present = subject.record.id.namespace, named(template)
        wanted: dict[Named, str] = {}
        for short, version in decision.applied.versions.items():
            config = ConfigId.read(short, home)
            if present.get((config.kind, config.name)) == version:
                continue
            made = await self._have(subject, config, version)
            if isinstance(made, Wait):
                return made
            wanted[config.kind, config.name] = made
        for (kind, source), name in present.items():
            short = ConfigId(kind, home, source).short(home)
            if (
                name != source
                and short in decision.applied.configs
                and short not in decision.applied.versions
            ):
                wanted[kind, source] = source  # the workload is in another mode by now
        subject.tell.held(subject, "")
        return Patch(_body(subject, decision, template, wanted))

    def look_again(self) -> None:
        """A copy may be held from here on: believe nothing that was seen."""
        self._seen.clear()

    async def _have(self, subject: Subject, config: ConfigId, version: str) -> str | Wait:
        """See to it that there is a copy with the present content of this object; its name, or why it can't be had now.

        The decision was made on what the watches brought. A source that is newer by now waits for its news: a copy of
        that would be of content that nobody has decided on. Raises ApiError."""
        at, name = self._seen.get((config, version), (0.0, ""))
        if 0 <= subject.now - at < _BELIEVED:
            return name
        short = config.short(config.namespace)
        path = RESOURCES[config.kind].path(config.namespace, config.name)
        try:
            source: dict[str, Any] = msgspec.json.decode(await subject.api.get(path))
            source["kind"] = RESOURCES[config.kind].kind
            if copy_name(config.name, subject.suffix(config, source, LENGTHS[0])) != version:
                return Wait(f"{short} has changed again, and the watch has not told of it yet", _NEWS)
            found = await self._find_or_create(subject, config, source)
        except NotFound:
            return Wait(f"{short} was deleted, and the watch has not told of it yet", _NEWS)
        except (Forbidden, Invalid) as error:
            why = f"its version {version} of {short} can't be created: {error}"
            subject.tell.held(subject, why, "Point")
            return Wait(why, at_least=_AGAIN, failed=error.reason)
        if not isinstance(found, Wait):
            self._seen = {key: seen for key, seen in self._seen.items() if subject.now - seen[0] < _BELIEVED}
            self._seen[config, version] = (subject.now, found)
        return found

    async def _find_or_create(
        self, subject: Subject, config: ConfigId, source: Mapping[str, Any]
    ) -> str | Wait:
        """The name of the copy with this content. Raises ApiError."""
        try:
            name, there = await find_or_create(
                subject.api, config, source, partial(subject.suffix, config, source)
            )
        except Refused as refused:
            why = str(refused)
            subject.tell.held(subject, why, "Point")
            return Wait(why, at_least=_AGAIN)
        if there is None:
            return name
        failed = (there["metadata"].get("annotations") or {}).get(FAILED)
        if failed and failed != f"{subject.record.id.kind.lower()}/{subject.record.id.name}":
            why = (
                f"{config.short(config.namespace)} is held back in its version {name}, whose rollout failed at "
                f"{failed}: a new content goes on, and so does reroll retry {config.short(config.namespace)}"
            )
            subject.tell.held(subject, why, "Point")
            return Wait(why, at_least=_AGAIN)
        await keep_from_collection(subject.api, config, there)
        return name


def _body(
    subject: Subject, decision: Decision, template: dict[str, Any], wanted: Mapping[Named, str]
) -> bytes:
    """The merge patch: the record, the mark, and the parts of the template that name versions. Lists are replaced as a
    whole; it carries the resourceVersion that they were read with."""
    assert decision.applied is not None
    assert decision.mark is not None
    after = pointed(template, wanted)
    subject.style.put(after, decision.mark)
    body = on_top(subject.record, {APPLIED: encode(decision.applied)})
    pausing.put(body, decision, subject.policy.pause)
    change: dict[str, Any] = {}
    for part in ("metadata", "spec"):
        change[part] = _changed(template.get(part) or {}, after.get(part) or {})
    place(body, subject.kind.template, {part: fields for part, fields in change.items() if fields})
    return msgspec.json.encode(body)


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """A merge patch between two mappings, whose maps are compared one level deeper."""
    found: dict[str, Any] = {}
    for key in before.keys() | after.keys():
        was, is_ = before.get(key), after.get(key)
        if was == is_:
            continue
        if isinstance(was, dict) and isinstance(is_, dict):
            found[key] = {k: is_.get(k) for k in was.keys() | is_.keys() if was.get(k) != is_.get(k)}
        else:
            found[key] = is_
    return found
