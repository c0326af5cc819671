"""Data as JSON or YAML on standard output."""

from __future__ import annotations

import sys
from typing import Literal

import msgspec
import yaml


def dump(data: object, form: Literal["json", "yaml"]) -> None:
    """Print records (or lists of them) for programs."""
    plain = msgspec.to_builtins(data)
    if form == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n")
    else:
        yaml.dump(plain, sys.stdout, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=100)
