"""What an API server can answer other than yes, as exceptions that say what to do next.

The server's own message is kept, for people. It is cut short, and where the request touched a Secret it is
replaced by its reason: the server quotes parts of an object in some messages (rule 5 of the design).
"""

from __future__ import annotations

import msgspec


class _StatusCause(msgspec.Struct, gc=False):
    reason: str = ""
    message: str = ""
    field: str = ""


class _StatusDetails(msgspec.Struct, gc=False, rename="camel"):
    causes: list[_StatusCause] | None = None
    retry_after_seconds: int | None = None


class Status(msgspec.Struct, gc=False):
    """The API's `Status` object, as far as it is read."""

    kind: str = ""
    message: str = ""
    reason: str = ""
    code: int = 0
    details: _StatusDetails | None = None

    def has_cause(self, reason: str) -> bool:
        return any(c.reason == reason for c in self.details.causes or ()) if self.details else False


class ApiError(Exception):
    """A request that was not answered with success.

    `retryable` says whether the same request can succeed later without anybody changing it; `retry_after`
    is the server's own word for when, in seconds.
    """

    retryable = False

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        retry_after: float | None = None,
        request: str = "",
        too_large_version: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason or type(self).__name__
        self.retry_after = retry_after
        self.request = request
        self.too_large_version = too_large_version
        """The server does not know the asked resourceVersion *yet* (cause ResourceVersionTooLarge)."""

    def __str__(self) -> str:
        return f"{self.request}: {self.message}" if self.request else self.message


class BadRequest(ApiError):
    """400: the request itself is wrong."""


class Unauthorized(ApiError):
    """401: the credentials were not accepted, also after they were renewed once."""

    retryable = True


class Forbidden(ApiError):
    """403: RBAC or an admission rule says no. It can say yes later, so callers with patience retry."""


class NotFound(ApiError):
    """404: no such object, namespace or kind."""


class Conflict(ApiError):
    """409: the object changed since it was read. Read it again and decide again."""


class AlreadyExists(ApiError):
    """409 on a create."""


class Gone(ApiError):
    """410: the resourceVersion or continue token is too old. List again."""


class UnsupportedMediaType(ApiError):
    """415: the server does not take this kind of patch or body."""


class Invalid(ApiError):
    """422: the object was refused by validation, or a `test` of a JSON patch failed."""


class TooManyRequests(ApiError):
    """429: API Priority and Fairness or an eviction budget says later."""

    retryable = True


class ServerError(ApiError):
    """5xx: the server or something behind it failed."""

    retryable = True


class Unreachable(ApiError):
    """No answer at all: refused, reset, timed out, name not resolved, TLS not agreed."""

    retryable = True


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    415: UnsupportedMediaType,
    422: Invalid,
    429: TooManyRequests,
}
_MESSAGE_LIMIT = 600
_UNAUTHORIZED = "the server does not accept these credentials; they may have expired, or be another cluster's"
_decode_status = msgspec.json.Decoder(Status).decode


def error_from_status(status: Status, *, request: str = "", secret: bool = False) -> ApiError:
    """The exception for a `Status` object, such as a watch's ERROR event carries."""
    code = status.code or 500
    error_type = _BY_STATUS.get(code) or (ServerError if code >= 500 else ApiError)
    if code == 409 and status.reason == "AlreadyExists":
        error_type = AlreadyExists
    if status.reason == "Expired":
        error_type = Gone
    message = status.message or f"HTTP {code}"
    if secret and error_type in (BadRequest, Invalid):
        message = f"refused ({status.reason or code}); the server's message is left out, because it may quote a Secret"
    if message == "Unauthorized":  # which is all that the API server says
        message = f"{message}: {_UNAUTHORIZED}"
    retry_after = status.details.retry_after_seconds if status.details else None
    return error_type(
        message[:_MESSAGE_LIMIT],
        status=code,
        reason=status.reason,
        retry_after=float(retry_after) if retry_after else None,
        request=request,
        too_large_version=status.has_cause("ResourceVersionTooLarge"),
    )


def error_from_response(
    code: int, body: bytes, *, retry_after: str | None = None, request: str = "", secret: bool = False
) -> ApiError:
    """The exception for an HTTP answer. A body that is no `Status` (a proxy's page) is named, not quoted."""
    try:
        status = _decode_status(body)
    except msgspec.DecodeError:
        status = Status()
    if status.kind != "Status":
        status = Status(message=f"HTTP {code} with a body that is not from an API server")
    status.code = code
    error = error_from_status(status, request=request, secret=secret)
    seconds = (retry_after or "").strip()
    if seconds.isascii() and seconds.isdecimal() and len(seconds) < 10:
        error.retry_after = float(seconds)
    return error
