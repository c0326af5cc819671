"""What the API answers when it says no: a `Status` object with the API server's codes, reasons and details.

Sources: k8s.io/apimachinery pkg/api/errors (reasons and codes) and pkg/util/validation/field (causes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from reroll.sandbox.kinds import Kind
from reroll.sandbox.storage import StorageError

Json: TypeAlias = dict[str, Any]

CODES: Final = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "NotAcceptable": 406,
    "AlreadyExists": 409,
    "Conflict": 409,
    "Expired": 410,
    "Gone": 410,
    "RequestEntityTooLarge": 413,
    "UnsupportedMediaType": 415,
    "Invalid": 422,
    "InternalError": 500,
    "Timeout": 504,
}
"""The HTTP code of each reason."""

CauseReason: TypeAlias = Literal["Invalid", "Required", "Forbidden", "NotSupported", "Duplicate", "TooLong"]

_WORDS: Final = {
    "Invalid": "Invalid value",
    "Required": "Required value",
    "Forbidden": "Forbidden",
    "NotSupported": "Unsupported value",
    "Duplicate": "Duplicate value",
    "TooLong": "Too long",
}


class Cause(Struct, frozen=True):
    """One thing that is wrong with an object, at one field of it."""

    field: str
    reason: CauseReason
    detail: str = ""
    value: Any = msgspec.UNSET

    def told(self) -> Json:
        """As a Status has it."""
        return {"reason": f"FieldValue{self.reason}", "message": self.message(), "field": self.field}

    def message(self) -> str:
        """In the server's words, without the field."""
        shown = "" if self.value is msgspec.UNSET else f": {msgspec.json.encode(self.value).decode()}"
        return f"{_WORDS[self.reason]}{shown}" + (f": {self.detail}" if self.detail else "")


class Refused(StorageError):
    """A request that is answered with a Status of this reason."""


class Invalid(Refused):
    """422: the object breaks rules; each cause tells where."""

    def __init__(self, kind: Kind, name: str, causes: Sequence[Cause]) -> None:
        told = [f"{cause.field}: {cause.message()}" for cause in causes]
        what = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
        joined = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
        super().__init__("Invalid", f'{what} "{name}" is invalid: {joined}')
        self.details = {
            "name": name,
            "group": kind.group,
            "kind": kind.kind,
            "causes": [cause.told() for cause in causes],
        }


class OptionsInvalid(Refused):
    """422: the query of a request makes no sense. `options` is what Kubernetes calls it, such as ListOptions."""

    def __init__(self, options: str, cause: Cause) -> None:
        super().__init__("Invalid", f'{options}.meta.k8s.io "" is invalid: {cause.field}: {cause.message()}')
        self.details = {"group": "meta.k8s.io", "kind": options, "causes": [cause.told()]}


def unknown(what: str) -> Refused:
    """404 for what a cluster may know and the sandbox does not."""
    return Refused("NotFound", f"the sandbox does not know {what}")


def status(error: StorageError) -> Json:
    """The `Status` object for a refusal."""
    answer: Json = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": error.metadata,
        "status": "Failure",
        "message": str(error),
        "reason": error.reason,
    }
    if error.details is not None:
        answer["details"] = {key: value for key, value in error.details.items() if value}
    return answer | {"code": CODES[error.reason]}
