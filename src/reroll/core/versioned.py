"""What a workload in the mode `version` is to be pointed at: the rules. Pure.

Its pod template names immutable copies in place of the objects that people edit (`core.pointing`). The record holds
which copy has the content that is recorded, because the template alone does not tell: after ``kubectl rollout undo`` it
names an older copy on purpose, and where keys that nobody reads have changed, an older copy has all that counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from reroll.core.decision import Decision, How, Kind, Situation
from reroll.core.pointing import KINDS, MEANS
from reroll.core.put_back import AGAIN_AFTER
from reroll.core.records import Applied, ConfigRecord, Consumed
from reroll.core.roll import cannot_start, how_to_roll, roll
from reroll.core.version_name import copy_name, is_version, secret_suffix


def suffix_of(kind: str, record: ConfigRecord) -> str:
    """The suffix of the version with this content; "" where that is not known, because its values were not seen."""
    return secret_suffix(record.keys, record.digests) if kind == "secret" else record.suffix


def with_versions(s: Situation, applied: Applied, *, moved: bool) -> Applied:
    """A record, with the copies that have the content it records.

    `moved`: the template is pointed at all of them with it. A copy that it names by an earlier decision stays, as long
    as what counts of it is the same.
    """
    if not _in_versions(s):
        return applied if not applied.versions else replace(applied, versions={})
    before = s.workload.applied
    versions: dict[str, str] = {}
    for c, state in _sources(s):
        short = c.config.short(s.workload.id.namespace)
        known = before.versions.get(short) if before is not None else None
        same = (
            before is not None
            and before.configs.get(short) == applied.configs.get(short)
            and before.key_id == applied.key_id
        )
        named = _copies(c)
        if known is not None and same and (not moved or named == {known}):
            versions[short] = known
        elif suffix := suffix_of(c.config.kind, state):
            # Of a copy that no decision of reroll put there, the name tells whether it has this content.
            found = [name for name in sorted(named) if is_version(name, c.config.name, suffix)]
            if moved or named != {""}:
                versions[short] = found[0] if found else copy_name(c.config.name, suffix)
    return replace(applied, versions=versions)


def unpointed(s: Situation) -> tuple[str, ...]:
    """What its template names itself, and not by a version (`ConfigId.short`). Empty in other modes."""
    if not _in_versions(s):
        return ()
    home = s.workload.id.namespace
    return tuple(
        c.config.short(home)
        for c, state in _sources(s)
        if "" in _copies(c) and suffix_of(c.config.kind, state)
    )


def names_present_versions(s: Situation) -> bool:
    """Does its template name, for all that it consumes, the versions with the present content?"""
    if not _in_versions(s):
        return False
    known = dict(_sources(s))
    return bool(known) and all(
        c in known
        and all(is_version(name, c.config.name, suffix_of(c.config.kind, known[c])) for name in _copies(c))
        for c in s.consumed
    )


def _in_versions(s: Situation) -> bool:
    return s.policy.mode == "version" and how_to_roll(s) is How.VERSION


def point(
    s: Situation,
    plain: Sequence[str],
    after: Applied,
    notes: tuple[str, ...],
    blocked: Sequence[str],
) -> Decision:
    """Nothing of its content is stale, but its template names sources, whose content can change under its pods.

    At first it is pointed at versions at once. Where they were taken away again for the same template, by a tool that
    writes its own again and again, that is done a few times and ever later, as a mark is (`core.put_back`)."""
    before = s.workload.applied
    names = ", ".join(plain)
    reason = f"its pod template names {names} itself, whose content can change under its pods"
    if blocked:
        return cannot_start(reason, blocked, (), notes)
    had = before is not None and any(short in before.versions for short in plain)
    if not had or before is None:
        return roll(s, reason, (), after, since=0.0, notes=notes)
    who = s.workload.template_change.by or "another client"
    reason = f"{who} took its versions away: {reason}"
    if before.again >= len(AGAIN_AFTER):
        words = f"{reason}, {len(AGAIN_AFTER)} times; reroll does not point it at them again"
        ways = ("the admission policy of docs/versions.md keeps them, and mode rollout needs none",)
        return Decision(Kind.WAIT, words, warning=True, event="Contested", notes=(*notes, *ways))
    due = before.decided(s.now) + AGAIN_AFTER[before.again]
    if s.now < due:
        return Decision(Kind.WAIT, f"{reason}; it is pointed at them again later", until=due, notes=notes)
    return roll(s, reason, (), after, since=0.0, notes=notes, again=before.again + 1)


def behind(s: Situation, applied: Applied | None) -> dict[str, str]:
    """What its template names in another version than has the recorded content, and which: somebody put it there."""
    if applied is None or not _in_versions(s):
        return {}
    found: dict[str, str] = {}
    for c, _ in _sources(s):
        short = c.config.short(s.workload.id.namespace)
        wanted = applied.versions.get(short)
        others = _copies(c) - {"", wanted}
        if wanted is not None and others:
            found[short] = min(others)
    return found


def told(s: Situation, decision: Decision) -> Decision:
    """The same decision, saying so where pods run an older version on purpose: the source is ahead of it."""
    if decision.kind not in (Kind.RECORD, Kind.SKIP) or s.workload.deleting:
        return decision
    older = behind(s, decision.applied if decision.kind is Kind.RECORD else s.workload.applied)
    if not older:
        return decision
    names = ", ".join(f"{short} ({copy})" for short, copy in sorted(older.items()))
    who = s.workload.template_change.by or "another client"
    words = f"{who} pointed it at an older version of {names}: the source is ahead, and its pods keep that version"
    ways = ("reroll rollback --restore-source brings the source back to it, a change of the source goes on",)
    if decision.kind is Kind.SKIP:
        return replace(decision, reason=words, runs="older", notes=(*decision.notes, *ways))
    return replace(decision, reason=words, warning=True, event="SourceAhead", notes=(*decision.notes, *ways))


def _sources(s: Situation) -> Iterator[tuple[Consumed, ConfigRecord]]:
    """What has versions of what it consumes: objects that exist, that somebody can edit, and that its containers read.

    What is immutable, such as what kustomize generates, is a version already."""
    for c in s.consumed:
        state = s.states[c.config]
        if c.config.kind not in KINDS or c.config.namespace != s.workload.id.namespace:
            continue
        if isinstance(state, ConfigRecord) and not state.immutable and not state.ignored and _copies(c):
            yield c, state


def _copies(c: Consumed) -> set[str]:
    """The copies that its template names for it; "": it names the source itself."""
    return {each.copy for each in c.references if each.rolls and each.means in MEANS}
