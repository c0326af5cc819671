"""A file written anew so that nobody ever sees half of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from reroll.manifests.os_error import naming


def write_in_place(path: Path, text: str | bytes) -> None:
    """Make `text` the content of a file that is there: whole, or, whatever happens, what it was.

    It is written beside the file, put on the disk, and renamed over it. Mode and, as far as allowed, owner stay; a
    symbolic link stays one, and the file that it leads to is written. Raises OSError, with
    the name of a file.
    """
    target = Path(os.path.realpath(path))
    known = target.stat()
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with naming(path), open(handle, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
            file.flush()
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), known.st_uid, known.st_gid)
            os.fchmod(file.fileno(), known.st_mode & 0o7777)
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
