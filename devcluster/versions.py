"""The versions of Kubernetes that the dev cluster can be, and which of them is wanted.

Each has its Go module, with all hashes, in `modules/kubernetes/<version>`. Adding one: docs/devcluster.md.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

__all__ = ["DEFAULT", "RELEASES", "VARIABLE", "DevClusterError", "Release", "chosen"]


class DevClusterError(Exception):
    """Something a person has to mend; the message is one line that says what."""


@dataclass(frozen=True)
class Release:
    """One release of Kubernetes."""

    version: str
    """Such as 1.36.3, without a v."""
    published: str
    """When it was tagged (RFC 3339): a fixed date of the build keeps the build reproducible."""

    @property
    def minor(self) -> int:
        """36 of 1.36.3: what decides which flags and APIs there are."""
        return int(self.version.split(".")[1])

    @property
    def module(self) -> str:
        """The folder of its Go module, below that of the dev cluster."""
        return f"modules/kubernetes/{self.version}"


RELEASES: Final = {
    release.version: release
    for release in (
        Release("1.30.14", "2025-06-18T19:07:32Z"),
        Release("1.34.4", "2026-02-10T12:53:36Z"),
        Release("1.36.3", "2026-07-22T18:07:38Z"),
        Release("1.37.2", "2026-10-27T12:01:04Z"),
    )
}
DEFAULT: Final = "1.36.3"
VARIABLE: Final = "K8S"
"""The environment variable that names the version, for whatever starts a dev cluster without asking for one."""


def chosen(version: str | None = None) -> Release:
    """The release named `version`, else by the environment variable K8S, else the default one.

    Raises:
        DevClusterError: it is none of RELEASES.
    """
    source = "--kubernetes" if version else VARIABLE
    wanted = version or os.environ.get(VARIABLE) or DEFAULT
    if release := RELEASES.get(wanted.removeprefix("v")):
        return release
    known = ", ".join(f"{name} (default)" if name == DEFAULT else name for name in RELEASES)
    raise DevClusterError(f"{source}={wanted}: the dev cluster is not pinned for it; known versions: {known}")
