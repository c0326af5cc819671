"""What a TLS connection to the API server is made with: whom to trust, and which client certificate to show.

Certificates are rotated under a running controller: by the kubelet and cert-manager in files, by exec plugins
in their answers. `Tls` holds what was last read and counts the changes, so that the client knows when to make
new connections.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import structlog

from reroll.kube.config_error import ConfigError

log = structlog.get_logger("reroll.kube.tls")


@dataclass(frozen=True, slots=True)
class Pem:
    """Where one PEM text comes from: a file that may be rotated, or the text itself."""

    where: str
    """For messages: file and field."""
    path: str = ""
    """Absolute; empty where `data` holds the text."""
    data: bytes = field(default=b"", repr=False)

    @classmethod
    def from_base64(cls, where: str, encoded: str) -> Pem:
        """From a ``...-data`` field. Raises ConfigError where it is not base64."""
        try:
            return cls(where, data=base64.b64decode("".join(encoded.split()), validate=True))
        except (binascii.Error, ValueError):
            raise ConfigError(f"{where}: not valid base64; expected a PEM file encoded as base64") from None

    def read(self) -> bytes:
        """The text. Raises ConfigError where the file can't be read."""
        return read_file(self.where, self.path) if self.path else self.data


@dataclass(frozen=True, slots=True)
class _Material:
    """One consistent set of what was read."""

    ca: str | None
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)


class Tls:
    """What TLS with one API server is made with, as last read.

    A client certificate given to `present` goes before the one of the files.
    """

    def __init__(
        self,
        *,
        ca: Pem | None = None,
        certificate: Pem | None = None,
        key: Pem | None = None,
        insecure: bool = False,
    ) -> None:
        """Reads all. `ca` None: the system's authorities. Raises ConfigError if a context can't be made."""
        self.generation = 0
        """Counts the changes of what is read or presented since the start."""
        self._ca = ca
        self._certificate = certificate
        self._key = key
        self._insecure = insecure
        self._presented: tuple[str, bytes, bytes] | None = None
        self._paths = tuple(pem.path for pem in (ca, certificate, key) if pem is not None and pem.path)
        self._signature = self._sign()
        self._material = self._read()
        self.ssl_context()

    def __repr__(self) -> str:
        return f"Tls(ca={self._ca!r}, certificate={self._certificate!r}, insecure={self._insecure})"

    def ca_data(self) -> bytes | None:
        """The trusted authorities as PEM; None: those of the system."""
        return self._material.ca.encode() if self._material.ca is not None else None

    def present(self, where: str, certificate: bytes, key: bytes) -> None:
        """Use this client certificate from now on. Raises ConfigError, and changes nothing, if it's no pair."""
        if self._presented == (where, certificate, key):
            return
        self._make(self._material, (where, certificate, key))
        self._presented = (where, certificate, key)
        self.generation += 1

    def reload(self) -> bool:
        """Read the files again where they changed; true if there is something new to connect with.

        Certificate and key are replaced one after the other by most tools. A pair that does not fit
        (yet) is left for the next look, and the last good one stays in use.
        """
        if not self._paths or (signature := self._sign()) == self._signature:
            return False
        try:
            material = self._read()
            self._make(material, self._presented)
        except ConfigError as error:
            log.warning("rotated certificate is not usable yet, keeping the last one", problem=str(error))
            return False
        self._signature = signature
        if material == self._material:
            return False
        self._material = material
        self.generation += 1
        return True

    def ssl_context(self) -> ssl.SSLContext:
        """A new context for a client of this API server."""
        return self._make(self._material, self._presented)

    def _sign(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_signature(path) for path in self._paths)

    def _read(self) -> _Material:
        ca = None
        if self._ca is not None:
            raw = self._ca.read()
            if b"-----BEGIN" not in raw:
                raise ConfigError(f"{self._ca.where}: holds no PEM certificate (-----BEGIN CERTIFICATE-----)")
            ca = raw.decode("ascii", errors="replace")
        certificate = self._certificate.read() if self._certificate else b""
        key = self._key.read() if self._key else b""
        return _Material(ca, certificate, key)

    def _make(self, material: _Material, presented: tuple[str, bytes, bytes] | None) -> ssl.SSLContext:
        if material.ca is not None and self._ca is not None:
            try:
                context = ssl.create_default_context(cadata=material.ca)
            except (ssl.SSLError, ValueError) as error:
                raise ConfigError(
                    f"{self._ca.where}: not a usable PEM certificate: {_reason(error)}"
                ) from None
        else:
            context = ssl.create_default_context()
        # Python 3.13 began to refuse authorities without the extensions that RFC 5280 wants, and older ones
        # refuse a trusted certificate that is not a root. Many clusters have either; kubectl takes both.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self._insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if presented is not None:
            where, certificate, key = presented
            _load_pair(
                context, f"{where}: clientCertificateData", certificate, f"{where}: clientKeyData", key
            )
        elif self._certificate is not None and self._key is not None:
            _load_pair(context, self._certificate.where, material.certificate, self._key.where, material.key)
        return context


def read_file(where: str, path: str) -> bytes:
    """A file that a field names. Raises ConfigError with `where` (file and field) first."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        hint = ""
        if "/~" in path or path.startswith("~"):
            hint = '; "~" is not expanded here, write the whole path'
        raise ConfigError(f"{where}: cannot read {path}: {error.strerror or error}{hint}") from None


def _load_pair(
    context: ssl.SSLContext, certificate_at: str, certificate: bytes, key_at: str, key: bytes
) -> None:
    if b"-----BEGIN CERTIFICATE-----" not in certificate:
        raise ConfigError(f"{certificate_at}: holds no PEM certificate (-----BEGIN CERTIFICATE-----)")
    if b"PRIVATE KEY-----" not in key:
        raise ConfigError(f"{key_at}: holds no PEM private key (-----BEGIN ... PRIVATE KEY-----)")
    with _as_file(certificate) as certificate_path, _as_file(key) as key_path:
        try:
            # Without a password function OpenSSL would ask on the terminal.
            context.load_cert_chain(certificate_path, key_path, password=_refuse_encrypted(key_at))
        except ssl.SSLError as error:
            if "KEY_VALUES_MISMATCH" in (error.reason or str(error)):
                raise ConfigError(f"{key_at}: not the key of the certificate in {certificate_at}") from None
            raise ConfigError(
                f"{certificate_at}, {key_at}: not a usable client certificate and key: {_reason(error)}"
            ) from None


def _refuse_encrypted(where: str) -> Callable[[], str]:
    def password() -> NoReturn:
        raise ConfigError(f"{where}: the private key is encrypted; kubeconfigs hold keys without a password")

    return password


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path to `content` while OpenSSL, which takes nothing but files, reads it.

    In memory where the system can (Linux), so that keys touch no disk and a read-only root filesystem will
    do; else a file that only its owner may read, removed at once.
    """
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        descriptor, path, on_disk = os.memfd_create("reroll-pem"), "", False
        path = f"/proc/self/fd/{descriptor}"
    else:
        descriptor, path = tempfile.mkstemp(prefix="reroll-")  # mode 0600
        on_disk = True
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield path
    finally:
        if on_disk:
            os.unlink(path)


def _signature(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _reason(error: Exception) -> str:
    """OpenSSL's reason in words; never what it read."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).replace("_", " ").lower()
    return "it does not parse"
