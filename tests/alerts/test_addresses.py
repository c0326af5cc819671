"""From an address to what is posted. The services' forms were compared with Apprise 2.2."""

from __future__ import annotations

import sys
import types
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from reroll.alerts.addresses import SINKS, parse_targets
from reroll.alerts.delivery import DeliveryError, Post, Poster
from reroll.alerts.library import LibraryTarget
from reroll.alerts.message import Message
from reroll.alerts.services import SCHEMES
from reroll.alerts.target import HttpTarget, TargetError

GOOD = Message("reroll: 1 reloaded", "see *web*", False, "Reloader")
BAD = Message("reroll: 1 could not be reloaded", "see *web*", True, "Reloader")


def posts(url: str, sink: str = "", message: Message = GOOD) -> list[Post]:
    made = []
    for target in parse_targets(url, sink):
        assert isinstance(target, HttpTarget)
        made.append(target.make(message))
    return made


def post(url: str, sink: str = "", message: Message = GOOD) -> tuple[str, Any, dict[str, str]]:
    """(URL, decoded JSON, headers besides that of the content) of the one post."""
    (made,) = posts(url, sink, message)
    headers = dict(made.headers)
    assert headers.pop("Content-Type") == "application/json"
    return made.url, msgspec.json.decode(made.body), headers


# --- as Reloader sends them --------------------------------------------------------------------------------


def test_slack() -> None:
    url, body, _ = post("https://chat.example/x", "slack")
    assert url == "https://chat.example/x"
    assert body == {"attachments": [{"text": "see *web*", "color": "good", "author_name": "Reloader"}]}
    assert post("https://chat.example/x", "slack", BAD)[1]["attachments"][0]["color"] == "danger"


@pytest.mark.parametrize("sink", ["teams", "gchat"])
def test_teams_and_google_chat(sink: str) -> None:
    assert post("https://chat.example/x", sink)[1] == {"text": "see *web*"}


@pytest.mark.parametrize("sink", ["raw", "", "somebody-else", "RAW"])
def test_raw_and_everything_else(sink: str) -> None:
    (made,) = posts("https://chat.example/x", sink)
    assert made.body == b"see web"
    assert made.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://hooks.slack.com/services/A/B/C", "attachments"),
        ("https://chat.googleapis.com/v1/spaces/S/messages?key=K&token=T", "text"),
        ("https://team.webhook.office.com/webhookb2/A", "text"),
        ("https://prod-1.westus.logic.azure.com:443/workflows/W/triggers/manual/paths/invoke?sig=S", "type"),
        ("https://discord.com/api/webhooks/1/T", "content"),
    ],
)
def test_the_host_tells_the_form(url: str, key: str) -> None:
    where, body, _ = post(url)
    assert where == url
    assert key in body
    (made,) = posts(url, "raw")  # but the setting has the last word
    assert made.body == b"see web"


def test_every_sink_can_be_named() -> None:
    for sink in SINKS:
        assert len(posts("https://chat.example/x", sink)) == 1


def test_several_addresses() -> None:
    assert [t.label for t in parse_targets(" https://a.example/x\n  ntfy://alerts slack://A/B/C ")] == [
        "https://a.example",
        "https://ntfy.sh",
        "https://hooks.slack.com",
    ]


