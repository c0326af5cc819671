"""Notification services by the URLs of Apprise: ``ntfy://…``, ``tgram://…``, ``discord://…`` and so on.

Those that are one simple POST are spoken here, in the way of everything else: with a time limit, retries, the
proxy, no redirects, and no address in any log. For the others there is `reroll.alerts.library`, which needs the
package ``apprise``. It is not a dependency, because a controller that can read every Secret should be made of few
parts: the package brings nine others and some 140 services, most of which nobody here uses.

The syntax of the URLs, and what is posted, is that of Apprise 2.2, against which it was compared.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from reroll.alerts.delivery import Post, origin
from reroll.alerts.library import library_target
from reroll.alerts.message import Message
from reroll.alerts.target import (
    Form,
    HttpTarget,
    Target,
    TargetError,
    adaptive_card,
    discord,
    json_target,
    slack,
    text,
)

_HOST: Final = re.compile(r"[\w.-]+(:\d{1,5})?|\[[0-9a-fA-F:.]+\](:\d{1,5})?", re.ASCII)


class Address(Struct, frozen=True):
    """A service's URL, taken apart. Nothing is lower-cased, for a token may stand where a host would."""

    scheme: str
    user: str
    password: str
    host: str
    """With its port."""
    path: tuple[str, ...]
    """Its parts, decoded, without empty ones."""
    query: Mapping[str, str]
    fragment: str
    syntax: str
    """How the URL has to look, for messages."""

    def __repr__(self) -> str:
        return f"Address({self.scheme}://…)"

    @property
    def secure(self) -> bool:
        return self.scheme.endswith("s")

    def wrong(self) -> TargetError:
        return TargetError(
            f"an address for alerts begins with {self.scheme}:// and can't be read: write {self.syntax}"
        )

    def base(self, *path: str) -> str:
        """The http(s) URL of the host that it names, and this path on it."""
        if not _HOST.fullmatch(self.host):
            raise self.wrong()
        return f"{'https' if self.secure else 'http'}://{self.host}" + "".join(f"/{segment(p)}" for p in path)

    def basic(self) -> dict[str, str]:
        """The header for its user and password, if it has any."""
        if not self.user:
            return {}
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}

    def parts(self, *counts: int) -> tuple[str, ...]:
        """Host and path together, where all of them are tokens. Raises TargetError for another number of them."""
        parts = (unquote(self.host), *self.path)
        if len(parts) not in counts or not parts[0]:
            raise self.wrong()
        return parts


def segment(part: str) -> str:
    """One part of a path."""
    return quote(part, safe=":@")


def form_target(
    url: str, fields: Callable[[Message], Mapping[str, str]], headers: Mapping[str, str]
) -> HttpTarget:
    """A service that takes the fields of a form."""
    merged = {"Content-Type": "application/x-www-form-urlencoded"} | dict(headers)
    return HttpTarget(
        origin(url), 3500, lambda message: Post(url, urlencode(fields(message)).encode(), merged)
    )


def _kind(message: Message) -> str:
    return "warning" if message.bad else "info"


# --- the services ----------------------------------------------------------------------------------------


def _extras(at: Address) -> tuple[str, dict[str, str]]:
    """What a json:// or form:// URL adds to the request: its query (``-key=``) and headers (``+Name=``)."""
    if any(key.startswith(":") for key in at.query) or at.query.get("method", "post").lower() != "post":
        raise TargetError(f"{at.scheme}:// with other fields or another method than POST is not supported")
    query = urlencode({key[1:]: value for key, value in at.query.items() if key.startswith("-")})
    headers = {key[1:]: value for key, value in at.query.items() if key.startswith("+")}
    if any(re.search(r"[\r\n\0]", text) for pair in headers.items() for text in pair):
        raise at.wrong()
    return (f"?{query}" if query else ""), headers | at.basic()


def _generic_fields(message: Message) -> dict[str, str]:
    return {"version": "1.0", "title": message.title, "message": message.plain, "type": _kind(message)}


