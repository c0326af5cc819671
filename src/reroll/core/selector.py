"""Which config objects an annotation names: the items of ``reroll.dev/follow`` and ``reroll.dev/ignore``.

The grammar
-----------
A list of items. White space, newlines and ``;`` always begin a new item; a comma does too, except within a
list of keys, which a comma continues. So inside a stretch of text without white space or ``;``:

* a word is what stands between commas; empty words count for nothing;
* a word that holds ``#`` is an item, and what follows its ``#`` is the first of its keys;
* after such a word, each word that holds none of ``/  #  *  ?  [  ]`` is one more key of the same item;
* every other word is an item of its own.

=========================  ===========================================================================
``app``                    the ConfigMap app and the Secret app
``app-*``                  all whose name begins with app- (``*``, ``?``, ``[a-c]``, ``[!0-9]``)
``configmap/app``          the ConfigMap app; also ``configmaps/``, ``cm/``; ``secret/``, ``secrets/``
``app#host,port``          the keys host and port of app
``app#host,port db``       these keys of app, and all of db: the space begins a new item
``app#host,port,db``       three keys of app: host, port and db
``app#host,secret/tls``    the key host of app, and the Secret tls: ``/`` tells that it is no key
``app#host, port``         the key host of app, and an object named port
``shared/ca``              ca, ConfigMap and Secret, of the namespace shared
``secret/shared/ca``       the Secret ca of the namespace shared
``secret/ca``              the Secret ca of the workload's own namespace: of two parts, a first that is
                           a word for a kind is always the kind
``cm/secret/ca``           the ConfigMap ca of a namespace that is called secret
=========================  ===========================================================================

Words for kinds are read in upper and lower case alike. A namespace is always a plain name, never a pattern.
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from reroll.core.name_regex import Matcher, compile_regex
from reroll.core.records import ConfigId, ConfigKind

KIND_WORDS: Final[dict[str, ConfigKind]] = {
    "configmap": "configmap",
    "configmaps": "configmap",
    "cm": "configmap",
    "secret": "secret",
    "secrets": "secret",
    "secretproviderclass": "secretproviderclass",
    "secretproviderclasses": "secretproviderclass",
}
KINDS: Final[tuple[ConfigKind, ...]] = ("configmap", "secret")
"""Those that an item without a kind means."""
ALL_KINDS: Final[tuple[ConfigKind, ...]] = (*KINDS, "secretproviderclass")

MAX_ITEMS: Final = 250
"""Items of one list. Each pattern among them is matched against every name of a namespace."""

NAME: Final = re.compile(r"[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?")
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_GLOB: Final = re.compile(r"(?:[-.a-z0-9*?]|\[!?[-.a-z0-9]+\]){1,253}")
_NO_KEY: Final = frozenset("/#*?[]")


class Selector(Struct, frozen=True, gc=False):
    """One item: config objects by kind, namespace and name, and which of their keys."""

    kind: ConfigKind | None
    """None: of both kinds."""
    namespace: str | None
    """None: the workload's own."""
    pattern: str
    syntax: Literal["exact", "glob", "regex"] = "exact"
    keys: tuple[str, ...] | None = None
    """Sorted; None: no keys are given."""

    def matches(self, config: ConfigId, home: str) -> bool:
        """True if this names `config` for a workload of the namespace `home`."""
        return (
            (self.kind is None or self.kind == config.kind)
            and config.namespace == (self.namespace or home)
            and self.matches_name(config.name)
        )

    def matches_name(self, name: str) -> bool:
        if self.syntax == "exact":
            return self.pattern == name
        return _matcher(self.syntax, self.pattern)(name)

    @property
    def kinds(self) -> tuple[ConfigKind, ...]:
        return KINDS if self.kind is None else (self.kind,)

    def __str__(self) -> str:
        """In the grammar, so that `parse_items` reads it back; a regular expression, which the grammar does
        not have, as ``configmap/regex(app-.*)``."""
        name = f"regex({self.pattern})" if self.syntax == "regex" else self.pattern
        path = "/".join(part for part in (self.kind, self.namespace, name) if part)
        return path if self.keys is None else f"{path}#{','.join(self.keys)}"


class ItemError(NamedTuple):
    """An item that could not be read."""

    item: str
    message: str


