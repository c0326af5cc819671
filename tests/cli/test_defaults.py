"""What `--help` says that a setting is by default is what it is."""

from __future__ import annotations

import re

import msgspec
import pytest

from reroll.cli.controller import controller
from reroll.cli.simulate import simulate
from reroll.settings import Settings

_SAID = re.compile(r"^    (\w+)\n((?:        .*\n?)+)", re.M)
_NUMBER = re.compile(r"Default:? (\d+)s?[.;](?!\d)")


def said(command: object) -> list[tuple[str, str]]:
    """(setting, the number that the help gives as its default)."""
    return [
        (name, found[1])
        for name, text in _SAID.findall(command.__doc__ or "")
        if (found := _NUMBER.search(text)) and name in Settings.__struct_fields__
    ]


@pytest.mark.parametrize(
    ("name", "number"),
    [pytest.param(*each, id=f"{c.__name__}-{each[0]}") for c in (controller, simulate) for each in said(c)],
)
def test_the_help_names_the_default_that_holds(name: str, number: str) -> None:
    fields = {field.name: field.default for field in msgspec.structs.fields(Settings)}
    assert float(fields[name]) == float(number)


def test_the_numbers_are_found_at_all() -> None:
    assert {"actors", "max_in_flight"} <= {name for name, _ in said(controller)}