def _json(at: Address) -> Iterator[Target]:
    query, headers = _extras(at)
    yield json_target(
        at.base(*at.path) + query,
        lambda message: _generic_fields(message) | {"attachments": []},
        headers=headers,
        limit=16_000,
    )


def _form(at: Address) -> Iterator[Target]:
    query, headers = _extras(at)
    yield form_target(at.base(*at.path) + query, _generic_fields, headers)


def _slack(at: Address) -> Iterator[Target]:
    tokens, channels = (at.host, *at.path[:2]), at.path[2:]
    if len(tokens) < 3 or tokens[0].lower().startswith("xox"):
        raise at.wrong()
    url = "https://hooks.slack.com/services/" + "/".join(segment(token) for token in tokens)
    named = [*channels, *([f"#{at.fragment}"] if at.fragment else [])]
    extra = {"username": at.user} if at.user else {}
    for channel in named or [""]:
        yield json_target(url, _with(slack, extra | ({"channel": channel} if channel else {})), limit=7000)


def _with(form: Form, extra: Mapping[str, str]) -> Form:
    return lambda message: form(message) | extra


def _workflow(at: Address) -> Iterator[Target]:
    if len(at.path) != 2:
        raise at.wrong()
    query = {"api-version": "2016-06-01", "sp": "/triggers/manual/run", "sv": "1.0", "sig": at.path[1]}
    if not _HOST.fullmatch(at.host):
        raise at.wrong()
    url = f"https://{at.host}/workflows/{segment(at.path[0])}/triggers/manual/paths/invoke?{urlencode(query)}"
    yield json_target(url, adaptive_card, limit=16_000)


def _gchat(at: Address) -> Iterator[Target]:
    space, key, token = at.parts(3)
    query = urlencode({"key": key, "token": token})
    yield json_target(f"https://chat.googleapis.com/v1/spaces/{segment(space)}/messages?{query}", text)


def _discord(at: Address) -> Iterator[Target]:
    parts = at.parts(2)
    url = "https://discord.com/api/webhooks/" + "/".join(segment(part) for part in parts)
    yield json_target(url, _with(discord, {"username": at.user} if at.user else {}), limit=1900)


def _mattermost(at: Address) -> Iterator[Target]:
    if not at.path:
        raise at.wrong()
    extra = {"username": at.user or "reroll"} | {k: v for k, v in at.query.items() if k == "channel"}
    yield json_target(at.base(*at.path[:-1], "hooks", at.path[-1]), _with(text, extra))


def _rocket(at: Address) -> Iterator[Target]:
    first, _, second = at.user.partition("/")
    if not second or at.password:
        raise at.wrong()
    url = at.base("hooks", first, second)
    channels = [*at.path, *([f"#{at.fragment}"] if at.fragment else [])]
    for channel in channels or [""]:
        yield json_target(url, _with(text, {"channel": channel} if channel else {}))


_NTFY_PRIORITIES: Final = {"min": 1, "low": 2, "default": 3, "high": 4, "max": 5}


def _ntfy(at: Address) -> Iterator[Target]:
    if at.path:
        url, topics = at.base(), at.path
    else:
        url, topics = "https://ntfy.sh", (unquote(at.host),)
    token = at.query.get("token", "") or (at.user if at.user.startswith("tk_") and not at.password else "")
    headers = {"Authorization": f"Bearer {token}"} if token else at.basic()
    extra: dict[str, Any] = {}
    if wanted := at.query.get("priority"):
        priority = _NTFY_PRIORITIES.get(wanted.lower(), int(wanted) if wanted in "12345" else 0)
        if not priority:
            raise at.wrong()
        extra["priority"] = priority
    if tags := at.query.get("tags"):
        extra["tags"] = [tag.strip() for tag in tags.split(",") if tag.strip()]
    for topic in topics:
        if not re.fullmatch(r"[-\w]{1,64}", topic, re.ASCII):
            raise at.wrong()
        yield json_target(url, _ntfy_form(topic, extra), headers=headers)


