"""Stands in for `vault` in Reloader's suite: a file for each path, which `cluster_parts.py` reads."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def file_of(path: str) -> Path:
    """Where the values under a path of the store are."""
    return Path(os.environ["SUITE_FOLDER"]) / "vault" / path.replace("/", "__")


def main(arguments: list[str]) -> int:
    """`kv put PATH KEY=VALUE…` or `kv metadata delete PATH`."""
    match arguments:
        case ["kv", "put", path, *pairs]:
            file = file_of(path)
            part = file.with_suffix(".part")
            part.write_text(json.dumps(dict(pair.split("=", 1) for pair in pairs)))
            part.rename(file)
        case ["kv", "metadata", "delete", path]:
            file_of(path).unlink(missing_ok=True)
        case _:
            print(f"vault {' '.join(arguments)} is not known here", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
