"""The Event object of ``events.k8s.io/v1``, within the limits that the API server's validation sets.

It stands below `reroll.kube.events`, which sends it. Source of the limits: k8s.io/kubernetes
pkg/apis/core/validation/events.go.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

import msgspec

EventType: TypeAlias = Literal["Normal", "Warning"]

NOTE_LIMIT: Final = 1024
"""Bytes of a note, as the server counts them."""
FIELD_LIMIT: Final = 128
"""Bytes of a reason, an action and a reporting instance."""

_NAME_LIMIT = 253
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]+")


class ObjectReference(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The object that an Event is about, or is related to."""

    api_version: str
    kind: str
    namespace: str
    """Empty for an object of the whole cluster."""
    name: str
    uid: str = ""
    """``kubectl describe`` finds Events by it."""
    resource_version: str = ""


class Metadata(msgspec.Struct):
    name: str
    namespace: str


class Series(msgspec.Struct, rename="camel"):
    count: int
    last_observed_time: str


class SeriesPatch(msgspec.Struct):
    series: Series


class Event(msgspec.Struct, rename="camel", omit_defaults=True):
    metadata: Metadata
    event_time: str
    reporting_controller: str
    reporting_instance: str
    action: str
    reason: str
    regarding: ObjectReference
    note: str
    type: EventType
    related: ObjectReference | None = None
    series: Series | None = None
    api_version: str = ""
    kind: str = ""


def event_name(name: str, about: str = "") -> str:
    """A name of its own, valid as a DNS subdomain: the object's name, cut and cleaned, and 64 random bits; or the same
    name for what is the same (`about`)."""
    bits = hashlib.blake2b(about.encode(), digest_size=8).hexdigest() if about else secrets.token_hex(8)
    suffix = f".{bits}"
    stem = _NOT_IN_NAMES.sub("-", name.lower())[: _NAME_LIMIT - len(suffix)].strip(".-")
    return f"{stem or 'event'}{suffix}"


def cut(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, whole characters, with an ellipsis where something was left out."""
    data = text.encode(errors="replace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - 3].decode(errors="ignore") + "…"


def microtime(seconds: float) -> str:
    """Seconds since the epoch as the API's MicroTime: always six digits."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
