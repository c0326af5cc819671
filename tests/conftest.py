"""Fixtures for tests on a real API server: `cluster`, `namespace` and `kubectl`; and `service`, a web server.

One control plane serves the whole session. It's the project's own (devcluster/, built before the first
test and thrown away after the last), unless `--kubeconfig`, `--context`, REROLL_TEST_KUBECONFIG or
KUBECONFIG names another; KUBEBUILDER_ASSETS replaces etcd and the API server of our own by the binaries
there. A test that uses one of the fixtures gets the mark `cluster`. Where there's no Go these tests are
skipped, and with REROLL_REQUIRE_CLUSTER=1 they fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from tests.alerts.service import Service

CLUSTER_PY = Path(__file__).resolve().parent.parent / "devcluster" / "cluster.py"
# The exit code of cluster.py when there is no Go, or one too old.
NO_GO = 3
STOP_SECONDS = 30
LONGEST = (
    "tests/stateful/test_at_rest.py",
    "tests/interleavings/test_people.py",
    "tests/interleavings/test_faults.py",
    "tests/controller/test_what_runs.py",
    "tests/manifests/test_recipes.py",
    "tests/insight/test_simulate_real.py",
    "tests/contract/test_rollouts.py",
    "tests/demo/test_demo.py",
    "tests/deploy/test_install.py",
    "tests/cli/test_generate_cluster.py",
    "tests/core/test_decide.py",
)
"""Files whose tests take longest, in this order: one that came last would leave the other processes idle."""
BUILD_CODE = pytest.StashKey[int]()


@dataclass(frozen=True)
class Cluster:
    """How to reach the API server of the session.

    Our own has tokens, by user: `admin`, `reroll` and `peer` may do anything, `nobody` nothing; and an
    audit log. With another cluster both are missing, and a test that needs them skips by
    `requests_of`, or asks for `tokens` itself.
    """

    kubeconfig: Path
    server: str
    kubectl: Path
    audit_log: Path | None = None
    ca: Path | None = None
    tokens: dict[str, str] = field(default_factory=dict)

    def requests_of(self, user: str) -> list[dict[str, Any]]:
        """The audit events of one user, in order: `verb`, `requestURI`, `objectRef`, `responseStatus`, ...

        A watch that goes on has one with stage ResponseStarted, one that ended two; every other request
        has exactly one, ResponseComplete.
        """
        if self.audit_log is None:
            pytest.skip("counts requests by the audit log, and the cluster of the environment shows none")
        events = [json.loads(line) for line in self.audit_log.read_text().splitlines()]
        return [event for event in events if event["user"].get("username") == user]


class Kubectl(Protocol):
    """Runs kubectl on the cluster of the session and returns its stdout.

    `input` is its stdin. A failure raises an AssertionError with its stderr, unless `check` is False.
    """

    def __call__(self, *arguments: str, input: str | None = None, check: bool = True) -> str: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two flags by which the tests use a cluster that's there."""
    group = parser.getgroup("cluster", "the cluster of the tests")
    group.addoption("--kubeconfig", help="use the cluster of this kubeconfig, not one of our own")
    group.addoption("--context", help="use this context of the kubeconfig")


def pytest_configure() -> None:
    """Say that there's no event loop, so that none is made by who only asks.

    looptime asks before each test, async or not, and copes with the answer; but Python 3.12 and 3.13 answer
    a first question with a warning and a new loop, which nobody closes.
    """
    asyncio.set_event_loop(None)


