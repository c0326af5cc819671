"""A scalar as it is written into YAML."""

from __future__ import annotations

import json
import re
from typing import Final

from reroll.manifests import yaml_text
from reroll.manifests.yaml_text import STR, Data

_SAFE = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*(?:[:=][A-Za-z0-9_./@+-]+)*\Z")
"""Text that needs no quotes anywhere, if it means nothing else (`yaml_text.tag_of`)."""
_BREAKS: Final = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF)}
"""What JSON leaves as it is, and YAML takes for a line end or does not allow."""


def scalar(value: Data, style: str = "") -> str:
    """A scalar as YAML: text without quotes where it needs none. `style` is the quote it should have if any."""
    if not isinstance(value, str):
        return json.dumps(value)
    if style == '"':
        return double_quoted(value)
    if style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if _SAFE.match(value) and yaml_text.tag_of(value) == STR:
        return value
    return double_quoted(value)


def double_quoted(value: str) -> str:
    """Text in double quotes, on one line."""
    return json.dumps(value, ensure_ascii=False).translate(_BREAKS)
