"""The API over HTTP: who may ask, what a path means, in which form the answer is, and how a refusal looks.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import msgspec
import yaml
from aiohttp import web
from msgspec import Struct

from reroll.sandbox import discovery, protobuf, schema
from reroll.sandbox.lists import Selection
from reroll.sandbox.problems import CODES, Cause, Invalid, OptionsInvalid, Refused, status, unknown
from reroll.sandbox.registry import PatchType, Registry, Write, patched_by
from reroll.sandbox.scale import scale_of, scaled
from reroll.sandbox.served import Served
from reroll.sandbox.storage import StorageError
from reroll.sandbox.tables import partial, table
from reroll.sandbox.watches import Watch

Json: TypeAlias = dict[str, Any]

_encode = msgspec.json.Encoder().encode
_PATCHES: Final[dict[str, PatchType]] = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
_BODIES: Final = ("application/json", "application/yaml")
_OPEN: Final = ("healthz", "livez", "readyz")
_BODY_LIMIT: Final = 3 * 1024 * 1024
_METHODS: Final = {
    "collection": ("GET", "POST", "DELETE"),
    "object": ("GET", "PUT", "PATCH", "DELETE"),
    "subresource": ("GET", "PUT", "PATCH"),
}


class _Loader(yaml.CSafeLoader):
    """YAML as the API reads it: what looks like a time is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


class Place(Struct, frozen=True):
    """What a path of the API names."""

    served: Served
    namespace: str
    name: str
    subresource: str


class Form(Struct, frozen=True):
    """The form of an answer, by the Accept header."""

    kind: str = "object"
    """object, partial (PartialObjectMetadata, or a list of them) or table."""
    media: str = "application/json"
    include: str = "Metadata"


_MOMENT: Final = 0.05
"""Seconds after a request in which another is likely to come."""


