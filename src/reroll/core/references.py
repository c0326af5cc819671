"""Every place where a pod template consumes a ConfigMap or Secret, and what a running pod sees of a change.

The store asks this once per change of a template (`reroll.core.observe`); `reroll.core.consumption` then puts
the answer together with the policy. What decides here is how the kubelet hands the content over:

* environment variables are resolved when a container starts, so a running one never sees a change;
* files of a mounted volume are refreshed within about 0 to 90 s (the kubelet's sync period plus its cache:
  https://kubernetes.io/docs/concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically);
* files mounted by subPath or subPathExpr are bound once, so they never change (same page; kubernetes/kubernetes#92296);
* plain init containers have ended: only a new pod runs them again;
* a volume that no container mounts is not set up at all, so it does not count;
* what the secrets-store CSI driver mounts it also rotates, in files that a process may not read again;
* pull secrets and the credentials of volume plugins are read by the kubelet or a driver, not by the
  container. They are found, so that `explain` can name them, and never roll anything.

What a pod gets by way of another object (a PersistentVolume's or a ServiceAccount's Secrets) is not in its
template and so not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias, TypeGuard

import msgspec

from reroll.core.places import PLUGINS
from reroll.core.records import ConfigKind, Means, Reference, Sees
from reroll.core.selector import NAME
from reroll.core.template import (
    Container,
    KeyToPath,
    PluginSource,
    PodSpec,
    PodTemplate,
    Volume,
    VolumeMount,
)

ROOT_CA: Final = "kube-root-ca.crt"
"""The ConfigMap with the API server's certificate that the control plane publishes into each namespace and
every pod mounts with its token: never what a workload is configured with."""

SECRETS_STORE: Final = "secrets-store.csi.k8s.io"
"""The driver that mounts what a SecretProviderClass names (https://secrets-store-csi-driver.sigs.k8s.io)."""

_CONFIGMAP: Final[ConfigKind] = "configmap"
_SECRET: Final[ConfigKind] = "secret"

_FIELDS: Final = {field.encode_name: field.name for field in msgspec.structs.fields(Volume)}
_PLUGINS: Final = tuple((_FIELDS[plugin], plugin) for plugin in PLUGINS)
"""The volume plugins with a secretRef: their fields in `Volume` and in the API."""


class _Mount(NamedTuple):
    """What a container sees of a volume that it mounts."""

    path: tuple[str, ...]
    """The part of the volume that is mounted, as `_segments` has it; () is all of it."""
    bound: bool
    """By subPath or subPathExpr."""
    sees: Sees


class _Source(NamedTuple):
    """One config object in a volume."""

    kind: ConfigKind
    means: Means
    name: str
    items: Sequence[KeyToPath] | None
    optional: bool


_Keys: TypeAlias = tuple[str, ...] | None
_Mounted: TypeAlias = tuple[str, bool, str, VolumeMount]
"""Which container mounts a volume: for people, whether it has ended, its name if it is a regular one; and how."""
_Places: TypeAlias = dict[_Mount, list[tuple[str, str]]]
"""How a volume is mounted, and by which containers: where for people, and the name of a regular one."""

_WHOLE: Final = _Mount((), False, "later")
_ENDED: Final = _Mount((), False, "never")
"""The same by a plain init container."""


def references(template: PodTemplate) -> tuple[Reference, ...]:
    """The references of a pod template, each once.

    Their order is that of the template: the environments of containers, init containers and ephemeral
    containers, then the volumes, then what does not roll. Mounts of one volume that differ in nothing but the
    place are one reference, whose `where` names each. Names that no object can have are skipped: such
    a pod can't start, and the API server says so.
    """
    spec = template.spec
    found: list[Reference] = []
    idle: list[Reference] = []
    mounts: dict[str, list[_Mounted]] = {}
    for place, ended, carrier, container in _containers(spec):
        if container.env or container.env_from:
            found += _environment(place, carrier, container)
        for mount in container.volume_mounts or ():
            if mount.name:
                mounts.setdefault(mount.name, []).append((place, ended, carrier, mount))
    for volume in spec.volumes or ():
        mounted = mounts.get(volume.name or "")
        if mounted is None:
            continue
        sources = _sources(volume)
        if sources:
            places = _places(mounted)
            for source in sources:
                found += _mounted(source, places)
        if volume.csi is not None or not sources:
            idle += _credentials(volume)
    for pull in spec.image_pull_secrets or ():
        if pull is not None and _usable(pull.name, "secret"):
            idle.append(_idle(pull.name, "imagePullSecret", "imagePullSecrets", "never"))
    return tuple(dict.fromkeys(found + idle))


def merge(refs: Iterable[Reference]) -> tuple[str, ...] | None:
    """The keys that the references read together, sorted; None: every key."""
    keys: set[str] = set()
    for ref in refs:
        if ref.keys is None:
            return None
        keys.update(ref.keys)
    return tuple(sorted(keys))


def _containers(spec: PodSpec) -> Iterator[tuple[str, bool, str, Container]]:
    """(place, ended, name if it is a regular one, container) of every container of any sort."""
    for container in spec.containers or ():
        yield f"container {container.name or '?'}", False, container.name or "", container
    for container in spec.init_containers or ():
        if container.restart_policy == "Always":
            yield f"sidecar container {container.name or '?'}", False, "", container
        else:
            yield f"init container {container.name or '?'}", True, "", container
    for container in spec.ephemeral_containers or ():
        yield f"ephemeral container {container.name or '?'}", False, "", container


def _usable(name: str | None, kind: ConfigKind) -> TypeGuard[str]:
    """True if an object that counts can have this name."""
    return bool(name) and _valid(name) and (name != ROOT_CA or kind != "configmap")


@lru_cache(maxsize=8192)
def _valid(name: str) -> bool:
    return NAME.fullmatch(name) is not None


def _environment(place: str, carrier: str, container: Container) -> Iterator[Reference]:
    for variable in container.env or ():
        if (origin := variable.value_from) is None:
            continue
        for kind, one in (_CONFIGMAP, origin.config_map_key_ref), (_SECRET, origin.secret_key_ref):
            if one is not None and one.key and _usable(one.name, kind):
                where = f"{place}: env {variable.name or '?'}"
                yield Reference(
                    kind, one.name, "env", where, (one.key,), one.optional is True, container=carrier
                )
    for imported in container.env_from or ():
        for kind, whole in (_CONFIGMAP, imported.config_map_ref), (_SECRET, imported.secret_ref):
            if whole is not None and _usable(whole.name, kind):
                prefix = f" (prefix {imported.prefix})" if imported.prefix else ""
                where = f"{place}: envFrom{prefix}"
                yield Reference(
                    kind, whole.name, "envFrom", where, None, whole.optional is True, container=carrier
                )


def _sources(volume: Volume) -> list[_Source]:
    """The config objects whose keys are files of this volume. Those that don't count are left out."""
    found: list[_Source] = []
    if (direct := volume.config_map) is not None and _usable(direct.name, "configmap"):
        found.append(_Source("configmap", "volume", direct.name, direct.items, direct.optional is True))
    if (named := volume.secret) is not None and _usable(named.secret_name, "secret"):
        found.append(_Source("secret", "volume", named.secret_name, named.items, named.optional is True))
    if (csi := volume.csi) is not None and csi.driver == SECRETS_STORE:
        provider = (csi.volume_attributes or {}).get("secretProviderClass")
        if provider is not None and _usable(provider, "secretproviderclass"):
            found.append(_Source("secretproviderclass", "csi", provider, None, False))
    if volume.projected is not None:
        for projection in filter(None, volume.projected.sources or ()):
            for kind, one in (_CONFIGMAP, projection.config_map), (_SECRET, projection.secret):
                if one is not None and _usable(one.name, kind):
                    found.append(_Source(kind, "projected", one.name, one.items, one.optional is True))
    return found


def _places(mounted: Sequence[_Mounted]) -> _Places:
    """The mounts of one volume, those of the same part together."""
    places: _Places = {}
    for place, ended, carrier, mount in mounted:
        where = f"{place}: volume {mount.name} at {mount.mount_path or '?'}"
        if mount.sub_path:
            path = _segments(mount.sub_path)
            where += f" (subPath {mount.sub_path})"
        elif mount.sub_path_expr:
            # With a variable in it, each pod may mount another file: any of them counts.
            path = () if "$(" in mount.sub_path_expr else _segments(mount.sub_path_expr)
            where += f" (subPathExpr {mount.sub_path_expr})"
        else:
            places.setdefault(_ENDED if ended else _WHOLE, []).append((where, carrier))
            continue
        places.setdefault(_Mount(path, True, "never"), []).append((where, carrier))
    return places


def _mounted(source: _Source, places: _Places) -> Iterator[Reference]:
    """What the containers that mount a volume read of one of its sources."""
    paths: list[tuple[tuple[str, ...], str]] | None = None
    if source.items:
        paths = [(_segments(item.path), item.key) for item in source.items if item.key and item.path]
    merged: dict[tuple[_Keys, bool, Sees], list[tuple[str, str]]] = {}
    for mount, found in places.items():
        keys = _keys(paths, mount.path)
        if keys != ():  # else nothing of this source is in the part that is mounted
            merged.setdefault((keys, mount.bound, mount.sees), []).extend(found)
    for (keys, bound, sees), found in merged.items():
        where = ", ".join(place for place, _ in found)
        carrier = next((carrier for _, carrier in found if carrier), "")
        yield Reference(
            source.kind,
            source.name,
            source.means,
            where,
            keys,
            source.optional,
            bound,
            sees,
            container=carrier,
        )


def _segments(path: str) -> tuple[str, ...]:
    """A path inside a volume, such as ``conf.d/app.yaml``, in its parts; () is the volume itself.

    ``..data`` is the link that the kubelet keeps to the current files: what is below it is below the volume.
    """
    parts = tuple([part for part in path.split("/") if part not in ("", ".")])
    return parts[1:] if parts and parts[0] == "..data" else parts


def _keys(paths: Sequence[tuple[tuple[str, ...], str]] | None, mounted: tuple[str, ...]) -> _Keys:
    """The keys whose files are at or below the path `mounted`, sorted; None: every key; (): none.

    `paths` are the files by `items`, None where there are no items and each key is a file of the same name.
    """
    if paths is None:
        return mounted[:1] or None
    # A path that goes on below a file is that file's matter too: the pod can't start as long as it is there.
    reached = {key for path, key in paths if path[: len(mounted)] == mounted or mounted[: len(path)] == path}
    return tuple(sorted(reached))


def _credentials(volume: Volume) -> Iterator[Reference]:
    """The Secrets with which a volume is mounted."""
    name = volume.name
    if volume.csi is not None:
        secret = volume.csi.node_publish_secret_ref
        if secret is not None and _usable(secret.name, "secret"):
            # Only drivers with requiresRepublish in their CSIDriver are handed it again.
            yield _idle(secret.name, "csi", f"volume {name}: csi nodePublishSecretRef", "unknown")
    if volume.azure_file is not None and _usable(volume.azure_file.secret_name, "secret"):
        where = f"volume {name}: azureFile secretName"
        yield _idle(volume.azure_file.secret_name, "volumePlugin", where, "never")
    for attribute, plugin in _PLUGINS:
        source: PluginSource | None = getattr(volume, attribute)
        if source is not None and source.secret_ref is not None and _usable(source.secret_ref.name, "secret"):
            where = f"volume {name}: {plugin} secretRef"
            yield _idle(source.secret_ref.name, "volumePlugin", where, "never")


def _idle(name: str, means: Means, where: str, sees: Sees) -> Reference:
    """A Secret that a restart does not help with."""
    return Reference("secret", name, means, where, sees=sees, rolls=False)
