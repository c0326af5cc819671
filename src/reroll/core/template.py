"""A pod template as far as references can be in it, and the hash that tells whether somebody changed it.

The structs name only the fields through which a pod can take a ConfigMap or Secret, so a template's JSON is
decoded straight into them and the rest of it is skipped. The list of places is that of Kubernetes' own
``VisitPodSecretNames`` and ``VisitPodConfigmapNames`` (pkg/api/v1/pod/util.go); `reroll.core.references` reads
them.

Everything is optional and may be null, as in Go's decoder: a template that a custom controller made must not
stop anybody. Lists are None where they are absent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, field

from reroll.core.marks import NATIVE
from reroll.core.pointing import to_sources


class ObjectRef(Struct, gc=False):
    """A ConfigMap or Secret of the pod's namespace by name: envFrom sources, secretRef, imagePullSecrets."""

    name: str | None = None
    optional: bool | None = None


class KeyRef(Struct, gc=False):
    """configMapKeyRef or secretKeyRef: one key."""

    name: str | None = None
    key: str | None = None
    optional: bool | None = None


class EnvVarSource(Struct, gc=False, rename="camel"):
    """env[].valueFrom."""

    config_map_key_ref: KeyRef | None = None
    secret_key_ref: KeyRef | None = None


class EnvVar(Struct, gc=False, rename="camel"):
    """One entry of env; its plain value is not read."""

    name: str | None = None
    value_from: EnvVarSource | None = None


class EnvFromSource(Struct, gc=False, rename="camel"):
    """One entry of envFrom."""

    prefix: str | None = None
    config_map_ref: ObjectRef | None = None
    secret_ref: ObjectRef | None = None


class VolumeMount(Struct, gc=False, rename="camel"):
    """Where a container mounts which volume."""

    name: str | None = None
    mount_path: str | None = None
    sub_path: str | None = None
    sub_path_expr: str | None = None


class Container(Struct, gc=False, rename="camel"):
    """A container of any sort. In initContainers, `restart_policy` ``Always`` makes it a native sidecar (KEP-753)."""

    name: str | None = None
    restart_policy: str | None = None
    env: list[EnvVar] | None = None
    env_from: list[EnvFromSource] | None = None
    volume_mounts: list[VolumeMount] | None = None


class KeyToPath(Struct, gc=False):
    """One entry of `items`: the key, and the file it becomes, relative to the volume."""

    key: str | None = None
    path: str | None = None


class ConfigSource(Struct, gc=False):
    """A configMap volume, and either source of a projected volume."""

    name: str | None = None
    items: list[KeyToPath] | None = None
    optional: bool | None = None


class SecretSource(Struct, gc=False, rename="camel"):
    """A secret volume, which calls its object secretName where a projected source says name."""

    secret_name: str | None = None
    items: list[KeyToPath] | None = None
    optional: bool | None = None


class Projection(Struct, gc=False, rename="camel"):
    """One source of a projected volume. Tokens, trust bundles and downwardAPI are no config objects."""

    config_map: ConfigSource | None = None
    secret: ConfigSource | None = None


class ProjectedSource(Struct, gc=False):
    sources: list[Projection | None] | None = None
    """Here and in `image_pull_secrets` the API server takes a null, as an entry without anything in it."""


class CsiSource(Struct, gc=False, rename="camel"):
    """An inline CSI volume: its driver is handed this Secret when it publishes the volume. What the secrets-store
    driver mounts is told by a SecretProviderClass, which an attribute names."""

    driver: str | None = None
    node_publish_secret_ref: ObjectRef | None = None
    volume_attributes: dict[str, str | None] | None = None


class PluginSource(Struct, gc=False, rename="camel"):
    """A volume of another kind: the Secret with which the kubelet mounts it."""

    secret_ref: ObjectRef | None = None


class AzureFileSource(Struct, gc=False, rename="camel"):
    """The same for azureFile, which names its Secret in a plain field."""

    secret_name: str | None = None