class Api:
    """Answers requests out of one registry. `bookmark` seconds lie between the bookmarks of a watch."""

    def __init__(self, registry: Registry, token: str, *, bookmark: float = 60.0) -> None:
        self.registry = registry
        self.bookmark = bookmark
        self.gone_as_http = False
        """Answer a watch from a forgotten version with HTTP 410, as some servers do, in place of an ERROR event."""
        self.pages: dict[str, Callable[[], str]] = {}
        """Text that the sandbox tells of itself, by path under /sandbox/."""
        self._token = token.encode()
        self._watches: set[asyncio.Task[Any]] = set()
        self._asked = 0.0

    def busy(self) -> bool:
        """Whether a request came in the last moment, on the clock of the event loop."""
        return asyncio.get_running_loop().time() - self._asked < _MOMENT

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any request at all."""
        self._asked = asyncio.get_running_loop().time()
        try:
            parts = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/")]
            given = request.headers.get("Authorization", "")
            # kubectl sends no token over plain HTTP, so the address that a kubeconfig names holds it as well.
            if secrets.compare_digest(parts[0].encode(), self._token):
                parts = parts[1:] or [""]
            elif parts[0] not in _OPEN and not secrets.compare_digest(
                given.encode(), b"Bearer " + self._token
            ):
                raise Refused("Unauthorized", "Unauthorized")
            return await self._answer(request, parts)
        except StorageError as error:
            return _refusal(error)

    def end_watches(self) -> None:
        """End all watches, as a server does that goes down."""
        for task in self._watches:
            task.cancel()

    async def _answer(self, request: web.BaseRequest, parts: list[str]) -> web.StreamResponse:
        if parts[0] in _OPEN:
            return web.Response(text="ok")
        if parts[0] == "sandbox" and "/".join(parts[1:]) in self.pages:
            return web.Response(text=self.pages["/".join(parts[1:])]())
        found = self._find(parts)
        if isinstance(found, Place):
            try:
                return await self._verb(request, found)
            except (TypeError, AttributeError, LookupError, RecursionError) as error:
                # An object of a shape that nobody thought of is the client's mistake, and no reason to go down.
                message = f"the sandbox can't take this object in: {type(error).__name__}"
                raise Refused("BadRequest", message) from error
        return self._about_itself(request, parts)

    # --- paths ---------------------------------------------------------------------------------------

    def _find(self, parts: Sequence[str]) -> Place | None:
        """Which object, collection or subresource a path names; None for what is no resource."""
        if parts[0] == "api" and len(parts) > 2:
            group, version, rest = "", parts[1], list(parts[2:])
        elif parts[0] == "apis" and len(parts) > 3:
            group, version, rest = parts[1], parts[2], list(parts[3:])
        else:
            return None
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        served = self.registry.catalog.find(group, version, rest[0])
        if served is None:
            return None
        name, subresource = (rest[1] if len(rest) > 1 else ""), "/".join(rest[2:])
        if served.kind.namespaced is not bool(namespace) and (name or namespace):
            raise _no_such_page()
        has = {"status": served.kind.status, "scale": served.kind.scale, "": True}
        if not has.get(subresource, False):
            raise unknown(f"{served.kind.plural}/{subresource}")
        return Place(served, namespace, name, subresource)

    def _about_itself(self, request: web.BaseRequest, parts: Sequence[str]) -> web.Response:
        """Discovery and the like."""
        catalog = self.registry.catalog
        if (parts[0], len(parts)) in (("apis", 4), ("api", 3)) and parts[-1] == "selfsubjectaccessreviews":
            return web.Response(status=201, body=_encode(_allowed(request)), content_type="application/json")
        if request.method != "GET":
            raise self._unknown_path(request, parts)
        accept = request.headers.get("Accept", "")
        if len(parts) == 1 and parts[0] in ("api", "apis") and "as=APIGroupDiscoveryList" in accept:
            version = "v2" if re.search(r"\bv=v2\b", accept) else "v2beta1"
            body = discovery.aggregated(catalog, version, core=parts[0] == "api")
            media = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
            return web.Response(body=_encode(body), headers={"Content-Type": media})
        if parts == ["openapi", "v2"] and "protobuf" in accept:
            # A document without a word, which is all that kubectl needs where the other has what it looks for.
            return web.Response(headers={"Content-Type": discovery.OPENAPI_V2_PROTOBUF})
        found: Json | None = None
        match parts:
            case ["version"]:
                found = discovery.version()
            case ["api"]:
                found = discovery.api_versions()
            case ["apis"]:
                found = discovery.api_group_list(catalog)
            case ["api", version]:
                found = discovery.resource_list(catalog, "", version)
            case ["apis", group]:
                found = discovery.api_group(catalog, group)
            case ["apis", group, version]:
                found = discovery.resource_list(catalog, group, version)
            case ["openapi", "v2"]:
                found = {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1"}, "paths": {}}
            case ["openapi", "v3"]:
                found = discovery.openapi_index(catalog)
            case ["openapi", "v3", "api", version]:
                found = discovery.openapi(catalog, "", version)
            case ["openapi", "v3", "apis", group, version]:
                found = discovery.openapi(catalog, group, version)
            case _:
                pass
        if found is None:
            raise self._unknown_path(request, parts)
        return web.Response(body=_encode(found), content_type="application/json")

    def _unknown_path(self, request: web.BaseRequest, parts: Sequence[str]) -> Refused:
        if parts[0] in ("api", "apis"):
            return _no_such_page()
        return unknown(f"the path {request.path}")

    # --- verbs ---------------------------------------------------------------------------------------

    async def _verb(self, request: web.BaseRequest, place: Place) -> web.StreamResponse:
        query = request.query
        what = "subresource" if place.subresource else "object" if place.name else "collection"
        if request.method not in _METHODS[what] or (request.method != "GET" and _unplaced(place)):
            message = "the server does not allow this method on the requested resource"
            raise Refused("MethodNotAllowed", message, {})
        if place.subresource == "scale":
            return await self._scale(request, place)
        served, namespace, name = place.served, place.namespace, place.name
        form = _form(request)
        write = _write(request) if request.method != "GET" else Write()
        if request.method == "GET" and not name:
            if query.get("watch", "").lower() in ("true", "1"):
                return await self._watch(request, place, form)
            return self._respond(served, self.registry.page(served, namespace, query), form)
        if request.method == "GET":
            return self._respond(served, self.registry.get(served, namespace, name), form)
        if request.method == "DELETE":
            options = _delete_options(query, await _body(request, empty=True))
            write.dry_run = write.dry_run or bool(options.get("dryRun"))
            if name:
                answer = self.registry.delete(served, namespace, name, options, write)
            else:
                answer = self.registry.delete_all(served, namespace, query, options, write)
            return self._respond(served, answer, form)
        created = request.method == "POST"
        if request.method == "PATCH":
            type = _patch_type(request)
            _check_patch_options(query, type)
            body = await _body(request)
            answer, created = self.registry.patch(
                served, namespace, name, type, body, write, place.subresource
            )
        elif created:
            answer = self.registry.create(served, namespace, await _body(request), write)
        else:
            body = await _body(request)
            answer, created = self.registry.update(served, namespace, name, body, write, place.subresource)
        return self._respond(served, answer, form, 201 if created else 200, write.warnings)

    def _respond(
        self,
        served: Served,
        answer: Json,
        form: Form,
        code: int = 200,
        warnings: Sequence[str] = (),
    ) -> web.Response:
        if answer.get("kind") != "Status":
            answer = self._formed(served, answer, form)
        body = (
            yaml.safe_dump(answer, sort_keys=False).encode()
            if form.media == "application/yaml"
            else _encode(answer)
        )
        response = web.Response(status=code, body=body, headers={"Content-Type": form.media})
        for warning in warnings:
            response.headers.add("Warning", f'299 - "{_quoted(warning)}"')
        return response

    def _formed(self, served: Served, answer: Json, form: Form, *, header: bool = True) -> Json:
        """An object or a list in the form that was asked for."""
        if form.kind == "object":
            return answer
        items = answer.get("items")
        if form.kind == "table":
            meta = answer["metadata"]
            metadata = meta if items is not None else {"resourceVersion": meta.get("resourceVersion", "")}
            objects = [answer] if items is None else items
            now = self.registry.storage.now()
            return table(served, objects, metadata, now, include=form.include, header=header)
        if items is None:
            return partial(answer)
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": answer["metadata"],
            "items": [partial(item) for item in items],
        }

    # --- watch ---------------------------------------------------------------------------------------

    async def _watch(self, request: web.BaseRequest, place: Place, form: Form) -> web.StreamResponse:
        served = place.served
        selection = Selection.parse(served, place.namespace, request.query)
        watch = Watch(self.registry.storage, served, selection, request.query, self.bookmark)
        if self.gone_as_http:
            watch.check_version()
        response = web.StreamResponse(
            headers={"Content-Type": form.media, "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        await response.prepare(request)
        task = asyncio.current_task()
        if task is not None:
            self._watches.add(task)
            task.add_done_callback(self._watches.discard)
        header = True
        async for batch in watch.events():
            lines = []
            for type, obj in batch:
                shown = obj
                if type not in ("BOOKMARK", "ERROR"):
                    shown = self._formed(served, obj, form, header=header)
                    header = False
                elif type == "BOOKMARK" and form.kind == "partial":
                    shown = partial(obj)
                lines.append(_encode({"type": type, "object": shown}) + b"\n")
            await response.write(b"".join(lines))
        await response.write_eof()
        return response

    # --- scale ---------------------------------------------------------------------------------------

    async def _scale(self, request: web.BaseRequest, place: Place) -> web.Response:
        served, namespace, name = place.served, place.namespace, place.name
        obj = self.registry.get(served, namespace, name)
        scale = scale_of(served, obj)
        if request.method != "GET":
            write = _write(request)
            if request.method == "PATCH":
                type = _patch_type(request)
                shape = schema.named("Scale")
                wanted = patched_by("merge" if type == "apply" else type, scale, await _body(request), shape)
            else:
                wanted = await _body(request)
            wanted = schema.read(wanted, schema.named("Scale"), [])
            if (
                request.method == "PATCH"
                and wanted["metadata"].get("resourceVersion") == obj["metadata"]["resourceVersion"]
            ):
                wanted["metadata"].pop("resourceVersion")
            replicas = (wanted.get("spec") or {}).get("replicas", 0)
            if replicas < 0:
                cause = Cause("spec.replicas", "Invalid", "must be greater than or equal to 0", replicas)
                raise Invalid(served.kind, name, [cause])
            changed = scaled(served, obj, wanted)
            body, _ = self.registry.update(served, namespace, name, changed, write, "scale")
            scale = scale_of(served, body)
        return web.Response(body=_encode(scale), content_type="application/json")


# --- requests ----------------------------------------------------------------------------------------


def _unplaced(place: Place) -> bool:
    """The collection of all namespaces, which can only be read."""
    return place.served.kind.namespaced and not place.namespace


def _write(request: web.BaseRequest) -> Write:
    """How a write is to be done, by its query. Without a fieldManager it is the first word of the User-Agent."""
    query = request.query
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise Refused("Invalid", f'dryRun: Unsupported value: "{dry_run}": supported values: "All"')
    validation = query.get("fieldValidation") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        message = f'fieldValidation: Invalid value: "{validation}": must be one of Ignore, Warn, Strict'
        raise Refused("Invalid", message)
    agent = request.headers.get("User-Agent", "").partition("/")[0][:128]
    manager = query.get("fieldManager") or agent or "unknown"
    if len(manager) > 128:
        raise Refused("Invalid", "fieldManager: Too long: may not be more than 128 bytes")
    return Write(manager, bool(dry_run), validation, query.get("force") == "true", [])


async def _body(request: web.BaseRequest, *, empty: bool = False) -> Any:
    """The body, decoded. `empty`: there need not be one."""
    media = request.headers.get("Content-Type", "application/json").partition(";")[0].strip()
    if media not in (*_BODIES, protobuf.MEDIA_TYPE) and media not in _PATCHES and request.can_read_body:
        accepted = ", ".join(_PATCHES if request.method == "PATCH" else _BODIES)
        raise Refused(
            "UnsupportedMediaType",
            f"the body of the request was in an unknown format - accepted media types include: {accepted}",
        )
    raw = bytearray()
    async for chunk in request.content.iter_any():
        raw += chunk
        if len(raw) > _BODY_LIMIT:
            raise Refused("RequestEntityTooLarge", f"Request entity too large: limit is {_BODY_LIMIT}")
    if empty and not raw:
        return {}
    try:
        if media == protobuf.MEDIA_TYPE:
            return protobuf.decode(bytes(raw))
        if media.endswith("yaml"):
            return yaml.load(bytes(raw), _Loader)
        return msgspec.json.decode(raw)
    except protobuf.ProtobufError as error:
        raise Refused("BadRequest", f"the body of the request can't be read as protobuf: {error}") from None
    except (msgspec.DecodeError, yaml.YAMLError, ValueError, RecursionError):
        # Never the text of the error: it may quote the body, and that may be a Secret.
        if request.method == "PATCH":
            raise Refused(
                "BadRequest", f"error decoding {'YAML' if media.endswith('yaml') else 'patch'}"
            ) from None
        message = "couldn't get version/kind; json parse error: the body is not valid"
        raise Refused("BadRequest", message) from None


def _patch_type(request: web.BaseRequest) -> PatchType:
    media = request.headers.get("Content-Type", "").partition(";")[0].strip()
    found = _PATCHES.get(media)
    if found is None:
        raise Refused(
            "UnsupportedMediaType",
            f"the body of the request was in an unknown format - accepted media types include: {', '.join(_PATCHES)}",
        )
    return found


def _check_patch_options(query: Mapping[str, str], type: PatchType) -> None:
    if type == "apply" and not query.get("fieldManager"):
        raise OptionsInvalid("PatchOptions", Cause("fieldManager", "Required", "is required for apply patch"))
    if type != "apply" and query.get("force"):
        detail = "may not be specified for non-apply patch"
        raise OptionsInvalid("PatchOptions", Cause("force", "Forbidden", detail))


def _delete_options(query: Mapping[str, str], body: Any) -> Json:
    if not isinstance(body, dict):
        raise Refused("BadRequest", "DeleteOptions are an object")
    options = dict(body)
    for field in ("propagationPolicy", "dryRun"):
        if query.get(field):
            options.setdefault(field, query[field])
    if query.get("gracePeriodSeconds", "").isdigit():
        options.setdefault("gracePeriodSeconds", int(query["gracePeriodSeconds"]))
    return options


def _form(request: web.BaseRequest) -> Form:
    """The first form of the Accept header that there is. Raises Refused where there is none."""
    include = request.query.get("includeObject", "Metadata")
    for clause in request.headers.get("Accept", "").split(","):
        media, *parameters = [part.strip() for part in clause.split(";")]
        said = dict(part.partition("=")[::2] for part in parameters)
        if media in ("", "*/*", "application/*"):
            return Form()
        if media not in _BODIES:
            continue
        wanted = said.get("as", "")
        kind = {"": "object", "Table": "table"}.get(wanted)
        if wanted in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            kind = "partial"
        if kind and (not wanted or (said.get("g"), said.get("v")) == ("meta.k8s.io", "v1")):
            return Form(kind, media, include)
    raise Refused(
        "NotAcceptable",
        "only the following media types are accepted: application/json, application/yaml",
    )


# --- answers -----------------------------------------------------------------------------------------


def _refusal(error: StorageError) -> web.Response:
    answer = status(error)
    response = web.Response(status=CODES[error.reason], body=_encode(answer), content_type="application/json")
    seconds = (error.details or {}).get("retryAfterSeconds")
    if seconds:
        response.headers["Retry-After"] = str(seconds)
    return response


def _no_such_page() -> Refused:
    return Refused("NotFound", "the server could not find the requested resource", {})


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _allowed(request: web.BaseRequest) -> Json:
    """The answer to ``kubectl auth can-i``: whoever has the token may do anything."""
    return {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": {},
        "status": {"allowed": True, "reason": "in the sandbox everything is allowed"},
    }
