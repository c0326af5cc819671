"""The digest key that a command is given in a file, or finds in the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reroll.core.digests import DigestKey
    from reroll.kube.client import Client


def key_of(path: str | None) -> DigestKey | None:
    """The key in the file that `reroll snapshot --key-file` wrote; None: no file is given. Raises Failure."""
    import base64
    import binascii
    from pathlib import Path

    from reroll.cli.failure import Failure
    from reroll.core.digests import DigestKey

    if path is None:
        return None
    try:
        return DigestKey(base64.b64decode(Path(path).read_bytes().strip(), validate=True))
    except OSError as error:
        raise Failure(f"--key-file {path}: {error.strerror}", 2) from error
    except (ValueError, binascii.Error) as error:
        raise Failure(f"{path} holds no digest key: reroll snapshot --key-file writes one", 2) from error


async def key_in(client: Client, home: str) -> DigestKey | None:
    """That of the installation, from one of its usual namespaces or from `home`; None: it can be read in none."""
    return await key_at(client, None, "reroll-digest-key", home)


async def key_at(client: Client, namespace: str | None, name: str, home: str) -> DigestKey | None:
    """The same from the Secret of this name; `namespace`: where it is, if it is not in one of the usual ones."""
    from reroll.controller.digest_key import key_places
    from reroll.insight.simulation.capture import find_key

    return await find_key(client, [(namespace, name)] if namespace else key_places(name, home))
