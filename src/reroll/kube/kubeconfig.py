"""Kubeconfig files: read, checked for shape, and merged under kubectl's rules.

First step of the way to an API server; `reroll.kube.config` turns the result into one usable cluster. Every
entry remembers the file it stands in and its place there, because relative paths are relative to that file
and because a message that names the field saves its reader the search.

Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
Merging: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import msgspec
import yaml
from msgspec import Struct

from reroll.kube.config_error import ConfigError

_V = TypeVar("_V")


class NamedExtension(Struct, frozen=True):
    """Anything under a name; exec plugins read one of them (see `reroll.kube.exec_plugin`)."""

    name: str = ""
    extension: Any = None


class Cluster(Struct, frozen=True, rename="kebab"):
    """clusters[].cluster"""

    server: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    proxy_url: str = ""
    disable_compression: bool = False
    extensions: list[NamedExtension] = []


class ExecVariable(Struct, frozen=True):
    """users[].user.exec.env[]"""

    name: str = ""
    value: str = ""

    def __repr__(self) -> str:
        return f"ExecVariable({self.name!r})"


class Exec(Struct, frozen=True, rename="camel"):
    """users[].user.exec"""

    command: str = ""
    args: list[str] = []
    env: list[ExecVariable] = []
    api_version: str = ""
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = ""

    def __repr__(self) -> str:
        return f"Exec({self.command!r})"


class AuthProvider(Struct, frozen=True):
    """users[].user.auth-provider, which Kubernetes 1.26 removed; read only to say so."""

    name: str = ""


class User(Struct, frozen=True, rename="kebab"):
    """users[].user"""

    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    username: str = ""
    password: str = ""
    impersonate: str = msgspec.field(default="", name="as")
    as_uid: str = ""
    as_groups: list[str] = []
    as_user_extra: dict[str, list[str]] = {}
    auth_provider: AuthProvider | None = None
    exec: Exec | None = None

    def __repr__(self) -> str:  # it holds credentials, and reprs end up in logs
        return "User(...)"


class Context(Struct, frozen=True):
    """contexts[].context"""

    cluster: str = ""
    user: str = ""
    namespace: str = ""


class _NamedCluster(Struct, frozen=True):
    name: str = ""
    cluster: Cluster = Cluster()


class _NamedUser(Struct, frozen=True):
    name: str = ""
    user: User = User()


class _NamedContext(Struct, frozen=True):
    name: str = ""
    context: Context = Context()


class _File(Struct, frozen=True):
    api_version: str = msgspec.field(default="v1", name="apiVersion")
    kind: str = "Config"
    clusters: list[_NamedCluster] = []
    users: list[_NamedUser] = []
    contexts: list[_NamedContext] = []
    current_context: str = msgspec.field(default="", name="current-context")


class Entry(Struct, Generic[_V], frozen=True):
    """One named thing, and where it was found."""

    name: str
    value: _V
    file: str
    place: str
    """Its place in the file, such as ``clusters[0].cluster``."""

    def at(self, field: str) -> str:
        """File and field, as messages begin."""
        return f"{self.file}: {self.place}.{field}"

    def path(self, written: str) -> str:
        """The absolute form of a path written in this entry: relative to the file that holds it."""
        return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(self.file)), written))


class Kubeconfig(Struct, frozen=True):
    """What one or several kubeconfig files say together."""

    clusters: dict[str, Entry[Cluster]]
    users: dict[str, Entry[User]]
    contexts: dict[str, Entry[Context]]
    current_context: str = ""
    current_context_file: str = ""
    """The file that set it."""
    files: tuple[str, ...] = ()
    """The files that were read."""
    missing: tuple[str, ...] = ()
    """The files that were looked for and do not exist."""


def read_kubeconfig(paths: Iterable[str], *, must_exist: bool = False) -> Kubeconfig:
    """Read and merge kubeconfig files.

    As kubectl does: the first file that has a name wins it as a whole, the first that sets current-context
    wins that, and files that do not exist are skipped (unless `must_exist`). A file that can't be read or
    understood is an error even if others would do, for skipping it could choose another cluster.

    Raises ConfigError.
    """
    merged = Kubeconfig({}, {}, {})
    current = current_file = ""
    files: list[str] = []
    missing: list[str] = []
    for path in dict.fromkeys(paths):
        content = _read(path, must_exist)
        if content is None:
            missing.append(path)
            continue
        files.append(path)
        parsed = _parse(path, content)
        _add(merged.clusters, path, "clusters", "cluster", [(c.name, c.cluster) for c in parsed.clusters])
        _add(merged.users, path, "users", "user", [(u.name, u.user) for u in parsed.users])
        _add(merged.contexts, path, "contexts", "context", [(c.name, c.context) for c in parsed.contexts])
        if parsed.current_context and not current:
            current, current_file = parsed.current_context, path
    return msgspec.structs.replace(
        merged,
        current_context=current,
        current_context_file=current_file,
        files=tuple(files),
        missing=tuple(missing),
    )


def _add(
    merged: dict[str, Entry[_V]], file: str, plural: str, singular: str, found: list[tuple[str, _V]]
) -> None:
    here: dict[str, int] = {}
    for index, (name, value) in enumerate(found):
        if not name:
            raise ConfigError(f"{file}: {plural}[{index}].name: missing; give this {singular} a name")
        if name in here:
            raise ConfigError(
                f'{file}: {plural}[{index}].name: "{name}" is also the name of {plural}[{here[name]}];'
                " remove or rename one of them"
            )
        here[name] = index
        merged.setdefault(name, Entry(name, value, file, f"{plural}[{index}].{singular}"))


def _read(path: str, must_exist: bool) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        if must_exist:
            raise ConfigError(f"{path}: no such file; name an existing kubeconfig file") from error
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error


def _parse(path: str, content: bytes) -> _File:
    try:
        tree = yaml.load(content, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{path}: {_yaml_fault(error)}") from None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: PyYAML's own, for such things as the 31st of February.
        raise ConfigError(f"{path}: not valid YAML ({type(error).__name__})") from None
    if tree is None:
        return _File()
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: not a kubeconfig: expected a mapping with clusters, users and contexts")
    try:
        parsed = msgspec.convert(_without_nulls(tree), _File)
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply, or an alias that contains itself") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(str(error))}") from None
    if parsed.kind != "Config" or parsed.api_version != "v1":
        raise ConfigError(
            f"{path}: not a kubeconfig: it says kind {parsed.kind}, apiVersion {parsed.api_version};"
            " expected kind Config, apiVersion v1"
        )
    return parsed


def _yaml_fault(error: yaml.MarkedYAMLError) -> str:
    """Position and kind of the fault. Neither the marked line nor a tag or alias is quoted: it may be a
    token that begins with an exclamation mark or a star."""
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    of_grammar = isinstance(error, yaml.scanner.ScannerError | yaml.parser.ParserError)
    what = error.problem if of_grammar else "a tag, alias or second document that cannot be read"
    return f"{where}not valid YAML: {what}"


def _without_nulls(value: Any) -> Any:
    """kubectl writes ``users: null`` for an empty list and reads a null anywhere as "not set"."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    return value


_VALIDATION = re.compile(
    r"Expected `(?P<want>[^`]*)`, got `(?P<got>[^`]*)`(?: - at `(?:key in )?\$\.?(?P<path>.*)`)?$"
)
_FOR_PEOPLE = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "date": "a date",
    "datetime": "a date",
    "null": "nothing",
}


def _explain(problem: str) -> str:
    """msgspec's message (it never quotes a value) with the field first and in a YAML writer's words."""
    match = _VALIDATION.search(problem)
    if match is None:
        return problem
    want, got = match["want"].removesuffix(" | null"), match["got"]
    hint = "; put quotes around it" if want == "str" and got not in ("array", "object", "null") else ""
    expected = f"expected {_FOR_PEOPLE.get(want, want)} but found {_FOR_PEOPLE.get(got, got)}{hint}"
    return f"{match['path'] or 'top level'}: {expected}"
