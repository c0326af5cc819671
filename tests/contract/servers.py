"""How the contract tests speak to a server, the sandbox or the real one, and make two answers comparable."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection, HTTPSConnection
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from reroll.kube.config import load_config

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    code: int
    body: Any
    headers: Json

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", "")) if isinstance(self.body, dict) else ""


@dataclass
class Server:
    """One of the two, and a namespace on it of the test's own."""

    name: str
    kubeconfig: Path
    kubectl_path: str
    cache: Path
    namespace: str = ""
    made: list[str] = field(default_factory=list)

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        token: str | None = None,
    ) -> Answer:
        """One request; `body` is sent as JSON unless it is bytes. The segment NS of the path is the namespace."""
        return await asyncio.to_thread(self.ask, method, path, body, content_type, accept, token)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        token: str | None = None,
    ) -> Answer:
        """The same where there is no event loop."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        headers = {"Accept": accept} | ({"Content-Type": content_type} if data is not None else {})
        with self._connected(token) as (connection, prefix, credentials):
            connection.request(
                method, prefix + path.replace("/NS", f"/{self.namespace}", 1), data, headers | credentials
            )
            answer = connection.getresponse()
            text = answer.read().decode()
            content = json.loads(text) if "json" in answer.headers["Content-Type"] else text
            return Answer(answer.status, content, dict(answer.headers))

    @contextmanager
    def _connected(self, token: str | None = None) -> Iterator[tuple[HTTPConnection, str, dict[str, str]]]:
        """A connection of its own, closed at the end; what paths begin with; and the credentials."""
        address, context, headers = _access(self.kubeconfig)
        parts = urlsplit(address)
        prefix, credentials = parts.path, dict(headers)
        if token is not None:
            # Without the client's certificate, and without the address of the sandbox that holds the token.
            context, prefix = context and ssl._create_unverified_context(), ""
            credentials["Authorization"] = f"Bearer {token}"
        assert parts.hostname
        connection = (
            HTTPSConnection(parts.hostname, parts.port, timeout=30, context=context)
            if context is not None
            else HTTPConnection(parts.hostname, parts.port, timeout=30)
        )
        with closing(connection):
            yield connection, prefix, credentials

    @property
    def minor(self) -> int:
        """36 of Kubernetes 1.36.3: what a case asks where the versions differ."""
        return int(self.ask("GET", "/version").body["minor"].rstrip("+"))

    async def until(self, path: str, code: int) -> None:
        """Ask until the answer has this code."""
        async with asyncio.timeout(60):
            while (await self.request("GET", path)).code != code:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)

    async def watch(self, path: str, count: int, *, accept: str = "application/json") -> list[Json]:
        """The first `count` events of a watch, or all where it ends earlier."""

        def look() -> list[Json]:
            with self._connected() as (connection, prefix, credentials):
                connection.request(
                    "GET",
                    prefix + path.replace("/NS", f"/{self.namespace}", 1),
                    headers={"Accept": accept} | credentials,
                )
                answer = connection.getresponse()
                if answer.status != 200:
                    return [{"type": "HTTP", "object": json.loads(answer.read())}]
                return [json.loads(line) for line in islice(answer, count)]

        return await asyncio.to_thread(look)

    def kubectl(self, *arguments: str, input: str = "", editor: str = "", seconds: float = 60) -> str:
        """Run kubectl in the namespace. Returns stdout and stderr together, with the exit code where it is not 0."""
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.cache),
            "KUBE_EDITOR": editor or "false",
        }
        command = [self.kubectl_path, "--namespace", self.namespace, *arguments]
        done = subprocess.run(
            command,
            input=input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            timeout=seconds,
        )
        return done.stdout + (f"exit {done.returncode}\n" if done.returncode else "")

    def fresh(self) -> Server:
        """The same server with a new namespace."""
        name = f"contract-{uuid.uuid4().hex[:8]}"
        server = Server(self.name, self.kubeconfig, self.kubectl_path, self.cache, name, self.made)
        self.made.append(name)
        assert server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}}).code == 201
        # What each namespace begins with is made by controllers, and must not come in the middle of a test.
        for what in ("configmaps/kube-root-ca.crt", "serviceaccounts/default"):
            while server.ask("GET", f"/api/v1/namespaces/NS/{what}").code == 404:
                time.sleep(0.02)
        return server

    def end(self) -> None:
        """Delete the namespaces that were made."""
        # Not by kubectl, which sends five requests a second.
        for name in self.made:
            self.ask("DELETE", f"/api/v1/namespaces/{name}")


@cache
def _access(kubeconfig: Path) -> tuple[str, ssl.SSLContext | None, Json]:
    """(address, TLS, headers) of a server: read once, for each request of a case has a connection of its own."""
    config = load_config(kubeconfig=str(kubeconfig))
    return config.server, config.ssl_context(), dict(asyncio.run(config.credentials.headers()))


_VOLATILE = {
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "time",
    "selfLink",
    "deletionTimestamp",
    "lastTransitionTime",
    "lastUpdateTime",
}


def normal(value: Any, server: Server) -> Any:
    """A value without what differs from run to run: times, uids, versions, the name of the namespace."""
    if isinstance(value, dict):
        return {
            key: "<set>" if key in _VOLATILE and inner else normal(inner, server)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [normal(inner, server) for inner in value]
    if isinstance(value, str):
        return words(value, server)
    return value


_WORDS: tuple[tuple[str, str], ...] = (
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uid>"),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\b\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "<time>"),
    (r"(?<=\s)(\d+[smhd])+(?=\s)", "<age>"),
    (r"\b([a-z]+)-[a-z0-9]{8,10}-[a-z0-9]{5}\b", r"\1-<hash>-<id>"),
    (r"\b([a-z]+)-[bcdfghjklmnpqrstvwxz0-9]{8,10}\b", r"\1-<hash>"),
    (r"pod-template-hash=\w+", "pod-template-hash=<hash>"),
    (r"resource version: \d+ \(\d+\)", "resource version: <n> (<n>)"),
    (r"[ \t]+", " "),
)


def words(text: str, server: Server) -> str:
    """A text without what differs from run to run."""
    text = text.replace(server.namespace, "<namespace>")
    for pattern, replacement in _WORDS:
        text = re.sub(pattern, replacement, text)
    return text


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Where two values differ, a line each: the place, what the sandbox has, and what the real server has."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            line
            for key in dict.fromkeys([*ours, *theirs])
            for line in differences(ours.get(key, "<none>"), theirs.get(key, "<none>"), f"{path}.{key}")
        ]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [line for n, (one, other) in pairs for line in differences(one, other, f"{path}[{n}]")]
    return [] if ours == theirs else [f"{path}: {ours} | {theirs}"]
