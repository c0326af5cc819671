"""What a pod runs with: the variables and files that its containers were given, and whether that is old by now.

Pure: a pod and a way to find ConfigMaps and Secrets go in, records come out. The rules are those of the
kubelet (pkg/kubelet/kubelet_pods.go for variables, pkg/volume/{configmap,secret,projected} for files):
variables are given when a container starts, files follow later, those mounted by subPath never do.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from reroll.sandbox.storage import Object

ConfigKind: TypeAlias = Literal["configmap", "secret"]
Means: TypeAlias = Literal["plain", "env", "envFrom", "volume", "projected"]
Find: TypeAlias = Callable[[ConfigKind, str], "Object | None"]
"""The ConfigMap or Secret of a name in the pod's namespace."""

_EXPANSION: Final = re.compile(r"\$(?:\$|\(([^()]+)\))")
_TITLES: Final = {"configmap": "ConfigMap", "secret": "Secret"}


class Unavailable(Exception):
    """Something that a container needs is not there. `names` are the config objects that could help."""

    def __init__(self, message: str, names: Iterable[tuple[ConfigKind, str]], volume: str = "") -> None:
        super().__init__(message)
        self.names = tuple(names)
        self.volume = volume
        """The volume that could not be set up; "" where it is a variable."""


class Given(Struct, frozen=True):
    """One variable or file of a container, and where it is from."""

    value: bytes
    means: Means = "plain"
    kind: ConfigKind | Literal[""] = ""
    object: str = ""
    key: str = ""
    bound: bool = False
    """Mounted by subPath: this container will never see another."""

    def __repr__(self) -> str:
        """Without the value, which may be a Secret's."""
        return f"Given({self.kind}/{self.object}#{self.key} by {self.means}, {len(self.value)} bytes)"


class ContainerContent(Struct, frozen=True):
    """What one container runs with."""

    name: str
    env: Mapping[str, Given]
    """By variable."""
    files: Mapping[str, Given]
    """By path in the container."""


class Content(Struct, frozen=True):
    """What a pod runs with, by container: init containers too, which ran with it."""

    pod: str
    containers: tuple[ContainerContent, ...] = ()


class Finding(Struct, frozen=True):
    """One variable or file of a running container that a new one would be given otherwise."""

    pod: str
    container: str
    means: Means
    where: str
    """The variable or the path."""
    kind: ConfigKind
    object: str
    key: str
    runs: str | None
    """The value of a ConfigMap, the digest of a Secret's; None: the container has none."""
    now: str | None
    """The same as a new container would have it."""


Volumes: TypeAlias = Mapping[str, Mapping[str, Given]]
"""By volume, its files by their path within it."""


def containers_of(pod: Object) -> list[Object]:
    """Init containers, then containers."""
    spec = pod["spec"]
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def uses_in_variables(pod: Object) -> set[tuple[ConfigKind, str]]:
    """Every ConfigMap and Secret that the pod's variables are of."""
    found: set[tuple[ConfigKind, str]] = set()
    for container in containers_of(pod):
        for source in container.get("envFrom") or ():
            found |= {(kind, ref["name"]) for kind, ref in _references(source, "Ref")}
        for variable in container.get("env") or ():
            found |= {(kind, ref["name"]) for kind, ref in _references(variable.get("valueFrom"), "KeyRef")}
    return found


def uses_in_files(pod: Object) -> set[tuple[ConfigKind, str]]:
    """Every ConfigMap and Secret that the files of the pod's volumes are of."""
    held = pod["spec"].get("volumes") or ()
    return {(kind, name) for volume in held for kind, name, _, _ in _volume_sources(volume)}


def volumes(pod: Object, find: Find, *, lenient: bool = False) -> Volumes:
    """The files of the pod's volumes that are of ConfigMaps and Secrets. Raises Unavailable, unless `lenient`."""
    return {volume["name"]: _files_of(volume, find, lenient) for volume in pod["spec"].get("volumes") or ()}


