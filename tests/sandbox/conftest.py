"""The fixture `play`: a stage in virtual time, see `tests.sandbox.play`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.play import Play, playing


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    """The stage, with the settings that a sandbox has unless told otherwise."""
    async with playing() as stage:
        yield stage
