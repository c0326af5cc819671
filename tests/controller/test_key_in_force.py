"""The digest key in force: waited for, and replaced while the controller runs (in virtual time)."""

from __future__ import annotations

import asyncio

import pytest

from reroll.controller.digest_key import KeyInForce
from reroll.core.digests import DigestKey
from reroll.kube.errors import ApiError, ServerError, Unreachable

pytestmark = pytest.mark.looptime

OURS, OTHER = DigestKey(b"x" * 32), DigestKey(b"y" * 32)


class Secret:
    """The Secret on a server that may be away."""

    def __init__(self, key: DigestKey, *errors: ApiError) -> None:
        self.key, self.errors = key, list(errors)
        self.asked = 0

    async def obtain(self) -> DigestKey:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.key

    async def check(self, current: DigestKey) -> DigestKey:
        return await self.obtain()


class Digests:
    """What is digested with the key."""

    def __init__(self) -> None:
        self.key = DigestKey(bytes(32))

    def rekey(self, key: DigestKey) -> None:
        self.key = key


def place(secret: Secret, *, needed: bool = True) -> tuple[KeyInForce, Digests, list[str]]:
    digests, replaced = Digests(), list[str]()
    key = KeyInForce(secret, digests, lambda: replaced.append(digests.key.id), needed=needed)  # type: ignore[arg-type]
    return key, digests, replaced


async def test_it_is_waited_for() -> None:
    secret = Secret(OURS, Unreachable("refused"), ServerError("busy", status=503, retry_after=30.0))
    key, digests, replaced = place(secret)
    assert key.problem
    task = asyncio.create_task(key.obtain())
    await asyncio.sleep(0.01)
    assert key.problem == "refused"
    await asyncio.sleep(20.0)
    assert key.problem == "busy", "the server has said when to come back"
    await task
    assert digests.key is OURS
    assert (key.problem, replaced) == ("", [])


async def test_another_one_takes_its_place() -> None:
    secret = Secret(OURS)
    key, digests, replaced = place(secret)
    await key.obtain()
    assert not await key.check()
    secret.key = OTHER
    assert await key.check()
    assert digests.key is OTHER
    assert replaced == [OTHER.id], "what was digested is read again after the old digests were dropped"


async def test_who_follows_config_maps_alone_needs_none() -> None:
    secret = Secret(OURS)
    key, _, _ = place(secret, needed=False)
    await key.obtain()
    assert key.problem == ""
    assert not await key.check()
    assert secret.asked == 0
