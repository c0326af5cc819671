"""Headers that stay fresh: token files that are rotated, and what a 401 leads to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from multidict import CIMultiDict

from reroll.kube.auth import (
    REREAD_AFTER,
    Credentials,
    Fixed,
    TokenFile,
    UserCredentials,
    checked_token,
    impersonation_headers,
)
from reroll.kube.config_error import ConfigError


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestTokenFile:
    async def test_it_is_read_again_each_minute_and_not_more_often(self, tmp_path: Path) -> None:
        path, clock = tmp_path / "token", Clock()
        path.write_text("one\n")
        source = TokenFile(str(path), "c", clock=clock)
        path.write_text("two\n")
        clock.now += REREAD_AFTER - 0.1
        assert await source.authorization() == "Bearer one"
        clock.now += 0.1
        assert await source.authorization() == "Bearer two"
        assert REREAD_AFTER <= 60

    async def test_renew_reads_it_now(self, tmp_path: Path) -> None:
        path, clock = tmp_path / "token", Clock()
        path.write_text("one")
        source = TokenFile(str(path), "c", clock=clock)
        assert await source.renew() is False
        path.write_text("two")
        assert await source.renew() is True
        assert await source.authorization() == "Bearer two"

    async def test_renew_helps_every_request_that_was_on_its_way_with_the_old_token(
        self, tmp_path: Path
    ) -> None:
        path, clock = tmp_path / "token", Clock()
        path.write_text("one")
        source = TokenFile(str(path), "c", clock=clock)
        path.write_text("two")
        assert [await source.renew() for _ in range(3)] == [True, True, True]
        clock.now += 60
        assert await source.renew() is False

    @pytest.mark.parametrize("broken", ["", "not a token", None])
    async def test_the_last_token_is_kept_while_the_file_is_not_usable(
        self, tmp_path: Path, broken: str | None
    ) -> None:
        path, clock = tmp_path / "token", Clock()
        path.write_text("one")
        source = TokenFile(str(path), "c", clock=clock)
        if broken is None:
            path.unlink()
        else:
            path.write_text(broken)
        clock.now += REREAD_AFTER
        assert await source.authorization() == "Bearer one"
        assert await source.renew() is False
        path.write_text("two")
        clock.now += REREAD_AFTER
        assert await source.authorization() == "Bearer two"

    async def test_a_fallback_serves_until_the_file_is_there(self, tmp_path: Path) -> None:
        path, clock = tmp_path / "token", Clock()
        with pytest.raises(ConfigError, match=r"^c: cannot read"):
            TokenFile(str(path), "c", clock=clock)
        source = TokenFile(str(path), "c", fallback="inline", clock=clock)
        assert await source.authorization() == "Bearer inline"
        path.write_text("from-file")
        clock.now += REREAD_AFTER
        assert await source.authorization() == "Bearer from-file"


class TestUserCredentials:
    async def test_several_groups_are_several_headers(self) -> None:
        impersonation = impersonation_headers("bob", "", ["a", "b"], {}, "c")
        credentials: Credentials = UserCredentials(Fixed("Bearer t"), impersonation=impersonation)
        sent: CIMultiDict[str] = CIMultiDict({"Accept": "x"})
        sent.extend(await credentials.headers())
        assert sent.getall("Impersonate-Group") == ["a", "b"]
        assert sent["authorization"] == "Bearer t"
        assert await credentials.renew() is False
        assert credentials.certificate_generation == 0

    async def test_headers_follow_a_rotated_token(self, tmp_path: Path) -> None:
        path, clock = tmp_path / "token", Clock()
        path.write_text("one")
        credentials = UserCredentials(
            TokenFile(str(path), "c", clock=clock), impersonation={"Impersonate-User": "bob"}
        )
        before: Mapping[str, str] = await credentials.headers()
        assert await credentials.headers() is before
        path.write_text("two")
        assert await credentials.renew() is True
        after = await credentials.headers()
        assert dict(before) == {"Impersonate-User": "bob", "Authorization": "Bearer one"}
        assert dict(after) == {"Impersonate-User": "bob", "Authorization": "Bearer two"}


@pytest.mark.parametrize("token", ["", " \n", "two words", "tab\tsep", "ümlaut", "line\nbreak"])
def test_what_is_no_token_is_refused_without_being_quoted(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_token(token, "c: users[0].user.token")
    assert str(caught.value).startswith("c: users[0].user.token: holds no ")
    for word in token.split():
        assert word not in str(caught.value)