def start(
    pod: Object, container: Object, mounted: Volumes, find: Find, *, lenient: bool = False
) -> ContainerContent:
    """What a container is given when it starts now. Raises Unavailable where a variable's source is not there;
    `lenient` leaves such variables out."""
    env = _environment(pod, container, find, lenient)
    return ContainerContent(container["name"], env, _files(container, mounted, env))


def projected(content: Content, pod: Object, mounted: Volumes) -> Content:
    """The same containers after the kubelet has refreshed their files: those by subPath stay as they are."""
    specs = {container["name"]: container for container in containers_of(pod)}
    done = []
    for held in content.containers:
        bound = {path: given for path, given in held.files.items() if given.bound}
        fresh = _files(specs[held.name], mounted, held.env)
        files = bound | {path: given for path, given in fresh.items() if not given.bound}
        done.append(ContainerContent(held.name, held.env, files))
    return Content(content.pod, tuple(done))


def stale(content: Content, pod: Object, find: Find, digest: Callable[[bytes], str]) -> list[Finding]:
    """Where the containers run with something else than they would be given now. `digest` is for Secrets."""
    mounted = volumes(pod, find, lenient=True)
    specs = {container["name"]: container for container in containers_of(pod)}
    found = []
    for held in content.containers:
        fresh = start(pod, specs[held.name], mounted, find, lenient=True)
        for runs, now in (held.env, fresh.env), (held.files, fresh.files):
            for where in sorted(runs.keys() | now.keys()):
                before, after = runs.get(where), now.get(where)
                given = after if before is None or not before.kind else before
                # A variable that is put together of others is told of by those.
                if given is None or not given.kind or (before and after and before.value == after.value):
                    continue
                shown = [_shown(one, given.kind, digest) for one in (before, after)]
                place = (content.pod, held.name, given.means, where, given.kind, given.object, given.key)
                found.append(Finding(*place, *shown))
    return found


def _shown(given: Given | None, kind: str, digest: Callable[[bytes], str]) -> str | None:
    if given is None:
        return None
    secret = "secret" in (kind, given.kind)
    return digest(given.value) if secret else given.value.decode(errors="replace")


# --- variables ----------------------------------------------------------------------------------------


def _environment(pod: Object, container: Object, find: Find, lenient: bool) -> dict[str, Given]:
    env: dict[str, Given] = {}
    for source in container.get("envFrom") or ():
        for kind, ref in _references(source, "Ref"):
            obj = find(kind, ref["name"])
            if obj is None:
                if not lenient and not ref.get("optional"):
                    raise Unavailable(f'{kind} "{ref["name"]}" not found', [(kind, ref["name"])])
                continue
            for key, value in sorted(_data(kind, obj, text_only=True).items()):
                name = (source.get("prefix") or "") + key
                if name.isascii() and name.isprintable() and "=" not in name:
                    env[name] = Given(value, "envFrom", kind, ref["name"], key)
    for variable in container.get("env") or ():
        given = _variable(pod, variable, env, find, lenient)
        if given is not None:
            env[variable["name"]] = given
    return env


def _variable(
    pod: Object, variable: Object, env: Mapping[str, Given], find: Find, lenient: bool
) -> Given | None:
    origin = variable.get("valueFrom")
    if not origin:
        return Given(_expand(variable.get("value") or "", env))
    for kind, ref in _references(origin, "KeyRef"):
        name, key = ref["name"], ref["key"]
        obj = find(kind, name)
        value = None if obj is None else _data(kind, obj, text_only=True).get(key)
        if value is not None:
            return Given(value, "env", kind, name, key)
        if lenient or ref.get("optional"):
            return None
        namespace = pod["metadata"]["namespace"]
        missing = f'{kind} "{name}" not found'
        if obj is not None:
            missing = f"couldn't find key {key} in {_TITLES[kind]} {namespace}/{name}"
        raise Unavailable(missing, [(kind, name)])
    return Given(_field(pod, (origin.get("fieldRef") or {}).get("fieldPath") or "").encode())


