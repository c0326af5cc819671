"""What a request does to objects, without HTTP: decode, default, validate, note who wrote, store.

decoded ─► defaults ─► validation ─► ownership ─► storage
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from reroll.sandbox import defaults, schema
from reroll.sandbox.kinds import JOB, NAMESPACE, POD, SERVICE_ACCOUNT
from reroll.sandbox.lists import Query, Selection, listed
from reroll.sandbox.ownership import KUBECTL, LAST_APPLIED, Writer, applied, updated
from reroll.sandbox.patches import PatchError, TestFailed, json_patch, merge_patch, strategic_merge_patch
from reroll.sandbox.problems import Cause, Invalid, Refused
from reroll.sandbox.served import Catalog, Served
from reroll.sandbox.storage import Conflict, NotFound, Object, Propagation, Storage, copied
from reroll.sandbox.validation import check

Json: TypeAlias = dict[str, Any]
PatchType: TypeAlias = Literal["json", "merge", "strategic", "apply"]

_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST_PREFIX: Final = 58
_UNCONDITIONAL_NOT: Final = ("Lease", "CustomResourceDefinition")
_CREATED_BY_PUT: Final = ("Lease", "Event")


class Write(Struct):
    """How a write is to be done, and what the writer is to be told."""

    manager: str = "unknown"
    dry_run: bool = False
    validation: str = "Warn"
    """What becomes of unknown fields: Strict refuses, Warn tells, Ignore says nothing."""
    force: bool = False
    warnings: list[str] = []


class Registry:
    """The verbs, on one storage. Raises StorageError, whose subclasses say what the Status will be."""

    def __init__(self, storage: Storage, catalog: Catalog) -> None:
        self.storage = storage
        self.catalog = catalog

    # --- reading -------------------------------------------------------------------------------------

    def get(self, served: Served, namespace: str, name: str) -> Object:
        """One object as it is served."""
        return served.shown(self.storage.get(served.kind, namespace, name))

    def page(self, served: Served, namespace: str, query: Query) -> Json:
        """A page of a collection. Items of built-in kinds do not say what they are, for the list says it."""
        return listed(self.storage, served, Selection.parse(served, namespace, query), query)

    # --- create --------------------------------------------------------------------------------------

    def create(self, served: Served, namespace: str, body: Any, write: Write) -> Object:
        """A new object."""
        obj = self._decoded(served, body, write)
        meta = obj["metadata"]
        self._place(served, namespace, meta)
        if not meta.get("name") and meta.get("generateName"):
            suffix = "".join(secrets.choice(_SUFFIX) for _ in range(5))
            meta["name"] = meta["generateName"][:_LONGEST_PREFIX] + suffix
        meta.pop("managedFields", None)
        return self._store_new(served, obj, lambda new: self._updated(served, None, new, write), write)

    def _store_new(
        self, served: Served, obj: Object, managed: Callable[[Object], list[Json]], write: Write
    ) -> Object:
        kind, meta = served.kind, obj["metadata"]
        if kind.namespaced:
            self._check_namespace(meta["namespace"], f'{kind.plural} "{meta.get("name", "")}"')
        new = served.stored(obj)
        uid = _uid()
        defaults.fill(kind, new)
        check(kind, new, None)
        # Nobody owns what the server itself adds.
        entries = managed(served.shown(new))
        defaults.begin(kind, new, uid)
        new["metadata"]["managedFields"] = entries
        return served.shown(self.storage.create(kind, new, uid=uid, dry_run=write.dry_run, copy=False))

    def _place(self, served: Served, namespace: str, meta: Json) -> None:
        """Put an object into the namespace of the request."""
        if not served.kind.namespaced:
            meta.pop("namespace", None)
        elif meta.setdefault("namespace", namespace) != namespace:
            raise Refused(
                "BadRequest",
                "the namespace of the provided object does not match the namespace sent on the request",
            )

    def _check_namespace(self, namespace: str, what: str) -> None:
        space = self.storage.get(NAMESPACE, "", namespace)
        if space["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            causes = [
                {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated"}
            ]
            raise Refused("Forbidden", f"{what} is forbidden: {why}", {"causes": causes})

    # --- update --------------------------------------------------------------------------------------

    def update(
        self, served: Served, namespace: str, name: str, body: Any, write: Write, subresource: str = ""
    ) -> tuple[Object, bool]:
        """(the object after a PUT, whether it was created by it)."""
        obj = self._decoded(served, body, write)
        meta = obj["metadata"]
        self._check_address(namespace, name, meta)
        self._place(served, namespace, meta)
        before = self.storage.find(served.kind, namespace, name)
        if before is None and served.kind.kind in _CREATED_BY_PUT and not subresource:
            meta.pop("managedFields", None)
            made = self._store_new(served, obj, lambda new: self._updated(served, None, new, write), write)
            return made, True
        if before is None:
            raise NotFound(served.kind, name)
        unconditional = served.built_in and served.kind.kind not in _UNCONDITIONAL_NOT
        if not unconditional and not meta.get("resourceVersion"):
            detail = "must be specified for an update"
            raise Invalid(served.kind, name, [Cause("metadata.resourceVersion", "Invalid", detail, 0)])
        return self._replace(served, before, obj, write, subresource), False

    def _check_address(self, namespace: str, name: str, meta: Json) -> None:
        """An object is at the address that it names."""
        if not meta.get("name"):
            why = "name must be provided"
            message = f"the name of the object ({name} based on URL) was undeterminable: {why}"
            raise Refused("BadRequest", message)
        if meta["name"] != name:
            message = f"the name of the object ({meta['name']}) does not match the name on the URL ({name})"
            raise Refused("BadRequest", message)
        if meta.get("namespace", namespace) != namespace:
            raise Refused(
                "BadRequest",
                f"the namespace of the object ({meta['namespace']}) does not match the namespace on the request "
                f"({namespace})",
            )

    def _replace(
        self,
        served: Served,
        before: Object,
        obj: Object,
        write: Write,
        subresource: str,
        managed: Callable[[Object], list[Json]] | None = None,
        *,
        patched: bool = False,
    ) -> Object:
        """Store a changed object. `obj` and the answer as served, `before` as stored."""
        kind = served.kind
        # A conflict is told before anything else: what the writer saw is not what there is.
        _check_versions(served, before, obj, patched=patched)
        new = served.stored(obj)
        if subresource != "status":
            if "spec" not in new or new["spec"] is not before.get("spec"):
                defaults.fill(kind, new)
            if kind.status:
                new = {**new, **({"status": before["status"]} if "status" in before else {})}
                if "status" not in before:
                    new.pop("status", None)
            defaults.advance(kind, new, before)
            check(kind, new, before)
        shown = served.shown(new)
        if managed is None:
            entries = self._updated(served, served.shown(before), shown, write, subresource)
        else:
            entries = managed(shown)
        new["metadata"] = new["metadata"] | {"managedFields": entries}
        subresource = "status" if subresource == "status" else ""
        stored = self.storage.update(kind, new, subresource=subresource, dry_run=write.dry_run, copy=False)
        return served.shown(stored)

    def _updated(
        self, served: Served, old: Object | None, new: Object, write: Write, subresource: str = ""
    ) -> list[Json]:
        writer = self._writer(served, write, "Update", subresource)
        return updated(old, new, served.type, writer, has_status=served.kind.status)

    def _writer(self, served: Served, write: Write, operation: str, subresource: str) -> Writer:
        return Writer(write.manager, operation, served.api_version, self.storage.timestamp(), subresource)

    # --- patch ---------------------------------------------------------------------------------------

    def patch(
        self,
        served: Served,
        namespace: str,
        name: str,
        type: PatchType,
        body: Any,
        write: Write,
        subresource: str = "",
    ) -> tuple[Object, bool]:
        """(the object after a patch, whether it was created by it: apply does)."""
        if type == "apply":
            return self._apply(served, namespace, name, body, write, subresource)
        if type == "strategic" and not served.built_in:
            raise Refused("UnsupportedMediaType", _MEDIA_TYPES_CUSTOM)
        before = self.storage.get(served.kind, namespace, name)
        shown = served.shown(before)
        patched = patched_by(type, shown, body, served.type)
        obj = self._read_patched(served, patched, write, shown)
        if (obj.get("apiVersion"), obj.get("kind")) != (served.api_version, served.kind.kind):
            raise _bad_patch("it makes another kind of the object")
        self._check_address(namespace, name, obj["metadata"])
        return self._replace(served, before, obj, write, subresource, patched=True), False

    def _read_patched(self, served: Served, patched: Any, write: Write, before: Object) -> Object:
        unknown: list[str] = []
        try:
            obj: Object = schema.read(patched, served.type, unknown, known=before)
        except Refused as error:
            raise _bad_patch(str(error)) from None
        if unknown and write.validation == "Strict":
            raise _bad_patch(f"strict decoding error: {_unknown(unknown)}")
        if write.validation == "Warn":
            write.warnings.extend(f'unknown field "{field}"' for field in unknown)
        return obj

    def _apply(
        self, served: Served, namespace: str, name: str, body: Any, write: Write, subresource: str
    ) -> tuple[Object, bool]:
        if not isinstance(body, dict):
            raise Refused("BadRequest", "error decoding YAML: an object is wanted")
        if not body.get("apiVersion") or not body.get("kind"):
            raise Refused(
                "BadRequest", "Object 'Kind' is missing: an applied object names its apiVersion and kind"
            )
        config = self._decoded(served, body, write, inline=False)
        meta = config.setdefault("metadata", {})
        if (body.get("metadata") or {}).get("managedFields") is not None:
            raise Refused("BadRequest", "metadata.managedFields must be nil")
        meta.setdefault("name", name)
        self._check_address(namespace, name, meta)
        self._place(served, namespace, meta)
        before = self.storage.find(served.kind, namespace, name)
        if before is None and (subresource or meta.get("uid") or meta.get("resourceVersion")):
            raise Conflict(served.kind, name) if meta.get("resourceVersion") else NotFound(served.kind, name)
        identity = {"apiVersion": served.api_version, "kind": served.kind.kind}
        live = served.shown(before) if before else {**identity, "metadata": {}}
        result, entries = applied(
            live,
            config,
            served.type,
            self._writer(served, write, "Apply", subresource),
            force=write.force,
            has_status=served.kind.status,
        )
        obj = schema.read(copied(result), served.type, [])
        annotations = obj["metadata"].get("annotations") or {}
        if write.manager == KUBECTL and LAST_APPLIED in annotations:
            annotations[LAST_APPLIED] = msgspec.json.encode(body, order="sorted").decode() + "\n"
        if before is None:
            return self._store_new(served, obj, lambda new: entries, write), True
        return self._replace(
            served, before, obj, write, subresource, lambda new: entries, patched=True
        ), False

    # --- delete --------------------------------------------------------------------------------------

    def delete(self, served: Served, namespace: str, name: str, options: Json, write: Write) -> Json:
        """Delete one object. The answer is a Status, or the object where it has still to go."""
        kind = served.kind
        obj = self.storage.get(kind, namespace, name)
        meta = obj["metadata"]
        wanted = options.get("preconditions") or {}
        for field, key, word, what in (
            ("uid", "uid", "UID", "deleted and then recreated"),
            ("resourceVersion", "resourceVersion", "ResourceVersion", "modified"),
        ):
            if wanted.get(field) not in (None, meta[key]):
                raise Conflict(
                    kind,
                    name,
                    f"the {word} in the precondition ({wanted[field]}) does not match the {word} in record "
                    f"({meta[key]}). The object might have been {what}",
                )
        policy: Any = options.get("propagationPolicy") or (
            "Orphan" if options.get("orphanDependents") else None
        )
        if policy not in (None, "Background", "Foreground", "Orphan"):
            raise Refused(
                "Invalid",
                f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "{policy}"',
            )
        # Of a Job that says nothing of its Pods they stay, as ever (pkg/registry/batch/job/strategy.go).
        propagation: Propagation = policy or ("Orphan" if kind is JOB else "Background")
        grace = options.get("gracePeriodSeconds")
        last = self.storage.delete(
            kind,
            namespace,
            name,
            propagation=propagation,
            grace=grace if isinstance(grace, int) else None,
            dry_run=write.dry_run,
        )
        gone = self.storage.find(kind, namespace, name) is None or write.dry_run
        if not gone or kind in (POD, SERVICE_ACCOUNT, NAMESPACE):
            return served.shown(last)
        details = {"name": name, "group": served.group, "kind": kind.plural, "uid": meta["uid"]}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {key: value for key, value in details.items() if value},
        }

    def delete_all(self, served: Served, namespace: str, query: Query, options: Json, write: Write) -> Json:
        """Delete a collection, or what is selected of it. The answer is the list of what was there."""
        found = self.page(served, namespace, query)
        for obj in found["items"]:
            meta = obj["metadata"]
            if self.storage.find(served.kind, meta.get("namespace", ""), meta["name"]) is not None:
                self.delete(served, meta.get("namespace", ""), meta["name"], options, write)
        return found

    # --- decoding ------------------------------------------------------------------------------------

    def _decoded(self, served: Served, body: Any, write: Write, *, inline: bool = True) -> Object:
        """A body as an object of this kind, without unknown fields. `inline` puts in what Go always writes."""
        kind = served.kind.kind
        if not isinstance(body, dict):
            raise Refused("BadRequest", f"the object provided is unrecognized (must be of type {kind})")
        version, given = body.get("apiVersion") or served.api_version, body.get("kind") or kind
        if (version, given) != (served.api_version, kind):
            raise self._wrong_kind(served, str(version), str(given))
        unknown: list[str] = []
        source = body if inline else copied(body)
        try:
            obj: Object = schema.read(source, served.type, unknown, inline=inline)
        except Refused as error:
            message = f'{kind} in version "{served.version}" cannot be handled as a {kind}: {error}'
            raise Refused("BadRequest", message) from None
        if unknown and write.validation == "Strict":
            message = (
                f'{kind} in version "{served.version}" cannot be handled as a {kind}: strict decoding error: '
            )
            raise Refused("BadRequest", message + _unknown(unknown))
        if write.validation == "Warn":
            write.warnings.extend(f'unknown field "{field}"' for field in unknown)
        obj["apiVersion"], obj["kind"] = served.api_version, kind
        obj.setdefault("metadata", {})
        return obj

    def _wrong_kind(self, served: Served, version: str, kind: str) -> Refused:
        wanted = served.kind.kind
        if self.catalog.kind_of(version, kind) is None:
            why = f'no kind "{kind}" is registered for version "{version}"'
            short = version.rpartition("/")[2]
            return Refused(
                "BadRequest", f'{kind} in version "{short}" cannot be handled as a {wanted}: {why}'
            )
        if version != served.api_version:
            return Refused(
                "BadRequest",
                f"the API version in the data ({version}) does not match the expected API version "
                f"({served.api_version})",
            )
        short = version.rpartition("/")[2]
        return Refused("BadRequest", f'{kind} in version "{short}" cannot be handled as a {wanted}')


def patched_by(type: PatchType, document: Json, body: Any, shape: schema.Type) -> Any:
    """A document with one of the three patches applied. Raises Refused."""
    try:
        if type == "json":
            return json_patch(document, body)
        if not isinstance(body, Mapping):
            raise PatchError("Invalid JSON Patch: a merge patch is an object")
        return (
            merge_patch(document, body) if type == "merge" else strategic_merge_patch(document, body, shape)
        )
    except TestFailed:
        message = "the server rejected our request due to an error in our request"
        raise Refused("Invalid", message, {}) from None
    except PatchError as error:
        raise Refused("BadRequest", str(error)) from None


_MEDIA_TYPES_CUSTOM: Final = (
    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
    "application/merge-patch+json, application/apply-patch+yaml"
)


def _check_versions(served: Served, before: Object, obj: Object, *, patched: bool) -> None:
    """The uid and resourceVersion that an object names are conditions."""
    was, meta = before["metadata"], obj["metadata"]
    if meta.get("resourceVersion") not in (None, "", "0", was["resourceVersion"]):
        raise Conflict(served.kind, was["name"])
    if meta.get("uid") not in (None, "", was["uid"]):
        if patched:
            cause = Cause("metadata.uid", "Invalid", "field is immutable", meta["uid"])
            raise Invalid(served.kind, was["name"], [cause])
        detail = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {was['uid']}"
        raise Conflict(served.kind, was["name"], detail)


def _bad_patch(why: str) -> Refused:
    """422 for a patch whose result is no object of the kind. What it holds is not quoted: it may be a Secret."""
    cause = {"reason": "FieldValueInvalid", "message": f"Invalid value: {why}", "field": "patch"}
    return Refused("Invalid", f' "" is invalid: patch: Invalid value: {why}', {"causes": [cause]})


def _unknown(fields: list[str]) -> str:
    return ", ".join(f'unknown field "{field}"' for field in fields)


def _uid() -> str:
    text = secrets.token_hex(16)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
