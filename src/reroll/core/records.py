"""The small immutable records that everything decides on.

Objects from the API server are turned into these as they arrive and are then dropped: no value of a
ConfigMap or Secret is in here, only digests (rule 5 of the design). They are msgspec Structs without
garbage-collector bookkeeping (``gc=False``): none of them can be part of a cycle, and a cluster's worth
of tracked objects would stop the event loop for hundreds of milliseconds at each full collection.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias, cast, get_args

from msgspec import Struct

ConfigKind: TypeAlias = Literal["configmap", "secret", "secretproviderclass"]

_CONFIG_KINDS: Final = frozenset(get_args(ConfigKind))
_NAME_LENGTH: Final = 253
"""Characters of the longest name that an object can have (RFC 1123 subdomain)."""

Means: TypeAlias = Literal[
    "env",  # env[].valueFrom.configMapKeyRef / secretKeyRef
    "envFrom",  # envFrom[].configMapRef / secretRef
    "volume",  # volumes[].configMap / secret, mounted by some container
    "projected",  # volumes[].projected.sources[].configMap / secret, mounted by some container
    "imagePullSecret",  # imagePullSecrets[]: read at the next pull only
    "csi",  # volumes[].csi: a SecretProviderClass, or nodePublishSecretRef, which the driver reads at mount
    "volumePlugin",  # flexVolume, iscsi, cinder, azureFile, cephfs, rbd, ...: read at mount
    "named",  # not in the pod template: named by an annotation of the workload (`reroll.dev/follow`)
]

Sees: TypeAlias = Literal[
    "never",  # environment variables, subPath and subPathExpr mounts: only a new container sees it
    "later",  # mounted files: the kubelet refreshes them within about 0 to 90 s; the process may not re-read
    "unknown",  # the pod template does not tell
]


class ConfigId(NamedTuple):
    """Which ConfigMap or Secret, or which SecretProviderClass as seen through its SecretProviderClassPodStatuses."""

    kind: ConfigKind
    namespace: str
    name: str

    def short(self, home: str) -> str:
        """The name used in annotations and messages: ``configmap/NAME``, or ``configmap/NS/NAME`` if it
        lives in another namespace than `home`, the workload's own."""
        return (
            f"{self.kind}/{self.name}"
            if self.namespace == home
            else f"{self.kind}/{self.namespace}/{self.name}"
        )

    @classmethod
    def read(cls, short: str, home: str) -> ConfigId:
        """What `short` made, for a workload in the namespace `home`. Raises ValueError, in words, for all else."""
        kind, *names = short.split("/")
        if kind not in _CONFIG_KINDS or len(names) not in (1, 2) or not all(map(_can_be_named, names)):
            raise ValueError(
                f"{short[:80]!r} is not KIND/NAME or KIND/NAMESPACE/NAME of a kind that reroll knows"
            )
        return cls(cast(ConfigKind, kind), home if len(names) == 1 else names[0], names[-1])

    @property
    def can_exist(self) -> bool:
        """False where the API server takes no object of such a name, though a pod template may refer to it."""
        return _can_be_named(self.name)

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


def _can_be_named(name: str) -> bool:
    return 0 < len(name) <= _NAME_LENGTH and "/" not in name and name.isprintable()


class WorkloadId(NamedTuple):
    """Which workload. `kind` is a `WorkloadKind.id` of `reroll.core.kinds`, such as ``Deployment``."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.namespace}/{self.name}"


class Reference(Struct, frozen=True, gc=False):
    """One place where a pod template consumes a ConfigMap or Secret of the workload's own namespace."""

    kind: ConfigKind
    name: str
    means: Means
    where: str
    """For people, such as ``container web: env DB_HOST`` or ``container web: volume conf at /etc/app``."""
    keys: tuple[str, ...] | None = None
    """The keys it reads, sorted; None: every key."""
    optional: bool = False
    sub_path: bool = False
    sees: Sees = "never"
    """Whether a running container can see a change."""
    rolls: bool = True
    """False where a restart does not help (imagePullSecrets and the like): found, explained, never acted on."""
    container: str = ""
    """The first regular container that consumes it here; "" where only others do."""
    copy: str = ""
    """The immutable version that the template names in place of `name` (`core.pointing`); "": none."""


