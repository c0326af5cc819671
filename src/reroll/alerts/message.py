"""Several notices as one message: what people read, in reroll's words or in those of Reloader.

Reloader's sentence stands in its `internal/pkg/handler/upgrade.go`; people match on it in their chats, so a
single reload is told with exactly these words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from reroll.alerts.notice import Notice
from reroll.core.records import ConfigId

Style: TypeAlias = Literal["reroll", "reloader"]

_REASON_LIMIT: Final = 300
_CONFIGS_SHOWN: Final = 5
_ROOM_FOR_THE_REST: Final = 160
_NOT_SHOWN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_WORDS: Final = {"reloaded": "reloaded", "failed": "could not be reloaded", "refused": "must not be reloaded"}


class Message(Struct, frozen=True):
    """One message, before a target gives it a form."""

    title: str
    text: str
    """May hold ``*`` around names, as Slack's and Google Chat's bold."""
    bad: bool
    """Something in it did not go well."""
    author: str

    @property
    def plain(self) -> str:
        """The text without ``*``."""
        return self.text.replace("*", "")


def compose(
    notices: Sequence[Notice],
    *,
    style: Style = "reroll",
    info: str = "",
    lost: int = 0,
    most: int = 20,
    limit: int = 3500,
) -> Message:
    """One message on all `notices`, of which `most` are told one by one, within `limit` characters.

    What went wrong comes first, so that it is not among those that are only counted. `info` is put in front
    of it, as it is; `lost` says how many notices before these were dropped.
    """
    ordered = sorted(notices, key=lambda notice: notice.outcome == "reloaded")
    prefix = f"{info} : " if info else ""
    room = limit - len(prefix) - _ROOM_FOR_THE_REST
    lines: list[str] = []
    for notice in ordered[:most]:
        line = reloader_sentence(notice) if style == "reloader" else sentence(notice)
        if lines and room < len(line) + 1:
            break
        line = _cut(line, max(room, 40))
        lines.append(line)
        room -= len(line) + 1
    rest = Counter(notice.outcome for notice in ordered[len(lines) :])
    if rest:
        lines.append("and " + ", ".join(f"{count} more {_WORDS[what]}" for what, count in rest.items()))
    if lost:
        lines.append(f"{lost} earlier {'one is' if lost == 1 else 'ones are'} not told: too many waited")
    counts = Counter(notice.outcome for notice in notices)
    subject = ", ".join(f"{count} {_WORDS[what]}" for what, count in sorted(counts.items()))
    author = "Reloader" if style == "reloader" else "reroll"
    return Message(
        title=f"{author}: {subject}",
        text=_cut(prefix + "\n".join(lines), limit),
        bad=counts["failed"] + counts["refused"] > 0,
        author=author,
    )


def sentence(notice: Notice) -> str:
    """In reroll's words: ``Reloaded deployment/web in namespace shop: configmap/app changed``."""
    workload = notice.workload
    name = f"{workload.kind.lower()}/{workload.name} in namespace {workload.namespace}"
    configs = _some([config.short(workload.namespace) for config in notice.configs])
    if notice.outcome == "reloaded":
        return f"Reloaded {name}: {configs} changed" if configs else f"Reloaded {name}"
    words = "Could not reload" if notice.outcome == "failed" else "Did not reload"
    cause = f" ({configs} changed)" if configs else ""
    return f"{words} {name}{cause}: {clean(notice.reason) or 'no reason is known'}"


def reloader_sentence(notice: Notice) -> str:
    """In Reloader's words. Where several objects changed at once, it names each of them."""
    workload = notice.workload
    changed = _some([_as_reloader(config) for config in notice.configs]) or "its configuration"
    target = f"*{workload.name}* of type *{workload.kind}* in namespace *{workload.namespace}*"
    detected = f"Reloader detected changes in {changed}."
    if notice.outcome == "reloaded":
        return f"{detected} Hence reloaded {target}"
    words = "Could not reload" if notice.outcome == "failed" else "Did not reload"
    return f"{detected} {words} {target}: {clean(notice.reason) or 'no reason is known'}"


def _as_reloader(config: ConfigId) -> str:
    return f"*{config.name}* of type *{config.kind.upper()}* in namespace *{config.namespace}*"


def clean(reason: str) -> str:
    """A reason, fit for a chat: one line, not too long, and nothing in it mentions or pages anybody.

    It may quote what somebody wrote into an annotation. Chats take ``<!channel>``, ``<users/all>`` and ``@here`` for
    commands; each has its own way to escape them or none, so the characters are replaced.
    """
    line = _NOT_SHOWN.sub(" ", reason).translate({ord("<"): "‹", ord(">"): "›", ord("@"): "(at)"})
    return _cut(line.strip(), _REASON_LIMIT)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _CONFIGS_SHOWN
    return ", ".join(names[:_CONFIGS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
