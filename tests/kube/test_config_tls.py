"""TLS with real certificates against a real server on loopback: trust, client certificates, rotation."""

from __future__ import annotations

import asyncio
import base64
import datetime
import functools
import ipaddress
import json
import os
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reroll.kube.auth import REREAD_AFTER, Fixed, UserCredentials
from reroll.kube.config import ClusterConfig, ConfigError, load_config
from reroll.kube.exec_plugin import ExecPlugin
from reroll.kube.tls import Pem, Tls


@dataclass(frozen=True)
class Pair:
    certificate: bytes
    key: bytes


class Authority:
    """A certificate authority as many clusters have it: without key identifiers and key usage, which the
    strict mode of Python 3.13 refuses."""

    def __init__(self, name: str, parent: Authority | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(name)
        issuer = parent or self
        self.built = (
            _builder(self.name, issuer.name, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(issuer.key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self.built.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, *, hosts: tuple[str, ...] = (), password: bytes | None = None) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self.name, key)
        if hosts:
            names: list[x509.GeneralName] = []
            for host in hosts:
                if host[0].isdigit():
                    names.append(x509.IPAddress(ipaddress.ip_address(host)))
                else:
                    names.append(x509.DNSName(host))
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            encryption = serialization.BestAvailableEncryption(password)
        return Pair(
            builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, encryption
            ),
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("cluster authority")


@pytest.fixture(scope="module")
def server_pair(authority: Authority) -> Pair:
    return authority.issue("apiserver", hosts=("127.0.0.1", "inside.example"))


@pytest.fixture
async def server(authority: Authority, server_pair: Pair, tmp_path: Path) -> AsyncIterator[TestServer]:
    """Answers with the name in the client's certificate and the Authorization header; takes any client."""

    async def whoami(request: web.Request) -> web.Response:
        assert request.transport is not None
        shown = request.transport.get_extra_info("peercert") or {}
        names = [value for part in shown.get("subject", ()) for field, value in part if field == "commonName"]
        return web.json_response(
            {"certificate": names[0] if names else None, "token": request.headers.get("Authorization")}
        )

    app = web.Application()
    app.router.add_get("/whoami", whoami)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "server.crt").write_bytes(server_pair.certificate)
    (tmp_path / "server.key").write_bytes(server_pair.key)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    context.load_verify_locations(cadata=authority.pem.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    test_server = TestServer(app, host="127.0.0.1", scheme="https")
    await test_server.start_server(ssl=context)
    yield test_server
    await test_server.close()


async def whoami(config: ClusterConfig) -> dict[str, str | None]:
    """One request on a new connection, in the order that a client has to keep: headers first, for a plugin
    that is run for them may bring the certificate to connect with."""
    headers = await config.credentials.headers()
    context = config.ssl_context()
    assert context is not None
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.get(
            f"{config.server}/whoami",
            headers=headers,
            server_hostname=config.tls_server_name,
        ) as response,
    ):
        answer: dict[str, str | None] = await response.json()
        return answer


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def kubeconfig(directory: Path, server: str, cluster: dict[str, Any], user: dict[str, Any]) -> str:
    content = {
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = directory / "config"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def url(server: TestServer) -> str:
    return f"https://127.0.0.1:{server.port}"


class TestTrust:
    async def test_the_authority_as_data_and_as_file(
        self, tmp_path: Path, server: TestServer, authority: Authority
    ) -> None:
        (tmp_path / "ca.crt").write_bytes(authority.pem)
        for cluster in (
            {"certificate-authority-data": b64(authority.pem)},
            {"certificate-authority": "ca.crt"},
            {"certificate-authority": "/not/read", "certificate-authority-data": b64(authority.pem)},
        ):
            config = load_config(kubeconfig=kubeconfig(tmp_path, url(server), cluster, {"token": "t"}))
            assert await whoami(config) == {"certificate": None, "token": "Bearer t"}

    async def test_a_server_of_another_authority_is_refused(self, tmp_path: Path, server: TestServer) -> None:
        other = {"certificate-authority-data": b64(Authority("other").pem)}
        for cluster in ({}, other):
            config = load_config(kubeconfig=kubeconfig(tmp_path, url(server), cluster, {}))
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await whoami(config)

    async def test_insecure_takes_any_server(self, tmp_path: Path, server: TestServer) -> None:
        path = kubeconfig(
            tmp_path, f"https://localhost:{server.port}", {"insecure-skip-tls-verify": True}, {}
        )
        assert await whoami(load_config(kubeconfig=path)) == {"certificate": None, "token": None}

    async def test_tls_server_name_is_what_the_certificate_must_hold(
        self, tmp_path: Path, server: TestServer, authority: Authority
    ) -> None:
        ca = {"certificate-authority-data": b64(authority.pem)}
        for name, trusted in (("inside.example", True), ("other.example", False)):
            path = kubeconfig(tmp_path, url(server), {**ca, "tls-server-name": name}, {})
            config = load_config(kubeconfig=path)
            assert config.tls_server_name == name
            if trusted:
                assert await whoami(config) == {"certificate": None, "token": None}
            else:
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await whoami(config)

    async def test_trust_may_begin_at_an_authority_that_is_no_root(
        self, tmp_path: Path, authority: Authority
    ) -> None:
        between = Authority("between", authority)
        pair = between.issue("apiserver", hosts=("127.0.0.1",))
        client = Tls(ca=Pem("c", data=between.pem)).ssl_context()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (tmp_path / "both.pem").write_bytes(pair.certificate + pair.key)
        server.load_cert_chain(tmp_path / "both.pem")
        assert handshake(client, server, "127.0.0.1")

    def test_strict_checks_of_newer_pythons_are_off(self, authority: Authority) -> None:
        context = Tls(ca=Pem("c", data=authority.pem)).ssl_context()
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname is True


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> bool:
    """A TLS handshake in memory; raises ssl.SSLError where it fails."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        waiting = []
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting.append(end)
        if not waiting:
            return True
    return False


class TestClientCertificate:
    async def test_from_data_and_from_files(
        self, tmp_path: Path, server: TestServer, authority: Authority
    ) -> None:
        pair = authority.issue("ann")
        (tmp_path / "pki").mkdir()
        (tmp_path / "pki/ann.crt").write_bytes(pair.certificate)
        (tmp_path / "pki/ann.key").write_bytes(pair.key)
        ca = {"certificate-authority-data": b64(authority.pem)}
        for user in (
            {"client-certificate-data": b64(pair.certificate), "client-key-data": b64(pair.key)},
            {"client-certificate": "pki/ann.crt", "client-key": "pki/ann.key"},
            {"client-certificate": "pki/ann.crt", "client-key-data": b64(pair.key)},
        ):
            config = load_config(kubeconfig=kubeconfig(tmp_path, url(server), ca, user))
            assert await whoami(config) == {"certificate": "ann", "token": None}

    async def test_a_given_token_leaves_it_out(
        self, tmp_path: Path, server: TestServer, authority: Authority
    ) -> None:
        pair = authority.issue("ann")
        user = {"client-certificate-data": b64(pair.certificate), "client-key-data": b64(pair.key)}
        ca = {"certificate-authority-data": b64(authority.pem)}
        config = load_config(kubeconfig=kubeconfig(tmp_path, url(server), ca, user), token="t")
        assert await whoami(config) == {"certificate": None, "token": "Bearer t"}

    async def test_without_files_in_memory_a_private_file_is_removed_at_once(
        self,
        tmp_path: Path,
        server: TestServer,
        authority: Authority,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        seen: list[int] = []
        real = tempfile.mkstemp

        def mkstemp(prefix: str) -> tuple[int, str]:
            descriptor, path = real(prefix=prefix, dir=tmp_path / "keys")
            seen.append(os.stat(path).st_mode & 0o777)
            return descriptor, path

        (tmp_path / "keys").mkdir()
        monkeypatch.delattr(os, "memfd_create")
        monkeypatch.setattr(tempfile, "mkstemp", mkstemp)
        pair = authority.issue("ann")
        user = {"client-certificate-data": b64(pair.certificate), "client-key-data": b64(pair.key)}
        ca = {"certificate-authority-data": b64(authority.pem)}
        config = load_config(kubeconfig=kubeconfig(tmp_path, url(server), ca, user))
        assert await whoami(config) == {"certificate": "ann", "token": None}
        assert set(seen) == {0o600}
        assert list((tmp_path / "keys").iterdir()) == []

    def test_the_key_of_another_certificate(self, tmp_path: Path, authority: Authority) -> None:
        ann, bob = authority.issue("ann"), authority.issue("bob")
        user = {"client-certificate-data": b64(ann.certificate), "client-key-data": b64(bob.key)}
        path = kubeconfig(tmp_path, "https://h", {}, user)
        with pytest.raises(ConfigError) as caught:
            load_config(kubeconfig=path)
        assert str(caught.value) == (
            f"{path}: users[0].user.client-key-data: not the key of the certificate in"
            f" {path}: users[0].user.client-certificate-data"
        )

    def test_an_encrypted_key_does_not_ask_on_the_terminal(
        self, tmp_path: Path, authority: Authority
    ) -> None:
        pair = authority.issue("ann", password=b"pass")
        user = {"client-certificate-data": b64(pair.certificate), "client-key-data": b64(pair.key)}
        path = kubeconfig(tmp_path, "https://h", {}, user)
        with pytest.raises(ConfigError, match=r"client-key-data: the private key is encrypted"):
            load_config(kubeconfig=path)

    def test_a_broken_pair(self, tmp_path: Path, authority: Authority) -> None:
        pair = authority.issue("ann")
        broken = b"\n".join(pair.certificate.splitlines()[:3]) + b"\n"
        user = {"client-certificate-data": b64(broken), "client-key-data": b64(pair.key)}
        with pytest.raises(ConfigError, match="not a usable client certificate and key: "):
            load_config(kubeconfig=kubeconfig(tmp_path, "https://h", {}, user))

    def test_no_repr_shows_the_key(self, authority: Authority) -> None:
        pair = authority.issue("ann")
        tls = Tls(certificate=Pem("c", data=pair.certificate), key=Pem("k", data=pair.key))
        line = pair.key.splitlines()[1].decode()
        assert line in pair.key.decode()
        assert line not in repr(tls) + repr(Pem("k", data=pair.key)) + repr(ClusterConfig(server="", tls=tls))


class TestRotation:
    async def test_files_are_looked_at_each_minute_and_after_a_refusal(
        self, tmp_path: Path, server: TestServer, authority: Authority
    ) -> None:
        now = [1000.0]
        certificate, key = tmp_path / "a.crt", tmp_path / "a.key"

        def rotate(name: str) -> None:
            pair = authority.issue(name)
            for path, content in ((certificate, pair.certificate), (key, pair.key)):
                path.with_suffix(".new").write_bytes(content)
                path.with_suffix(".new").rename(path)

        rotate("one")
        tls = Tls(
            ca=Pem("ca", data=authority.pem),
            certificate=Pem("crt", path=str(certificate)),
            key=Pem("key", path=str(key)),
        )
        credentials = UserCredentials(Fixed(), tls=tls, clock=lambda: now[0])
        config = ClusterConfig(server=url(server), credentials=credentials, tls=tls)
        assert (await whoami(config))["certificate"] == "one"
        rotate("two")
        assert (await whoami(config))["certificate"] == "one"
        assert credentials.certificate_generation == 0
        now[0] += REREAD_AFTER
        assert (await whoami(config))["certificate"] == "two"
        assert credentials.certificate_generation == 1
        assert await credentials.renew() is False
        rotate("three")
        assert await credentials.renew() is True
        assert credentials.certificate_generation == 2
        assert (await whoami(config))["certificate"] == "three"

    def test_half_a_rotation_keeps_the_last_pair_until_it_is_whole(
        self, tmp_path: Path, authority: Authority
    ) -> None:
        certificate, key = tmp_path / "a.crt", tmp_path / "a.key"
        one, two = authority.issue("one"), authority.issue("two")
        certificate.write_bytes(one.certificate)
        key.write_bytes(one.key)
        tls = Tls(certificate=Pem("crt", path=str(certificate)), key=Pem("key", path=str(key)))
        (tmp_path / "new").write_bytes(two.certificate)
        (tmp_path / "new").rename(certificate)
        assert tls.reload() is False
        assert tls.generation == 0
        tls.ssl_context()
        (tmp_path / "new").write_bytes(two.key)
        (tmp_path / "new").rename(key)
        assert tls.reload() is True
        assert tls.generation == 1

    def test_a_file_written_anew_with_the_same_content_changes_nothing(
        self, tmp_path: Path, authority: Authority
    ) -> None:
        (tmp_path / "ca").write_bytes(authority.pem)
        tls = Tls(ca=Pem("ca", path=str(tmp_path / "ca")))
        (tmp_path / "new").write_bytes(authority.pem)
        (tmp_path / "new").rename(tmp_path / "ca")
        assert tls.reload() is False
        assert tls.generation == 0

    async def test_a_new_authority_is_trusted(
        self, tmp_path: Path, server: TestServer, authority: Authority
    ) -> None:
        (tmp_path / "ca").write_bytes(Authority("old").pem)
        tls = Tls(ca=Pem("ca", path=str(tmp_path / "ca")))
        config = ClusterConfig(server=url(server), tls=tls)
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await whoami(config)
        (tmp_path / "new").write_bytes(authority.pem)
        (tmp_path / "new").rename(tmp_path / "ca")
        assert tls.reload() is True
        assert await whoami(config) == {"certificate": None, "token": None}


class TestExecPlugin:
    def kubeconfig(self, tmp_path: Path, server: str, authority: Authority, body: str, **more: Any) -> str:
        command = tmp_path / "plugin"
        command.write_text(
            f"#!{sys.executable}\nimport json, os\n"
            f"info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n{body}\n"
            "print(json.dumps({**info, 'status': status}))\n"
        )
        command.chmod(0o755)
        version = "client.authentication.k8s.io/v1"
        spec = {"command": "./plugin", "apiVersion": version, "interactiveMode": "Never", **more}
        ca = {"certificate-authority-data": b64(authority.pem)}
        return kubeconfig(tmp_path, server, ca, {"exec": spec})

    async def test_its_client_certificate_is_used_and_rotated(
        self, tmp_path: Path, server: TestServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = tmp_path / "answer"

        def rotate(name: str) -> None:
            pair = authority.issue(name)
            answer.write_text(
                json.dumps(
                    {
                        "clientCertificateData": pair.certificate.decode(),
                        "clientKeyData": pair.key.decode(),
                        "expirationTimestamp": "2001-01-01T00:00:00Z",
                    }
                )
            )

        rotate("one")
        # Expired as it comes, so that it is asked again as often as a plugin ever is: once a second.
        now = [1_800_000_000.0]
        timed = functools.partial(ExecPlugin, clock=lambda: now[0])
        monkeypatch.setattr("reroll.kube.config.ExecPlugin", timed)
        body = f"status = json.load(open({str(answer)!r}))"
        config = load_config(kubeconfig=self.kubeconfig(tmp_path, url(server), authority, body))
        assert config.credentials.certificate_generation == 0
        assert await whoami(config) == {"certificate": "one", "token": None}
        assert config.credentials.certificate_generation == 1
        now[0] += 5
        assert await whoami(config) == {"certificate": "one", "token": None}
        assert config.credentials.certificate_generation == 1
        rotate("two")
        now[0] += 5
        assert await whoami(config) == {"certificate": "two", "token": None}
        assert config.credentials.certificate_generation == 2

    async def test_a_certificate_and_a_token_together(
        self, tmp_path: Path, server: TestServer, authority: Authority
    ) -> None:
        pair = authority.issue("ann")
        body = (
            f"status = {{'token': 't', 'clientCertificateData': {pair.certificate.decode()!r},"
            f" 'clientKeyData': {pair.key.decode()!r}}}"
        )
        config = load_config(kubeconfig=self.kubeconfig(tmp_path, url(server), authority, body))
        assert await whoami(config) == {"certificate": "ann", "token": "Bearer t"}

    async def test_a_pair_that_is_none_is_named(self, tmp_path: Path, authority: Authority) -> None:
        ann, bob = authority.issue("ann"), authority.issue("bob")
        body = (
            f"status = {{'clientCertificateData': {ann.certificate.decode()!r},"
            f" 'clientKeyData': {bob.key.decode()!r}}}"
        )
        path = self.kubeconfig(tmp_path, "https://h", authority, body)
        config = load_config(kubeconfig=path)
        with pytest.raises(ConfigError, match=r"exec: clientKeyData: not the key of the certificate in"):
            await config.credentials.headers()
        assert config.credentials.certificate_generation == 0

    async def test_it_is_told_the_authority(self, tmp_path: Path, authority: Authority) -> None:
        body = "status = {'token': info['spec']['cluster']['certificate-authority-data']}"
        path = self.kubeconfig(tmp_path, "https://h", authority, body, provideClusterInfo=True)
        headers = await load_config(kubeconfig=path).credentials.headers()
        assert headers["Authorization"] == f"Bearer {b64(authority.pem)}"


class TestInCluster:
    def pod(self, tmp_path: Path, authority: Authority, **environ: str) -> ClusterConfig:
        directory = tmp_path / "sa"
        directory.mkdir(exist_ok=True)
        (directory / "token").write_text("pod-token\n")
        (directory / "namespace").write_text("shop\n")
        (directory / "ca.crt").write_bytes(authority.pem)
        return load_config(
            environ={
                "HOME": str(tmp_path),
                "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                "KUBERNETES_SERVICE_PORT": "443",
                **environ,
            },
            service_account_directory=str(directory),
        )

    async def test_the_service_account_reaches_the_server(
        self, tmp_path: Path, server: TestServer, authority: Authority
    ) -> None:
        config = self.pod(tmp_path, authority, KUBERNETES_SERVICE_PORT=str(server.port))
        assert await whoami(config) == {"certificate": None, "token": "Bearer pod-token"}
        assert config.in_cluster is True
        assert config.namespace == "shop"
        assert config.origin == "the service account of this pod"
        (tmp_path / "sa/token").write_text("renewed")
        assert await config.credentials.renew() is True
        assert await whoami(config) == {"certificate": None, "token": "Bearer renewed"}

    @pytest.mark.parametrize("host", ["fd00::1", "[fd00::1]"])
    def test_an_ipv6_host_stands_in_brackets(self, tmp_path: Path, authority: Authority, host: str) -> None:
        config = self.pod(tmp_path, authority, KUBERNETES_SERVICE_HOST=host)
        assert config.server == "https://[fd00::1]:443"

    def test_the_namespace(self, tmp_path: Path, authority: Authority) -> None:
        assert self.pod(tmp_path, authority, POD_NAMESPACE="from-downward").namespace == "from-downward"

    def test_the_proxy_of_the_environment(self, tmp_path: Path, authority: Authority) -> None:
        environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HTTPS_PROXY": "http://proxy:1"}
        assert self.pod(tmp_path, authority, **environ).proxy == "http://proxy:1"
        assert self.pod(tmp_path, authority, **environ, NO_PROXY="10.0.0.0/8").proxy is None

    def test_a_kubeconfig_without_a_current_context_leaves_it_to_the_pod(
        self, tmp_path: Path, authority: Authority
    ) -> None:
        path = kubeconfig(tmp_path, "https://h", {}, {})
        content = yaml.safe_load(Path(path).read_text())
        del content["current-context"]
        Path(path).write_text(yaml.safe_dump(content))
        assert self.pod(tmp_path, authority, KUBECONFIG=path).in_cluster is True

    async def test_what_the_command_line_says_counts_here_too(
        self, tmp_path: Path, authority: Authority
    ) -> None:
        self.pod(tmp_path, authority)
        config = load_config(
            token="mine",
            impersonate_user="bob",
            environ={"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "1", "HOME": str(tmp_path)},
            service_account_directory=str(tmp_path / "sa"),
        )
        assert dict(await config.credentials.headers()) == {
            "Authorization": "Bearer mine",
            "Impersonate-User": "bob",
        }


async def test_a_request_takes_the_chosen_proxy(
    tmp_path: Path, server: TestServer, authority: Authority
) -> None:
    """CONNECT through a real proxy on loopback, then TLS end to end with the API server."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head.splitlines()[0])
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    ca = {"certificate-authority-data": b64(authority.pem), "proxy-url": f"http://127.0.0.1:{port}"}
    config = load_config(kubeconfig=kubeconfig(tmp_path, url(server), ca, {"token": "t"}))
    context = config.ssl_context()
    assert context is not None
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), proxy=config.proxy) as session,
        session.get(f"{config.server}/whoami", headers=await config.credentials.headers()) as response,
    ):
        assert (await response.json())["token"] == "Bearer t"
    assert asked == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"]
    proxy.close()
    await proxy.wait_closed()