class Change(Struct, frozen=True, gc=False):
    """When something last changed, as far as this process can tell."""

    stamp: float = 0.0
    """The server's time of it, from managedFields: seconds since the epoch, whole; 0 where unknown."""
    arrived: float = 0.0
    """This process's time when a watch delivered it as it happened; 0: it was found in a list."""
    version: int = 0
    """The resourceVersion it arrived with; of what a list found, that of its object then: no earlier than the
    change. 0 where not a number."""
    by: str = ""
    """Who made it, a field manager or the name of a tool, where that is known (pod templates only)."""
    willed: bool = False
    """A person decided on it, and it stands: see `reroll.core.authors`."""

    @property
    def live(self) -> bool:
        """Seen as it happened."""
        return self.arrived > 0


class ConfigRecord(Struct, frozen=True, gc=False):
    """What is kept of one ConfigMap or Secret: the digest of each key, and what decides who follows it."""

    keys: tuple[str, ...]
    """Sorted names of its keys; the same tuple object is shared by all objects with the same keys."""
    digests: bytes
    """The digests of `keys`, in their order, `reroll.core.digests.SIZE` bytes each."""
    stamp: float = 0.0
    arrived: float = 0.0
    version: int = 0
    """The last change of its content: see `Change`, whose fields are kept here flat to save memory."""
    ignored: bool = False
    """`reroll.dev/ignore: "true"` (or Reloader's): nothing follows it."""
    matchable: bool = False
    """`reroll.dev/match: "true"` (or Reloader's): workloads with `search` follow it."""
    shared_with: str = ""
    """`reroll.dev/share-with`: namespaces (globs, comma-separated) whose workloads may follow it."""
    read_at_start: bool = False
    """Every pod has what it has mounted since its start, so none has to be rolled (SecretProviderClass only)."""
    mounted: tuple[tuple[tuple[str, ...], bytes], ...] = ()
    """Further contents, (keys, digests), that pods have mounted at their start, and later than this one
    (SecretProviderClass only; see `reroll.core.mounts`)."""
    immutable: bool = False
    """The API server lets nobody change its content: it is its own version."""
    suffix: str = ""
    """Of the name of the version with this content (ConfigMap only, see `core.versioned.suffix_of`); "": not known."""
    rewritten: bool = False
    """This is not its first content, and a pod may have started with an earlier one: see `first_content`."""

    @property
    def change(self) -> Change:
        return Change(self.stamp, self.arrived, self.version)


class Missing(Struct, frozen=True, gc=False):
    """The object does not exist; the store of its kind and namespace is complete."""

    arrived: float = 0.0
    """When a watch told of its deletion; 0: it was not seen to go."""


class Unknown(Struct, frozen=True, gc=False):
    """What is in the object, or whether it exists at all, can't be told: its kind may not be read in that
    namespace, or its turn has not come."""

    reason: str = "not readable"
    reading: bool = False
    """It exists, for a list named it, and its content is on its way."""


ConfigState: TypeAlias = ConfigRecord | Missing | Unknown

AppliedKeys: TypeAlias = "dict[str, str] | str | None"
"""What `applied` holds of one config object: key -> digest; or one digest over all where there are many
keys; or None: it did not exist."""


class Applied(Struct, frozen=True, gc=False):
    """The annotation `reroll.dev/applied` of a workload: what its pods were last rolled for (or adopted with).

    Where `since` is set, the record is a promise: pods that were created before that time run older configuration,
    unless the rollout that began with this record has replaced them. Where it is 0, nothing is owed.
    """

    template: str
    """Hash of the pod template without reroll's own marks."""
    key_id: str
    """Which digest key made the digests of Secrets; another key's can't be compared."""
    configs: dict[str, AppliedKeys]
    """By `ConfigId.short`."""
    mark: str | None = None
    """The mark on the pod template as this was written ("": none); None: it does not matter."""
    since: int = 0
    """Seconds since the epoch, by the server's clock: the last change of configuration that this is for."""
    at: int = 0
    """When this was decided, in seconds since the epoch."""
    again: int = 0
    """How often the mark was written again because another client had taken it away."""
    left: int = 0
    """Pods that were seen to run older configuration, and that reroll leaves as they are."""
    of: int = 0
    """How many pods there were then."""
    by: str = ""
    """Because of whom."""
    versions: dict[str, str] = {}
    """By `ConfigId.short`: the immutable copy with the content that is recorded (mode `version`)."""

    def same(self, other: Applied | None) -> bool:
        """Is the same configuration recorded, of the same template?"""
        return (
            other is not None
            and self.template == other.template
            and self.key_id == other.key_id
            and self.configs == other.configs
        )

    def decided(self, now: float) -> int:
        """`at`; 0, not known, where it lies more than a day after `now`: no clock of a controller is so wrong, and
        whoever wrote that must not make it wait until then."""
        return self.at if self.at <= now + _FUTURE else 0


