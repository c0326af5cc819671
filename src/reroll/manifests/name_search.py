"""What in a cluster names a generation, found by its name alone.

A name with a hash is one of a kind, so that something names it can be told from the text, wherever it stands: in a
field that Kubernetes reads, in an argument, in an annotation, in a custom resource that nobody here knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from reroll.core.suffix_hash import ALPHABET, LENGTH
from reroll.kube.client import Client
from reroll.kube.pages import read_list
from reroll.kube.resources import CONFIG_MAPS, Resource

_SUFFIX = re.compile(rf"-([{ALPHABET}]{{{LENGTH}}})(?![a-z0-9])".encode())


class NameSearch:
    """Looks for the names of ConfigMaps and Secrets, given with their namespaces."""

    def __init__(self, wanted: Iterable[tuple[str, str]]) -> None:
        self.named_by: dict[tuple[str, str], list[str]] = {}
        """By namespace and name, what names it, as kind/name."""
        self._names: dict[bytes, set[bytes]] = {}
        self._homes: dict[str, set[str]] = {}
        for namespace, name in wanted:
            self._names.setdefault(name[-LENGTH:].encode(), set()).add(name.encode())
            self._homes.setdefault(name, set()).add(namespace)

    async def through(self, client: Client, resource: Resource, scope: str) -> None:
        """Look through all objects of a kind, in a namespace, or "" in all. Raises ApiError."""
        hits: dict[tuple[str, str], list[str]] = {}

        def path(**query: Any) -> str:
            return resource.path(scope or None, **query)

        def take(raw: msgspec.Raw) -> None:
            for key, by in self._in_object(resource, bytes(raw)):
                hits.setdefault(key, []).append(by)

        await read_list(client, path, take, begin_again=hits.clear)
        for key, several in hits.items():
            self.named_by.setdefault(key, []).extend(several)

    def _in_object(self, resource: Resource, text: bytes) -> Iterable[tuple[tuple[str, str], str]]:
        if not self._in_text(text):
            return
        value: dict[str, Any] = msgspec.json.decode(text)
        value.pop("status", None)  # tells what there is, and reads nothing
        metadata = value.get("metadata") or {}
        metadata.pop("managedFields", None)
        itself = metadata.pop("name", "")
        home = metadata.get("namespace") or ""
        for name in self._in_text(msgspec.json.encode(value)):
            for namespace in self._homes[name]:
                if resource == CONFIG_MAPS and (home, itself) == (namespace, name):
                    continue  # annotations of deploy tools tell an object its own name
                # Equal content has equal names in every namespace: elsewhere, the namespace has to be named too.
                if home in ("", namespace) or _word(namespace).search(text):
                    yield (namespace, name), f"{resource.kind.lower()}/{itself}"

    def _in_text(self, text: bytes) -> set[str]:
        """Which of the names stand in a text: each as the end of a word."""
        return {
            name.decode()
            for match in _SUFFIX.finditer(text)
            for name in self._names.get(match[1], ())
            if text.endswith(name, 0, match.end())
        }


def _word(text: str) -> re.Pattern[bytes]:
    return re.compile(rf"(?<![a-z0-9-]){re.escape(text)}(?![a-z0-9-])".encode())
