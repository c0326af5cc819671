"""Exec credential plugins: a program that prints a token or a client certificate.

Run when there is nothing cached, when what is cached expires, and after the server refused it; one run at a
time, however many requests wait for it. The program runs beside the event loop, never in it.

Source: https://kubernetes.io/docs/reference/config-api/client-authentication.v1/ and
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
import structlog
from msgspec import Struct

from reroll.kube.auth import checked_token
from reroll.kube.config_error import ConfigError
from reroll.kube.kubeconfig import Entry, Exec, User
from reroll.kube.tls import Tls

log = structlog.get_logger("reroll.kube.exec_plugin")

CLUSTER_EXTENSION: Final = "client.authentication.k8s.io/exec"
"""The extension of a cluster whose content plugins get as ``spec.cluster.config``."""

_GROUP = "client.authentication.k8s.io"
_VERSIONS = (f"{_GROUP}/v1", f"{_GROUP}/v1beta1")
_MODES = ("Never", "IfAvailable", "Always")
_TIMEOUT = 60.0  # seconds for a program that nobody can talk to
_INTERACTIVE_TIMEOUT = 600.0  # seconds for a person to log in
_LEEWAY = 10.0  # seconds before it expires that a credential is replaced
_AT_MOST_EVERY = 1.0  # seconds: neither a short-lived answer nor a failing program makes a loop of runs
_JUST_RUN = 2.0  # seconds: requests refused with the credential before the last run don't each cause another
_KILL_WAIT = 5.0  # seconds for a killed program to be gone
_STDERR_LIMIT = 500  # characters of what a failed program said that go in the error


class _Status(Struct, frozen=True, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class _ExecCredential(Struct, frozen=True, rename="camel"):
    kind: str = ""
    api_version: str = ""
    status: _Status | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    authorization: str | None = field(repr=False)
    expires: float
    refresh_at: float


class ExecPlugin:
    """The plugin of one kubeconfig user, as an `Authorizer`; client certificates go to `tls`."""

    def __init__(
        self,
        user: Entry[User],
        spec: Exec,
        *,
        cluster: Mapping[str, Any],
        tls: Tls | None,
        environ: Mapping[str, str],
        clock: Callable[[], float] = time.time,
        has_terminal: Callable[[], bool] = lambda: sys.stdin is not None and sys.stdin.isatty(),
        timeout: float = _TIMEOUT,
    ) -> None:
        """Checks the fields; the program is not run yet, and may be installed later.

        `cluster`: ``spec.cluster`` of what the plugin is told, where it asks for that. `environ`: what the
        program inherits. `clock`: seconds since the epoch, for expirationTimestamp is such a time.
        Raises ConfigError that names the field.
        """
        self._where = f"{user.file}: {user.place}.exec"
        self._mode = _checked_mode(spec, self._where)
        self._spec = spec
        self._timeout = timeout
        self._tls = tls
        self._clock = clock
        self._has_terminal = has_terminal
        # A command with a slash is relative to its kubeconfig; others are found on PATH.
        self._command = user.path(spec.command) if "/" in spec.command else spec.command
        self._environ = {**environ, **{v.name: v.value for v in spec.env}}
        self._cluster = dict(cluster) if spec.provide_cluster_info else None
        self._lock = asyncio.Lock()
        self._answer: _Answer | None = None
        self._ran_at = float("-inf")
        self._failure: str | None = None

    async def authorization(self) -> str | None:
        answer = self._fresh()
        if answer is None:
            async with self._lock:
                answer = self._fresh() or await self._ask()
        return answer.authorization

    async def renew(self) -> bool:
        """Drops the credential, unless it is newer than a refused request can have used. Always True."""
        if self._clock() - self._ran_at >= _JUST_RUN:
            self._answer = None
        return True

    def _fresh(self) -> _Answer | None:
        answer = self._answer
        return answer if answer is not None and self._clock() < answer.refresh_at else None

    async def _ask(self) -> _Answer:
        if self._failure is not None and self._clock() - self._ran_at < _AT_MOST_EVERY:
            raise ConfigError(self._failure)  # the others who waited need not run into the same wall
        try:
            answer = self._accept(await self._run())
        except ConfigError as error:
            self._ran_at = self._clock()
            last = self._answer
            if last is not None and self._ran_at < last.expires:
                log.warning("exec plugin failed, keeping its last credential", problem=str(error))
                return last
            self._failure = str(error)
            raise
        self._failure = None
        self._answer = answer
        return answer

    def _accept(self, output: bytes) -> _Answer:
        status = self._decode(output)
        token = checked_token(status.token, f"{self._where}: status.token") if status.token else None
        certificate, key = status.client_certificate_data or "", status.client_key_data or ""
        if bool(certificate) != bool(key):
            absent = "clientKeyData" if certificate else "clientCertificateData"
            raise self._wrong(f"printed only half of a client certificate: status.{absent} is missing")
        if not token and not certificate:
            raise self._wrong("printed neither status.token nor status.clientCertificateData")
        if certificate and self._tls is not None:
            self._tls.present(self._where, certificate.encode(), key.encode())
        self._ran_at = now = self._clock()
        authorization = f"Bearer {token}" if token else None
        if status.expiration_timestamp is None:
            return _Answer(authorization, float("inf"), float("inf"))
        expires = status.expiration_timestamp.timestamp()
        # Ahead of time, yet not so much ahead that a short life is spent on running the program.
        early = min(_LEEWAY, (expires - now) / 10)
        return _Answer(authorization, expires, max(expires - early, now + _AT_MOST_EVERY))

    def _decode(self, output: bytes) -> _Status:
        try:
            credential = msgspec.json.decode(output, type=_ExecCredential)
        except msgspec.DecodeError as error:  # its messages name positions and types, never values
            raise self._wrong(f"printed no ExecCredential: {error}") from None
        if credential.kind != "ExecCredential":
            raise self._wrong(f'printed kind "{credential.kind}", expected ExecCredential')
        if credential.api_version != self._spec.api_version:
            raise self._wrong(
                f'printed apiVersion "{credential.api_version}", but {self._where}.apiVersion is'
                f" {self._spec.api_version}; set it to what this version of the plugin speaks"
            )
        if credential.status is None:
            raise self._wrong("printed an ExecCredential without status")
        return credential.status

    async def _run(self) -> bytes:
        """The program's standard output. Raises ConfigError where it can't be run or fails."""
        interactive = self._mode != "Never" and self._has_terminal()
        if self._mode == "Always" and not interactive:
            raise self._wrong("needs a terminal to ask a person (interactiveMode Always), and there is none")
        program = self._find()
        environ = {**self._environ, "KUBERNETES_EXEC_INFO": self._info(interactive)}
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *self._spec.args,
                # A person who is asked must see what is asked; else what the program says goes in the error.
                stdin=None if interactive else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=None if interactive else asyncio.subprocess.PIPE,
                env=environ,
                # Its own group, so that what it starts ends with it; a terminal belongs to one session only.
                start_new_session=not interactive,
            )
        except OSError as error:
            raise self._wrong(f"cannot be run: {error.strerror or error}") from None
        timeout = _INTERACTIVE_TIMEOUT if interactive else self._timeout
        try:
            async with asyncio.timeout(timeout):
                output, said = await process.communicate()
        except TimeoutError:
            raise self._wrong(f"gave no answer within {timeout:g} s") from None
        finally:
            if process.returncode is None:
                _kill(process, group=not interactive)
                # Bounded, for a daemon of its own session can hold the pipes open for ever.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_KILL_WAIT):
                        await process.wait()
        if process.returncode:
            raise self._wrong(f"{_ending(process.returncode)}{_last_words(said)}")
        return output

    def _find(self) -> str:
        program = shutil.which(self._command, path=self._environ.get("PATH", os.defpath))
        if program is None:
            if "/" in self._command and os.path.isfile(self._command):
                raise self._wrong("is not executable; set its mode with chmod +x")
            looked = "there is no such file" if "/" in self._command else "it is not on PATH"
            hint = f"\n{self._spec.install_hint.strip()}" if self._spec.install_hint.strip() else ""
            raise self._wrong(f"cannot be found: {looked}{hint}")
        return program

    def _info(self, interactive: bool) -> str:
        """KUBERNETES_EXEC_INFO: what the plugin is told."""
        spec: dict[str, Any] = {"interactive": interactive}
        if self._cluster is not None:
            spec["cluster"] = self._cluster
        info = {"apiVersion": self._spec.api_version, "kind": "ExecCredential", "spec": spec}
        return msgspec.json.encode(info).decode()

    def _wrong(self, problem: str) -> ConfigError:
        return ConfigError(f"{self._where}: {self._command} {problem}")


def _checked_mode(spec: Exec, where: str) -> str:
    """interactiveMode in force, once all fields are known to make sense."""
    if not spec.command:
        raise ConfigError(f"{where}.command: missing; name the program to run")
    if not spec.api_version:
        raise ConfigError(f"{where}.apiVersion: missing; set {_VERSIONS[0]}")
    if spec.api_version not in _VERSIONS:
        raise ConfigError(
            f'{where}.apiVersion: "{spec.api_version}" is not supported; known: {", ".join(_VERSIONS)}'
            " (a newer version of the plugin may speak one of them)"
        )
    for index, variable in enumerate(spec.env):
        if not variable.name or "=" in variable.name or "\0" in variable.name + variable.value:
            raise ConfigError(f"{where}.env[{index}].name: not the name of an environment variable")
    if not spec.interactive_mode:
        if spec.api_version == _VERSIONS[0]:
            raise ConfigError(f"{where}.interactiveMode: missing; v1 wants one of {', '.join(_MODES)}")
        return "IfAvailable"
    if spec.interactive_mode not in _MODES:
        raise ConfigError(
            f'{where}.interactiveMode: "{spec.interactive_mode}" is unknown; known: {", ".join(_MODES)}'
        )
    return spec.interactive_mode


def _kill(process: asyncio.subprocess.Process, *, group: bool) -> None:
    with suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _ending(code: int) -> str:
    return f"failed with exit code {code}" if code > 0 else f"was ended by signal {-code}"


def _last_words(said: bytes | None) -> str:
    text = (said or b"").decode("utf-8", errors="replace").strip()
    if not text:
        return ""
    return f": {text}" if len(text) <= _STDERR_LIMIT else f": ...{text[-_STDERR_LIMIT:]}"