LATEST: Final = 253_402_300_800
"""The latest time that a record holds, in seconds since the epoch: the year 9999. No timestamp of the API is later."""

_FUTURE: Final = 86400.0


Revision: TypeAlias = "tuple[str, str | None]"
"""One revision of a pod template: its hash without marks, and its mark."""

Origin: TypeAlias = Literal["new", "returned", "unseen"]
"""How the pods of a template's revision came to be. new: all of them start after the template's change. returned: the
template went back to a revision that may still have pods, which go on. unseen: it is not known."""


class WorkloadRecord(Struct, frozen=True, gc=False):
    """What is kept of one workload."""

    id: WorkloadId
    uid: str
    resource_version: str
    generation: int
    annotations: dict[str, str]
    """Those that can hold policy: the workload's own whose key belongs to a dialect; never all of them."""
    template_annotations: dict[str, str]
    """The same, of its pod template."""
    references: tuple[Reference, ...]
    template_hash: str
    mark: str | None
    """`reroll.dev/config` on the pod template."""
    applied: Applied | None
    unsaved: bool = False
    """`applied` is known to this process but is not on the object: an adoption that was not written yet, or
    an annotation that somebody removed."""
    applied_problem: str = ""
    """Why the annotation `reroll.dev/applied` could not be read, where it is there and could not."""
    template_change: Change = Change()
    """When somebody else than reroll last changed the pod template."""
    revisions: tuple[Revision, ...] | None = None
    """The revisions that its pods can be of, the present one last; None: not known."""
    origin: Origin = "unseen"
    """How the pods of the present revision came to be."""
    complete_at: int = 0
    """The resourceVersion with which the last rollout was seen to be complete; 0: it was not seen."""
    mixed: frozenset[str] = frozenset()
    """What it consumes (`ConfigId.short`) that had other content than is recorded while its pods were being replaced:
    those that started then have read that."""
    started_with: Applied | None = None
    """What its pods read, where somebody else had them started after `applied` was written, and this process saw
    it happen (`core.started`); None: what is applied."""
    replicas: int | None = None
    """spec.replicas; None where the kind has none (DaemonSet)."""
    paused: bool = False
    on_delete: bool = False
    """updateStrategy OnDelete: pods follow only when they are deleted."""
    partition: int = 0
    """Of a StatefulSet (updateStrategy.rollingUpdate.partition): pods of lower ordinals keep the older revision."""
    deleting: bool = False
    suspended: bool = False
    """spec.suspend of a CronJob: it is to start nothing."""
    finished: bool = False
    """A Job that is complete or has failed: it has no pods that run."""
    owned: bool = False
    """Another object controls it (the Job of a CronJob)."""
    carrier: str = ""
    """Its first regular container, which carries marks that are for none in particular; "" if it has none."""
    template_of: WorkloadId | None = None
    """The workload that its pod template is of, where it has none of its own (Argo Rollout, spec.workloadRef);
    `template_hash` is "" where that one is not known."""
    stands_in_for: str = ""
    """The name of the Job that this one stands in for while that is created again."""
    restarting: tuple[str, ...] = ()
    """The beginnings of the uids of those pods that are still to be evicted (mode `restart`)."""

    @property
    def revision(self) -> Revision:
        """The present revision of its pod template."""
        return self.template_hash, self.mark


class Consumed(Struct, frozen=True, gc=False):
    """One config object that a workload follows: all its references to it, merged under its policy."""

    config: ConfigId
    keys: tuple[str, ...] | None
    """The keys that count, sorted; None: every key."""
    references: tuple[Reference, ...]
    needs_match: bool = False
    """Followed only while the object carries `match` (the workload has `search`)."""
    except_keys: tuple[str, ...] = ()
    """Where `keys` is None: the keys that do not count all the same, sorted (`reroll.dev/ignore: NAME#key`)."""

    @property
    def optional(self) -> bool:
        """True if a pod starts without it. An object that only an annotation names is never needed to start."""
        return all(ref.optional or ref.means == "named" for ref in self.references)