# --- services by their own URLs ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "where", "body", "headers"),
    [
        (
            "json://host/p?+X-Key=v+w&-q=1",
            "http://host/p?q=1",
            {
                "version": "1.0",
                "title": GOOD.title,
                "message": "see web",
                "type": "info",
                "attachments": [],
            },
            {"X-Key": "v+w"},
        ),
        ("jsons://u:p@host:81", "https://host:81", None, {"Authorization": "Basic dTpw"}),
        (
            "slack://bot@TokA/TokB/TokC/#ops",
            "https://hooks.slack.com/services/TokA/TokB/TokC",
            {
                "attachments": [{"text": "see *web*", "color": "good", "author_name": "Reloader"}],
                "username": "bot",
                "channel": "#ops",
            },
            {},
        ),
        (
            "gchat://Space/Key/Tok",
            "https://chat.googleapis.com/v1/spaces/Space/messages?key=Key&token=Tok",
            {"text": "see *web*"},
            {},
        ),
        (
            "discord://417/Tok_en-1",
            "https://discord.com/api/webhooks/417/Tok_en-1",
            {"content": "see web", "username": "Reloader"},
            {},
        ),
        (
            "mmosts://bot@host:8065/sub/tok?channel=ops",
            "https://host:8065/sub/hooks/tok",
            {"text": "see *web*", "username": "bot", "channel": "ops"},
            {},
        ),
        ("rockets://A/B@host:88", "https://host:88/hooks/A/B", {"text": "see *web*"}, {}),
        (
            "ntfys://u:p@host/Topic?priority=high&tags=a,b",
            "https://host",
            {
                "topic": "Topic",
                "title": GOOD.title,
                "message": "see web",
                "priority": 4,
                "tags": ["a", "b"],
            },
            {"Authorization": "Basic dTpw"},
        ),
        ("ntfy://alerts", "https://ntfy.sh", None, {}),
        ("ntfys://tk_x@host/t", "https://host", None, {"Authorization": "Bearer tk_x"}),
        ("ntfys://host/t?token=tk_y", "https://host", None, {"Authorization": "Bearer tk_y"}),
        (
            "tgram://123:ab-C_d/-456:7?silent=yes",
            "https://api.telegram.org/bot123:ab-C_d/sendMessage",
            {
                "chat_id": -456,
                "text": "see web",
                "disable_web_page_preview": True,
                "disable_notification": True,
                "message_thread_id": 7,
            },
            {},
        ),
        (
            "gotifys://host:444/sub/Tok?priority=high",
            "https://host:444/sub/message",
            {"title": GOOD.title, "message": "see web", "priority": 8},
            {"X-Gotify-Key": "Tok"},
        ),
        (
            "lark://Tok",
            "https://open.larksuite.com/open-apis/bot/v2/hook/Tok",
            {"msg_type": "text", "content": {"text": "see web"}},
            {},
        ),
        ("feishu://Tok", "https://open.feishu.cn/open-apis/bot/v2/hook/Tok", None, {}),
        (
            "apprises://u:p@host:8000/key?tags=ops",
            "https://host:8000/notify/key",
            {"title": GOOD.title, "body": "see web", "type": "info", "format": "text", "tag": "ops"},
            {"Authorization": "Basic dTpw"},
        ),
        (
            "workflow://prod-1.westus.logic.azure.com:443/W1/Sig-1",
            "https://prod-1.westus.logic.azure.com:443/workflows/W1/triggers/manual/paths/invoke"
            "?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=Sig-1",
            None,
            {},
        ),
    ],
)
def test_services(url: str, where: str, body: Any, headers: dict[str, str]) -> None:
    found = post(url)
    assert found[0] == where
    assert found[2] == headers
    if body is not None:
        assert found[1] == body


def test_pushover_and_form_are_forms() -> None:
    (made,) = posts("pover://User@Token/dev1/dev2?priority=low&sound=bike")
    assert made.url == "https://api.pushover.net/1/messages.json"
    assert made.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qs(made.body.decode()) == {
        "token": ["Token"],
        "user": ["User"],
        "priority": ["-2"],
        "device": ["dev1,dev2"],
        "sound": ["bike"],
        "title": [GOOD.title],
        "message": ["see web"],
    }
    (made,) = posts("forms://host/path", message=BAD)
    assert parse_qs(made.body.decode())["type"] == ["warning"]


def test_a_card_holds_title_and_text() -> None:
    card = post("workflow://host/W/S")[1]["attachments"][0]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert [block["text"] for block in card["content"]["body"]] == [GOOD.title, "see web"]


def test_each_topic_chat_and_channel_is_a_target_of_its_own() -> None:
    assert len(posts("ntfy://host/a/b/c")) == 3
    assert len(posts("tgram://123:abc/1/2")) == 2
    assert len(posts("slack://A/B/C/%23x/%23y")) == 2


def test_every_scheme_is_tested_here() -> None:
    tested = {
        mark.args[1][i][0].partition("://")[0]
        for mark in test_services.pytestmark
        for i in range(len(mark.args[1]))
    }
    without_s = {scheme.removesuffix("s") for scheme in tested | {"pover", "form"}}
    assert {scheme.removesuffix("s") for scheme in SCHEMES} == without_s