def pytest_report_header(config: pytest.Config) -> str:
    """Name the cluster before anything is created on it."""
    if environment := _cluster_of_the_environment(config):
        return f"cluster: {environment}"
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    version = f", Kubernetes {os.environ['K8S']}" if os.environ.get("K8S") else ""
    programs = f" with etcd and kube-apiserver of {assets}" if assets else ""
    return f"cluster: our own (devcluster/){version}{programs}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the cluster, so that `-m 'not cluster'` leaves it out; and begin with the longest files."""
    for item in items:
        if _uses_cluster(item):
            item.add_marker("cluster")
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the control plane, if a test needs it: here, where progress is seen and no test's timeout runs."""
    config = session.config
    if config.option.collectonly or _cluster_of_the_environment(config):
        return
    if any(_uses_cluster(item) for item in session.items):
        # Ctrl-C reaches the build as it reaches us; should we be killed, it notices that.
        command = [sys.executable, str(CLUSTER_PY), "build", "--with-parent"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        config.stash[BUILD_CODE] = done.returncode


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The control plane of this session."""
    if environment := _cluster_of_the_environment(pytestconfig):
        yield _environments_cluster(pytestconfig, environment, tmp_path_factory.mktemp("cluster"))
        return
    if pytestconfig.stash.get(BUILD_CODE, 0) not in (0, NO_GO):
        pytest.fail("the control plane could not be built: why stands before the first test", pytrace=False)
    errors = tmp_path_factory.mktemp("devcluster") / "stderr"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, CLUSTER_PY, "run", "--until-stdin-closes"],
            # Closed by our end, however it comes; that's what stops the control plane.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            # Ctrl-C ends the tests first, which still clean up on it, and then the control plane.
            start_new_session=True,
        )
    assert process.stdin
    assert process.stdout
    with process.stdin, process.stdout:
        line = process.stdout.readline()
        if not line:
            code, reason = process.wait(), errors.read_text().strip()
            if code == NO_GO and os.environ.get("REROLL_REQUIRE_CLUSTER") != "1":
                pytest.skip(f"{reason}; or set KUBECONFIG")
            pytest.fail(f"the control plane did not start: {reason}", pytrace=False)
        ready = json.loads(line)
        yield Cluster(
            kubeconfig=Path(ready["kubeconfig"]),
            server=ready["server"],
            kubectl=Path(ready["kubectl"]),
            audit_log=Path(ready["audit_log"]),
            ca=Path(ready["ca"]),
            tokens=ready["tokens"],
        )
        died = process.poll() is not None
        # A dead control plane has closed its end of the pipe, and closing ours then has nothing to say.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait(STOP_SECONDS)
    if died:
        pytest.fail(f"the control plane ended under the tests: {errors.read_text().strip()}", pytrace=False)


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """kubectl of the cluster's version, on this cluster; see Kubectl."""
    environment = os.environ | {
        "KUBECONFIG": str(cluster.kubeconfig),
        "KUBECACHEDIR": str(tmp_path_factory.mktemp("kubectl")),
    }

    def run(*arguments: str, input: str | None = None, check: bool = True) -> str:
        command = [str(cluster.kubectl), *arguments]
        done = subprocess.run(command, input=input or "", capture_output=True, text=True, env=environment)
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}"
        return done.stdout

    return run


@pytest.fixture
def namespace(cluster: Cluster, kubectl: Kubectl) -> Iterator[str]:
    """A new namespace with a name of its own; its deletion goes on in the background afterwards."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    namespaces = f"{cluster.server}/api/v1/namespaces"
    # A request of a few milliseconds on our own cluster, for most tests of the project pass here; on
    # another kubectl knows how to log in.
    if cluster.tokens:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        _request(cluster, "POST", namespaces, manifest)
    else:
        kubectl("create", "namespace", name)
    yield name
    if cluster.tokens:
        _request(cluster, "DELETE", f"{namespaces}/{name}")
    else:
        kubectl("delete", "namespace", name, "--wait=false")


def _request(cluster: Cluster, method: str, url: str, content: dict[str, Any] | None = None) -> None:
    headers = {"Authorization": f"Bearer {cluster.tokens['admin']}", "Content-Type": "application/json"}
    body = json.dumps(content).encode() if content else None
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    # An opener without a proxy: the server is on loopback, whatever the environment says.
    context = ssl.create_default_context(cafile=cluster.ca)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    with opener.open(request, timeout=30) as answer:
        answer.read()


def _uses_cluster(item: pytest.Item) -> bool:
    return "cluster" in getattr(item, "fixturenames", ())


def _cluster_of_the_environment(config: pytest.Config) -> str:
    """Where the cluster to use comes from, in words; empty when the tests start one of their own."""
    context = f", context {config.option.context}" if config.option.context else ""
    if config.option.kubeconfig:
        return f"--kubeconfig {config.option.kubeconfig}{context}"
    for name in ("REROLL_TEST_KUBECONFIG", "KUBECONFIG"):
        if os.environ.get(name):
            return f"{name}={os.environ[name]}{context}"
    return f"the usual kubeconfig{context}" if context else ""


def _environments_cluster(config: pytest.Config, environment: str, directory: Path) -> Cluster:
    """The cluster of the environment, with a kubeconfig of its own that says no more than this one."""
    kubectl = shutil.which("kubectl")
    if built := subprocess.run(
        [sys.executable, CLUSTER_PY, "build", "--find"], capture_output=True, text=True
    ).stdout.strip():
        kubectl = f"{built}/kubectl"
    if kubectl is None:
        pytest.fail(f"{environment}: the tests on it need kubectl on PATH", pytrace=False)
    source = config.option.kubeconfig or os.environ.get("REROLL_TEST_KUBECONFIG")
    command = [kubectl, "config", "view", "--raw", "--minify", "--flatten", "--output=json"]
    command += [f"--context={config.option.context}"] if config.option.context else []
    variables = os.environ | ({"KUBECONFIG": source} if source else {})
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    if done.returncode:
        pytest.fail(f"{environment}: {done.stderr.strip()}", pytrace=False)
    path = directory / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(done.stdout)
    server = json.loads(done.stdout)["clusters"][0]["cluster"]["server"]
    return Cluster(kubeconfig=path, server=server, kubectl=Path(kubectl))


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A web server of somebody else on loopback: a chat, or a webhook."""
    from tests.alerts.service import Service  # here, for test_devcluster.py runs this file on its own

    async with Service() as service:
        yield service