def _ntfy_form(topic: str, extra: dict[str, Any]) -> Form:
    return lambda message: {"topic": topic, "title": message.title, "message": message.plain} | extra


def _telegram(at: Address) -> Iterator[Target]:
    token = unquote(at.host)
    if not re.fullmatch(r"(bot)?\d+:[\w-]+", token, re.ASCII) or not at.path:
        raise at.wrong()
    url = f"https://api.telegram.org/bot{token.removeprefix('bot')}/sendMessage"
    silent = at.query.get("silent", "no").lower() in ("yes", "true", "1")
    for chat in at.path:
        name, _, thread = chat.partition(":")
        extra: dict[str, Any] = {"message_thread_id": int(thread)} if thread.isdecimal() else {}
        yield json_target(url, _telegram_form(name, extra | {"disable_notification": silent}), limit=3900)


def _telegram_form(chat: str, extra: dict[str, Any]) -> Form:
    to = int(chat) if re.fullmatch(r"-?\d{1,18}", chat, re.ASCII) else chat
    return lambda message: {"chat_id": to, "text": message.plain, "disable_web_page_preview": True} | extra


_PUSHOVER_PRIORITIES: Final = {"low": "-2", "moderate": "-1", "normal": "0", "high": "1"}


def _pushover(at: Address) -> Iterator[Target]:
    if not at.user or not at.host:
        raise at.wrong()
    wanted = at.query.get("priority", "normal").lower()
    priority = _PUSHOVER_PRIORITIES.get(wanted, wanted)
    if priority not in _PUSHOVER_PRIORITIES.values():
        raise at.wrong()  # an emergency has to be acknowledged: that is no use for news
    fields = {"token": at.host, "user": at.user, "priority": priority}
    if at.path:
        fields["device"] = ",".join(at.path)
    if sound := at.query.get("sound"):
        fields["sound"] = sound
    target = form_target(
        "https://api.pushover.net/1/messages.json",
        lambda message: fields | {"title": message.title, "message": message.plain},
        {},
    )
    yield msgspec.structs.replace(target, limit=1000)


_GOTIFY_PRIORITIES: Final = {"low": 1, "moderate": 3, "normal": 5, "high": 8, "emergency": 10}


def _gotify(at: Address) -> Iterator[Target]:
    if not at.path:
        raise at.wrong()
    wanted = at.query.get("priority", "normal").lower()
    priority = int(wanted) if re.fullmatch(r"\d|10", wanted, re.ASCII) else _GOTIFY_PRIORITIES.get(wanted)
    if priority is None:
        raise at.wrong()
    yield json_target(
        at.base(*at.path[:-1], "message"),
        lambda message: {"title": message.title, "message": message.plain, "priority": priority},
        headers={"X-Gotify-Key": at.path[-1]},
    )


def _lark(at: Address) -> Iterator[Target]:
    (token,) = at.parts(1)
    host = "open.feishu.cn" if at.scheme == "feishu" else "open.larksuite.com"
    yield json_target(
        f"https://{host}/open-apis/bot/v2/hook/{segment(token)}",
        lambda message: {"msg_type": "text", "content": {"text": message.plain}},
    )


def _apprise(at: Address) -> Iterator[Target]:
    if not at.path:
        raise at.wrong()
    extra = {"tag": tags} if (tags := at.query.get("tags", "")) else {}
    yield json_target(
        at.base(*at.path[:-1], "notify", at.path[-1]),
        lambda message: (
            {"title": message.title, "body": message.plain, "type": _kind(message), "format": "text"} | extra
        ),
        headers=at.basic(),
        limit=16_000,
    )