# --- what can't be used --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "no address to send alerts to is set"),
        ("S3CRET", "begins with its scheme"),
        ("https://", "write https://HOST"),
        ("https://host:S3CRET/x", "write https://HOST"),
        ("http://[S3CRET", "write http://HOST"),
        ("slack://S3CRET", "write slack://"),
        ("slack://xoxb-S3CRET/a/b", "write slack://"),
        ("gchat://S3CRET", "write gchat://SPACE/KEY/TOKEN"),
        ("discord://S3CRET", "write discord://"),
        ("ntfy://host/S3CRET%20", "write ntfy://"),
        ("ntfy://host/t?priority=S3CRET", "write ntfy://"),
        ("tgram://S3CRET/1", "write tgram://BOT_TOKEN/CHAT_ID"),
        ("tgram://1:S3CRET", "write tgram://BOT_TOKEN/CHAT_ID"),
        ("pover://S3CRET", "write pover://"),
        ("pover://u@S3CRET?priority=emergency", "write pover://"),
        ("gotify://S3CRET", "write gotify://"),
        ("gotify://h/S3CRET?priority=99", "write gotify://"),
        ("mmost://S3CRET", "write mmost://"),
        ("mmost://ho st/S3CRET", "begins with"),
        ("rocket://S3CRET@host", "write rocket://"),
        ("workflow://S3CRET", "write workflow://"),
        ("workflow://ho%20st/W/S3CRET", "write workflow://"),
        ("apprise://S3CRET", "write apprise://"),
        ("lark://S3CRET/x", "write lark://"),
        ("json://[S3CRET", "write json://"),
        ("json:///S3CRET", "write json://"),
        ("json://host/S3CRET?method=PUT", "not supported"),
        ("json://host/S3CRET?+H=a%0d%0ab", "write json://"),
        ("json://host/S3CRET?verify=no", "verify=no is not supported"),
        ("msteams://S3CRET/x", "Microsoft has retired"),
        ("zulip://S3CRET", "install it beside reroll"),
    ],
)
def test_what_is_wrong_is_told_without_the_address(
    url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(TargetError) as caught:
        parse_targets(url)
    assert words in str(caught.value)
    assert "S3CRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nothing_shows_a_token() -> None:
    for url in (
        "https://h.example/S3CRET",
        "tgram://1:S3CRET/2",
        "pover://S3CRET@S3CRET",
        "gotify://h/S3CRET",
    ):
        for target in parse_targets(url):
            assert isinstance(target, HttpTarget)
            assert "S3CRET" not in f"{target!r} {target.label} {target.make(GOOD)!r}"


# --- by the package apprise ------------------------------------------------------------------------------


class FakeApprise:
    """What is used of the package, which is not installed where the tests run."""

    takes = True
    error: Exception | None = None

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.sent: list[dict[str, Any]] = []

    def add(self, url: str) -> bool:
        self.urls.append(url)
        return "nonsense" not in url

    async def async_notify(self, **message: Any) -> bool:
        if self.error is not None:
            raise self.error
        self.sent.append(message)
        return self.takes


@pytest.fixture
def apprise(monkeypatch: pytest.MonkeyPatch) -> type[FakeApprise]:
    class Fresh(FakeApprise):
        pass

    module = types.ModuleType("apprise")
    module.Apprise = Fresh  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "apprise", module)
    return Fresh


async def test_other_services_are_left_to_apprise(apprise: type[FakeApprise]) -> None:
    (target,) = parse_targets("zulip://bot@org/S3CRET/stream")
    assert isinstance(target, LibraryTarget)
    assert target.label == "zulip://…"
    assert "S3CRET" not in repr(target)
    await target.deliver(BAD, Poster(environ={}))
    assert target.service.urls == ["zulip://bot@org/S3CRET/stream"]
    assert target.service.sent == [
        {"body": "see web", "title": BAD.title, "notify_type": "warning", "body_format": "text"}
    ]


async def test_what_apprise_does_not_send_is_an_error(apprise: type[FakeApprise]) -> None:
    (target,) = parse_targets("zulip://bot@org/S3CRET/stream")
    apprise.takes = False
    with pytest.raises(DeliveryError, match="the service did not take it"):
        await target.deliver(GOOD, Poster(environ={}))
    apprise.error = RuntimeError("at zulip://bot@org/S3CRET")
    with pytest.raises(DeliveryError) as caught:
        await target.deliver(GOOD, Poster(environ={}))
    assert str(caught.value) == "zulip://…: RuntimeError"


def test_what_apprise_does_not_understand_is_refused(apprise: type[FakeApprise]) -> None:
    with pytest.raises(TargetError, match="apprise does not understand it"):
        parse_targets("zulip://nonsense")


def test_apprise_has_a_say_where_a_service_has_more_than_one_kind_of_url(apprise: type[FakeApprise]) -> None:
    (target,) = parse_targets("slack://xoxb-1-2-3/#ops")
    assert isinstance(target, LibraryTarget)
    with pytest.raises(TargetError, match="write slack://"):
        parse_targets("slack://nonsense")