def _expand(text: str, env: Mapping[str, Given]) -> bytes:
    """``$(NAME)`` is the variable that was set before, ``$$`` a dollar; what is unknown stays."""

    def known(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return "$"
        given = env.get(match.group(1))
        return match.group() if given is None else given.value.decode(errors="replace")

    return _EXPANSION.sub(known, text).encode()


def _field(pod: Object, path: str) -> str:
    """A field of the pod by the downward API, "" for one that a sandbox has no use for."""
    whole, _, quoted = path.partition("[")
    found: Any = pod
    for part in whole.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if quoted and isinstance(found, dict):
        found = found.get(quoted.rstrip("]").strip("'\""))
    return found if isinstance(found, str) else ""


# --- files --------------------------------------------------------------------------------------------


def _files_of(volume: Object, find: Find, lenient: bool) -> dict[str, Given]:
    means: Means = "projected" if volume.get("projected") else "volume"
    found: dict[str, Given] = {}
    for kind, name, items, optional in _volume_sources(volume):
        obj = find(kind, name)
        excused = lenient or optional
        if obj is None:
            if excused:
                continue
            raise Unavailable(f'{kind} "{name}" not found', [(kind, name)], volume["name"])
        data = _data(kind, obj)
        wanted = [(item["key"], item["path"]) for item in items] or [(key, key) for key in data]
        for key, path in wanted:
            if key in data:
                found[path] = Given(data[key], means, kind, name, key)
            elif not excused:
                missing = f"references non-existent {'config' if kind == 'configmap' else kind} key: {key}"
                prefix = "" if kind == "secret" else "configmap "
                raise Unavailable(prefix + missing, [(kind, name)], volume["name"])
    return found


def _files(container: Object, mounted: Volumes, env: Mapping[str, Given]) -> dict[str, Given]:
    """The files that a container sees, by their whole path."""
    found: dict[str, Given] = {}
    for mount in container.get("volumeMounts") or ():
        root = mount["mountPath"].rstrip("/")
        part = mount.get("subPath") or _expand(mount.get("subPathExpr") or "", env).decode()
        part = part.strip("/")
        for path, given in mounted.get(mount["name"], {}).items():
            if not part:
                found[f"{root}/{path}"] = given
            elif path == part or path.startswith(f"{part}/"):
                found[root + path[len(part) :]] = Given(
                    given.value, given.means, given.kind, given.object, given.key, bound=True
                )
    return found


# --- objects ------------------------------------------------------------------------------------------


def _references(source: Object | None, suffix: str) -> Iterable[tuple[ConfigKind, Object]]:
    """The ConfigMap and Secret that an envFrom or valueFrom names: its fields end with `suffix`."""
    kinds: tuple[tuple[ConfigKind, str], ...] = (("configmap", "configMap"), ("secret", "secret"))
    for kind, field in kinds:
        ref = (source or {}).get(field + suffix)
        if ref and ref.get("name"):
            yield kind, ref


def _volume_sources(volume: Object) -> Iterable[tuple[ConfigKind, str, list[Object], bool]]:
    """(kind, name, items, optional) of the ConfigMaps and Secrets that are in a volume."""
    parts = [volume, *((volume.get("projected") or {}).get("sources") or ())]
    for part in parts:
        for kind, field in (("configmap", "configMap"), ("secret", "secret")):
            source = part.get(field) or {}
            name = source.get("secretName") or source.get("name")
            if name:
                yield kind, name, source.get("items") or [], bool(source.get("optional"))  # type: ignore[misc]


def _data(kind: ConfigKind, obj: Object, *, text_only: bool = False) -> dict[str, bytes]:
    """The keys of an object and their content. Of a ConfigMap's, variables take only `data`."""
    data: dict[str, str] = obj.get("data") or {}
    if kind == "secret":
        return {key: _decoded(value) for key, value in data.items()}
    found = {key: value.encode(errors="replace") for key, value in data.items()}
    if not text_only:
        found |= {key: _decoded(value) for key, value in (obj.get("binaryData") or {}).items()}
    return found


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value)
    except (binascii.Error, ValueError):
        return b""