class Items(NamedTuple):
    """A list that was read: what could be, and what could not."""

    selectors: tuple[Selector, ...]
    errors: tuple[ItemError, ...]


def parse_items(text: str) -> Items:
    """Read a list in the grammar above. Never raises: bad items are left out and told in `errors`."""
    selectors: dict[Selector, None] = {}
    errors: list[ItemError] = []
    items = [item for chunk in re.split(r"[\s;]+", text) for item in _items(chunk)]
    for item, keys in items[:MAX_ITEMS]:
        try:
            selectors[_selector(item, keys)] = None
        except ValueError as error:
            errors.append(ItemError(",".join([item, *keys]), str(error)))
    if len(items) > MAX_ITEMS:
        first = items[MAX_ITEMS][0]
        errors.append(ItemError(first, f"more than {MAX_ITEMS} items: this and all after it are left out"))
    return Items(tuple(selectors), tuple(errors))


def _items(chunk: str) -> list[tuple[str, list[str]]]:
    """(word, keys that continue it) of a stretch without white space."""
    found: list[tuple[str, list[str]]] = []
    for word in chunk.split(","):
        if not word:
            continue
        if found and "#" in found[-1][0] and _NO_KEY.isdisjoint(word):
            found[-1][1].append(word)
        else:
            found.append((word, []))
    return found


def _selector(item: str, more_keys: list[str]) -> Selector:
    """The selector of one item. Raises ValueError with what is wrong about it."""
    path, hash_sign, first_key = item.partition("#")
    keys = None
    if hash_sign:
        if not first_key:
            raise ValueError("no key stands directly after '#'")
        for key in (first_key, *more_keys):
            if not _KEY.fullmatch(key):
                raise ValueError(
                    f"{key!r} is not a key: keys hold letters, digits, '-', '_' and '.', no patterns"
                )
        keys = tuple(sorted({first_key, *more_keys}))
    *prefix, name = path.split("/")
    kind, namespace = _place(prefix)
    syntax: Literal["exact", "glob"] = "exact" if _NO_KEY.isdisjoint(name) else "glob"
    if not (NAME if syntax == "exact" else _GLOB).fullmatch(name):
        if not name:
            raise ValueError("no name is given")
        what = "the name of a ConfigMap or Secret" if syntax == "exact" else "a pattern for names"
        raise ValueError(f"{name!r} is not {what}: names hold lower-case letters, digits, '-' and '.'")
    return Selector(kind=kind, namespace=namespace, pattern=name, syntax=syntax, keys=keys)


def _place(prefix: list[str]) -> tuple[ConfigKind | None, str | None]:
    """(kind, namespace) of what stands before the name."""
    if not prefix:
        return None, None
    kind = KIND_WORDS.get(prefix[0].lower())
    if len(prefix) == 1 and kind is not None:
        return kind, None
    namespace = prefix[-1]
    if len(prefix) == 2 and kind is None:
        raise ValueError(
            f"{prefix[0]!r} is not a kind: write configmap/{namespace}/NAME or secret/{namespace}/NAME"
        )
    if len(prefix) > 2:
        raise ValueError("too many parts: at most KIND/NAMESPACE/NAME")
    if not _NAMESPACE.fullmatch(namespace):
        raise ValueError(f"{namespace!r} is not the name of a namespace")
    return kind, namespace


def shared_with(record_value: str, namespace: str) -> bool:
    """True if the annotation `reroll.dev/share-with` of a config object lets workloads of `namespace` follow it.

    The value is a list of namespaces, separated by commas or white space; ``*``, ``?`` and ``[...]`` as in
    names. None match an empty value: nothing is shared unless its owner says so.
    """
    return any(
        namespace == word or (not _NO_KEY.isdisjoint(word) and _matcher("glob", word)(namespace))
        for word in re.split(r"[\s,;]+", record_value)
        if word
    )


@lru_cache(maxsize=2048)
def _matcher(syntax: Literal["glob", "regex"], pattern: str) -> Matcher:
    """The compiled pattern. `fnmatch` makes an expression that does not backtrack out of a ``*`` it has passed."""
    if syntax == "regex":
        return compile_regex(pattern)
    compiled = re.compile(fnmatch.translate(pattern))
    return lambda name: compiled.match(name) is not None
