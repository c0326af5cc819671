"""What people read."""

from __future__ import annotations

import pytest

from reroll.alerts.message import clean, compose, reloader_sentence, sentence
from reroll.alerts.notice import Notice, Outcome
from reroll.core.records import ConfigId, WorkloadId

WEB = WorkloadId("Deployment", "shop", "web")
APP = ConfigId("configmap", "shop", "app")
DB = ConfigId("secret", "shop", "db")
RELOADED = Notice(WEB, "reloaded", (APP,))


def many(count: int, outcome: Outcome = "reloaded") -> list[Notice]:
    return [Notice(WorkloadId("Deployment", "shop", f"web-{n}"), outcome, (APP,)) for n in range(count)]


class TestInReloadersWords:
    def test_one_reload_to_the_letter(self) -> None:
        message = compose([RELOADED], style="reloader")
        assert message.text == (
            "Reloader detected changes in *app* of type *CONFIGMAP* in namespace *shop*. "
            "Hence reloaded *web* of type *Deployment* in namespace *shop*"
        )
        assert message.author == "Reloader"

    def test_the_additional_info_stands_in_front_as_it_is(self) -> None:
        message = compose([RELOADED], style="reloader", info="<https://wiki|prod> *eu*")
        assert message.text.startswith("<https://wiki|prod> *eu* : Reloader detected changes in *app*")

    def test_plain_text_has_no_stars(self) -> None:
        assert compose([RELOADED], style="reloader").plain == (
            "Reloader detected changes in app of type CONFIGMAP in namespace shop. "
            "Hence reloaded web of type Deployment in namespace shop"
        )

    def test_several_objects_at_once_are_one_reload(self) -> None:
        assert reloader_sentence(Notice(WEB, "reloaded", (APP, DB))) == (
            "Reloader detected changes in *app* of type *CONFIGMAP* in namespace *shop*, "
            "*db* of type *SECRET* in namespace *shop*. "
            "Hence reloaded *web* of type *Deployment* in namespace *shop*"
        )

    def test_what_reloader_never_told(self) -> None:
        assert reloader_sentence(Notice(WEB, "failed", (APP,), "conflict")) == (
            "Reloader detected changes in *app* of type *CONFIGMAP* in namespace *shop*. "
            "Could not reload *web* of type *Deployment* in namespace *shop*: conflict"
        )


class TestInOurWords:
    def test_reloaded(self) -> None:
        other = ConfigId("secret", "shared", "ca")
        assert sentence(Notice(WEB, "reloaded", (APP, other))) == (
            "Reloaded deployment/web in namespace shop: configmap/app, secret/shared/ca changed"
        )
        assert sentence(Notice(WEB, "reloaded")) == "Reloaded deployment/web in namespace shop"

    def test_not_reloaded(self) -> None:
        assert sentence(Notice(WEB, "failed", (APP,), "403: you may not")) == (
            "Could not reload deployment/web in namespace shop (configmap/app changed): 403: you may not"
        )
        assert sentence(Notice(WEB, "refused", (), "")) == (
            "Did not reload deployment/web in namespace shop: no reason is known"
        )

    def test_many_objects_are_counted(self) -> None:
        configs = tuple(ConfigId("configmap", "shop", f"c{n}") for n in range(12))
        assert sentence(Notice(WEB, "reloaded", configs)).endswith("configmap/c4 and 7 more changed")


class TestSeveral:
    def test_each_on_a_line(self) -> None:
        message = compose(many(3))
        assert len(message.text.splitlines()) == 3
        assert message.title == "reroll: 3 reloaded"
        assert not message.bad

    def test_what_went_wrong_comes_first(self) -> None:
        message = compose([*many(30), Notice(WEB, "failed", (APP,), "no")], most=20)
        lines = message.text.splitlines()
        assert lines[0].startswith("Could not reload deployment/web ")
        assert len(lines) == 21
        assert lines[-1] == "and 11 more reloaded"
        assert message.title == "reroll: 1 could not be reloaded, 30 reloaded"
        assert message.bad

    def test_what_was_dropped_is_told(self) -> None:
        assert compose(many(1), lost=7).text.splitlines()[-1] == (
            "7 earlier ones are not told: too many waited"
        )
        assert compose(many(1), lost=1).text.splitlines()[-1].startswith("1 earlier one is")

    @pytest.mark.parametrize("limit", [200, 500, 1000, 1900, 3500])
    @pytest.mark.parametrize("style", ["reroll", "reloader"])
    def test_it_fits(self, limit: int, style: str) -> None:
        long = Notice(
            WEB, "failed", tuple(ConfigId("secret", "n" * 63, "x" * 253) for _ in range(9)), "r" * 999
        )
        for notices in ([long], [*many(200), long], many(5000), [long] * 100):
            message = compose(notices, limit=limit, lost=12_345, most=50, style=style)  # type: ignore[arg-type]
            assert len(message.text) <= limit
        assert "more" in compose(many(5000), limit=limit).text
        assert len(compose([RELOADED], info="i" * 9000, limit=limit).text) <= limit


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("two\nlines\r\n\x1b[31mred", "two lines [31mred"),
        ("<!channel> <users/all>", "‹!channel› ‹users/all›"),
        ("@here", "(at)here"),
        ("x" * 400, "x" * 299 + "…"),
        ("  ", ""),
    ],
)
def test_a_reason_pages_nobody(reason: str, shown: str) -> None:
    assert clean(reason) == shown