class Volume(Struct, gc=False, rename="camel"):
    """One entry of volumes; at most one of its sources is set."""

    name: str | None = None
    config_map: ConfigSource | None = None
    secret: SecretSource | None = None
    projected: ProjectedSource | None = None
    csi: CsiSource | None = None
    flex_volume: PluginSource | None = None
    iscsi: PluginSource | None = None
    cinder: PluginSource | None = None
    azure_file: AzureFileSource | None = None
    cephfs: PluginSource | None = None
    rbd: PluginSource | None = None
    scale_io: PluginSource | None = field(default=None, name="scaleIO")
    storageos: PluginSource | None = None


class PodSpec(Struct, gc=False, rename="camel"):
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    ephemeral_containers: list[Container] | None = None
    volumes: list[Volume] | None = None
    image_pull_secrets: list[ObjectRef | None] | None = None


class PodMeta(Struct, gc=False):
    """The template's metadata."""

    annotations_: dict[str, str] | None = field(default=None, name="annotations")

    @property
    def annotations(self) -> dict[str, str]:
        """The template's annotations; empty where there are none."""
        return self.annotations_ or {}


class PodTemplate(Struct, gc=False):
    """A pod template (``spec.template`` of a Deployment and its like). Decode its JSON into this type."""

    metadata_: PodMeta | None = field(default=None, name="metadata")
    spec_: PodSpec | None = field(default=None, name="spec")

    @property
    def metadata(self) -> PodMeta:
        """Its metadata; without annotations where it is absent."""
        return self.metadata_ or _NO_META

    @property
    def spec(self) -> PodSpec:
        """Its pod spec; without anything in it where it is absent."""
        return self.spec_ or _NO_SPEC


_NO_META: Final = PodMeta()
_NO_SPEC: Final = PodSpec()


def template_hash(template_json: bytes | Raw) -> str:
    """The hash of a pod template without reroll's own marks: 16 hexadecimal characters. See `hash_and_mark`."""
    return hash_and_mark(template_json)[0]


def hash_and_mark(
    template_json: bytes | Raw, take: Callable[[dict[str, Any]], str | None] | None = None
) -> tuple[str, str | None]:
    """The hash of a pod template without marks, 16 hexadecimal characters, and its mark.

    `take` takes the marks out and says what they were (`MarkStyle.take`); by default reroll's own.

    It covers every field, not only those above, so that it differs whenever somebody else started a rollout
    (rule 4 of the design). Versions of configuration count as their sources (`core.pointing`), so that to point it at
    another one is no change by somebody else. It is recorded on the workload and compared after upgrades of the API
    server, so it is made of decoded values and takes as equal what means the same: another order of keys, another
    way to write a number, null and absent, an empty metadata and none. (API servers before 1.34 write
    ``creationTimestamp: null`` into every template, later ones don't.)

    Raises msgspec.DecodeError where the template is not JSON.
    """
    template = _decode(template_json)
    mark = None
    if isinstance(template, dict):
        to_sources(template)
        mark = (take or NATIVE.take)(template)
    canonical = _encode(template)
    if b":null" in canonical or b'"metadata":{}' in canonical:
        canonical = _encode(_pruned(template))
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()[:16], mark


def _pruned(value: Any) -> Any:
    """The value without what means the same as nothing: fields that are null, and empty metadata."""
    if isinstance(value, dict):
        fields = {key: _pruned(held) for key, held in value.items() if held is not None}
        if fields.get("metadata") == {}:
            del fields["metadata"]
        return fields
    if isinstance(value, list):
        return [_pruned(held) for held in value]
    return value


def _number(text: str) -> int | float:
    """A number that is not written as an integer; as an integer if it is one, for 1.0 and 1e0 are 1."""
    value = float(text)
    return int(value) if value.is_integer() else value


_decode: Final = msgspec.json.Decoder(float_hook=_number).decode
_encode: Final = msgspec.json.Encoder(order="deterministic").encode