_SERVICES: Final[dict[str, tuple[Callable[[Address], Iterator[Target]], str]]] = {
    "json": (_json, "json://[USER:PASSWORD@]HOST[:PORT][/PATH]"),
    "form": (_form, "form://[USER:PASSWORD@]HOST[:PORT][/PATH]"),
    "slack": (_slack, "slack://[NAME@]TOKEN_A/TOKEN_B/TOKEN_C[/#CHANNEL]"),
    "workflow": (_workflow, "workflow://HOST/WORKFLOW/SIGNATURE"),
    "gchat": (_gchat, "gchat://SPACE/KEY/TOKEN"),
    "discord": (_discord, "discord://[NAME@]ID/TOKEN"),
    "mmost": (_mattermost, "mmost://[NAME@]HOST[:PORT][/PATH]/TOKEN[?channel=NAME]"),
    "rocket": (_rocket, "rocket://TOKEN_A/TOKEN_B@HOST[/#CHANNEL]"),
    "ntfy": (_ntfy, "ntfy://[USER:PASSWORD@]HOST/TOPIC or ntfy://TOPIC"),
    "tgram": (_telegram, "tgram://BOT_TOKEN/CHAT_ID"),
    "pover": (_pushover, "pover://USER@TOKEN[/DEVICE], with a priority from low to high"),
    "gotify": (_gotify, "gotify://HOST[:PORT][/PATH]/TOKEN"),
    "lark": (_lark, "lark://TOKEN"),
    "feishu": (_lark, "feishu://TOKEN"),
    "apprise": (_apprise, "apprise://[USER:PASSWORD@]HOST[:PORT]/KEY"),
}
_SECURE: Final = ("json", "form", "workflow", "mmost", "rocket", "ntfy", "gotify", "apprise")
"""Those that have an ``s`` behind their name for https."""

SCHEMES: Final = (*_SERVICES, *(f"{name}s" for name in _SECURE))


def service_targets(scheme: str, url: str) -> Iterator[Target]:
    """The targets of one URL with a scheme of Apprise. Raises TargetError, without the URL in its text."""
    if scheme == "msteams":
        raise TargetError(
            "msteams:// stood for connectors, which Microsoft has retired: make a workflow in Teams and write "
            "workflow://HOST/WORKFLOW/SIGNATURE"
        )
    name = scheme if scheme in _SERVICES else scheme.removesuffix("s")
    if scheme not in SCHEMES:
        yield library_target(scheme, url)
        return
    make, syntax = _SERVICES[name]
    if name in _SECURE and scheme == name:
        syntax += f" ({name}s:// for https)" if name != "workflow" else ""
    at = _taken_apart(scheme, url, syntax)
    try:
        targets = tuple(make(at))
    except TargetError as error:
        # A kind of URL that is not one simple POST, such as Slack's with a bot's token: apprise may know it.
        with suppress(TargetError):
            yield library_target(scheme, url)
            return
        raise error from None
    yield from targets


def _taken_apart(scheme: str, url: str, syntax: str) -> Address:
    head, _, rest = url.partition("://")
    # "ROCKET": user information with a slash in it. Everything else has its slashes behind the host.
    user_info = ""
    if scheme.startswith("rocket") and "@" in rest:
        user_info, _, rest = rest.partition("@")
    try:
        parts: SplitResult = urlsplit(f"x://{rest}")
    except ValueError:
        raise TargetError(
            f"an address for alerts begins with {scheme}:// and can't be read: write {syntax}"
        ) from None
    if not user_info and "@" in parts.netloc:
        user_info = parts.netloc.rpartition("@")[0]
    user, _, password = user_info.partition(":")
    address = Address(
        scheme=head.lower(),
        user=unquote(user),
        password=unquote(password),
        host=parts.netloc.rpartition("@")[2],
        path=tuple(unquote(part) for part in parts.path.split("/") if part),
        query=dict(parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True)),
        fragment=unquote(parts.fragment),
        syntax=syntax,
    )
    if not address.host:
        raise address.wrong()
    if address.query.get("verify", "yes").lower() in ("no", "false", "0"):
        raise TargetError(
            f"{scheme}://…?verify=no is not supported: have the authority of its certificate trusted (SSL_CERT_FILE)"
        )
    return address
