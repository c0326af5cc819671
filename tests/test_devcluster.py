"""The control plane of the tests is a real one: workloads roll on it, and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devcluster import binaries, versions

if TYPE_CHECKING:
    from tests.conftest import Cluster, Kubectl

CLUSTER_PY = Path(__file__).resolve().parent.parent / "devcluster" / "cluster.py"


def workload(kind: str, name: str, **spec: Any) -> str:
    """A manifest with one container that reads nothing, of a kind of apps/v1."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "app:1"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template} | spec
    return json.dumps({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})


def eventually(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until something holds: a bound against a test that hangs, not a measurement."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("kind", "spec", "pods"),
    [
        ("Deployment", {"replicas": 3}, 3),
        ("StatefulSet", {"replicas": 2, "serviceName": "web"}, 2),
        ("DaemonSet", {}, 4),
    ],
)
def test_workload_rolls(
    kind: str, spec: dict[str, Any], pods: int, cluster: Cluster, namespace: str, kubectl: Kubectl
) -> None:
    if kind == "DaemonSet" and not cluster.tokens:
        pytest.skip("knows the number of nodes of our own cluster only")
    target = f"{kind.lower()}/web"

    def running_pods() -> dict[str, str]:
        found = json.loads(kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
        return {
            pod["metadata"]["uid"]: pod["spec"]["containers"][0]["image"]
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
        }

    kubectl("apply", "-n", namespace, "-f", "-", input=workload(kind, "web", **spec))
    kubectl("rollout", "status", "-n", namespace, target, "--timeout=60s")
    before = running_pods()
    assert sorted(before.values()) == ["app:1"] * pods

    kubectl("set", "image", "-n", namespace, target, "main=app:2")
    kubectl("rollout", "status", "-n", namespace, target, "--timeout=60s")
    # A Deployment's last old pod may be on its way out when the rollout counts as done.
    eventually(lambda: len(running_pods()) == pods, "only the new pods are left")
    after = running_pods()
    assert sorted(after.values()) == ["app:2"] * pods
    assert not before.keys() & after.keys()


def test_it_is_the_version_asked_for(cluster: Cluster, kubectl: Kubectl) -> None:
    if not cluster.tokens or "KUBEBUILDER_ASSETS" in os.environ:
        pytest.skip("the cluster of the environment has a version of its own")
    told = json.loads(kubectl("version", "-o", "json"))
    wanted = f"v{versions.chosen().version}"
    assert (told["clientVersion"]["gitVersion"], told["serverVersion"]["gitVersion"]) == (wanted, wanted)


def test_events_are_recorded(namespace: str, kubectl: Kubectl) -> None:
    kubectl("apply", "-n", namespace, "-f", "-", input=workload("Deployment", "web", replicas=1))
    kubectl("rollout", "status", "-n", namespace, "deployment/web", "--timeout=60s")

    def reasons() -> set[str]:
        found = json.loads(kubectl("get", "events.v1.events.k8s.io", "-n", namespace, "-o", "json"))["items"]
        return {event["reason"] for event in found}

    # Of the controllers, and of the scheduler, which writes Events by another API.
    eventually(lambda: reasons() >= {"ScalingReplicaSet", "SuccessfulCreate", "Scheduled"}, "three Events")


def test_template_change_makes_a_second_replica_set(namespace: str, kubectl: Kubectl) -> None:
    kubectl("apply", "-n", namespace, "-f", "-", input=workload("Deployment", "web", replicas=1))
    kubectl("wait", "-n", namespace, "deployment/web", "--for=condition=Available", "--timeout=60s")
    kubectl("set", "image", "-n", namespace, "deployment/web", "main=app:2")
    kubectl("rollout", "status", "-n", namespace, "deployment/web", "--timeout=60s")
    sets = json.loads(kubectl("get", "replicasets", "-n", namespace, "-o", "json"))["items"]
    assert sorted(
        (s["spec"]["replicas"], s["metadata"]["annotations"]["deployment.kubernetes.io/revision"])
        for s in sets
    ) == [
        (0, "1"),
        (1, "2"),
    ]


def test_job_completes(namespace: str, kubectl: Kubectl) -> None:
    kubectl("create", "job", "once", "-n", namespace, "--image=app:1")
    kubectl("wait", "-n", namespace, "job/once", "--for=condition=Complete", "--timeout=60s")


def test_service_account_token_is_accepted(cluster: Cluster, namespace: str, kubectl: Kubectl) -> None:
    eventually(
        lambda: "default" in kubectl("get", "serviceaccounts", "-n", namespace, "-o", "name"),
        "the namespace has its service account",
    )
    token = kubectl("create", "token", "default", "-n", namespace).strip()
    # A kubeconfig without a user, for a client certificate would go before the token.
    view = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    ca = view["clusters"][0]["cluster"]["certificate-authority-data"]
    anonymous = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "c", "cluster": {"server": cluster.server, "certificate-authority-data": ca}}
            ],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}],
            "current-context": "c",
        }
    )
    who = kubectl(
        "auth", "whoami", "-o", "json", "--kubeconfig=/dev/stdin", f"--token={token}", input=anonymous
    )
    assert json.loads(who)["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"


def test_audit_log_tells_requests_by_user(cluster: Cluster, namespace: str, kubectl: Kubectl) -> None:
    cluster.requests_of("peer")  # skips where there is no audit log
    kubectl("--context=peer", "create", "configmap", "seen", "-n", namespace)
    kubectl("--context=nobody", "get", "configmap", "seen", "-n", namespace, check=False)

    def about_it(user: str) -> list[tuple[str, int]]:
        return [
            (event["verb"], event["responseStatus"]["code"])
            for event in cluster.requests_of(user)
            if event.get("objectRef", {}).get("namespace") == namespace
        ]

    assert about_it("peer") == [("create", 201)]
    assert about_it("nobody") == [("get", 403)]
    assert about_it("reroll") == []


# What follows starts control planes of its own, to see how they end. `cluster` stands for "can be built".


@pytest.fixture
def temporary(cluster: Cluster, tmp_path: Path) -> dict[str, str]:
    """An environment in which all that a control plane leaves behind would be found in `tmp_path`."""
    if not cluster.tokens:
        pytest.skip("uses the cluster of the environment, so our own need not be there")
    return os.environ | {"TMPDIR": str(tmp_path)}


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CLUSTER_PY), "run", "--nodes=1", "--until-stdin-closes"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    line = process.stdout.readline()
    assert line, "it ended before it was ready"
    state: dict[str, Any] = json.loads(line)
    assert len(state["pids"]) == 5
    assert Path(state["kubeconfig"]).is_file()
    return state


def running() -> dict[int, str]:
    """Command lines by process id, without what has ended and waits for its parent to notice (zombies)."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        # A process may end while it's looked at.
        with contextlib.suppress(OSError):
            arguments = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if arguments:
                found[int(directory.name)] = arguments
    if not found:  # no /proc here
        listing = subprocess.run(
            ["ps", "-A", "-o", "pid=", "-o", "stat=", "-o", "args="],
            capture_output=True,
            text=True,
            check=True,
        )
        for line in listing.stdout.splitlines():
            pid, state, arguments = line.split(maxsplit=2)
            if not state.startswith("Z"):
                found[int(pid)] = arguments
    return found


def nothing_is_left(state: dict[str, Any], tmp_path: Path) -> None:
    eventually(lambda: not running().keys() & set(state["pids"].values()), "no component runs")
    eventually(lambda: not list(tmp_path.glob("reroll-devcluster-*")), "the data is removed")


@pytest.mark.parametrize("end", ["stdin closes", "SIGTERM", "SIGINT", "SIGKILL"])
def test_supervisor_leaves_nothing_behind(end: str, temporary: dict[str, str], tmp_path: Path) -> None:
    if end == "SIGKILL" and sys.platform != "linux":
        pytest.skip("children die with a killed parent on Linux only")
    with start(temporary) as process:
        state = ready(process)
        assert state["data_dir"].startswith(str(tmp_path))
        if end != "stdin closes":
            process.send_signal(signal.Signals[end])
            eventually(lambda: process.poll() is not None, "the supervisor ends by the signal alone")
    # Leaving the block closes stdin and waits.
    assert process.returncode == (-signal.SIGKILL if end == "SIGKILL" else 0)
    nothing_is_left(state, tmp_path)


def test_dead_component_is_named_and_ends_the_rest(temporary: dict[str, str], tmp_path: Path) -> None:
    with start(temporary) as process:
        state = ready(process)
        os.kill(state["pids"]["kube-scheduler"], signal.SIGKILL)
        assert process.stderr
        errors = process.stderr.read()
    assert process.returncode == 1
    assert errors.startswith("devcluster: kube-scheduler was killed by signal 9; the end of its log:\n")
    nothing_is_left(state, tmp_path)


def test_taken_port_is_tried_once_more(temporary: dict[str, str], cluster: Cluster, tmp_path: Path) -> None:
    programs = cluster.kubectl.parent
    if not (programs / "etcd").is_file():
        pytest.skip("KUBEBUILDER_ASSETS has its kubectl elsewhere")
    # Its first start fails as one does whose port was taken meanwhile.
    etcd = tmp_path / "assets" / "etcd"
    etcd.parent.mkdir()
    etcd.write_text(
        f"#!/bin/sh\nif mkdir {tmp_path}/tried; then echo 'bind: address already in use'; exit 1; fi\n"
        f'exec {programs}/etcd "$@"\n'
    )
    etcd.chmod(0o755)
    (etcd.parent / "kube-apiserver").symlink_to(programs / "kube-apiserver")
    with start(temporary | {"KUBEBUILDER_ASSETS": str(etcd.parent)}) as process:
        state = ready(process)
        assert (tmp_path / "tried").is_dir()
        assert len(list(tmp_path.glob("reroll-devcluster-*"))) == 1
    nothing_is_left(state, tmp_path)


@pytest.mark.parametrize("end", ["SIGINT", "SIGKILL"])
def test_nothing_outlives_pytest(
    end: str, temporary: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    shutil.copy(Path(__file__).with_name("conftest.py"), inner)
    text = (inner / "conftest.py").read_text()
    (inner / "conftest.py").write_text(
        text.replace(
            'Path(__file__).resolve().parent.parent / "devcluster" / "cluster.py"', f'Path("{CLUSTER_PY}")'
        )
    )
    (inner / "test_inner.py").write_text(
        textwrap.dedent("""
            import time
            def test_waits(cluster):
                with open("started", "w") as file:
                    file.write(str(cluster.kubeconfig.parent))
                time.sleep(100)
        """)
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."],
        cwd=inner,
        env=temporary,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    request.addfinalizer(process.kill)  # should the test fail before it comes to that
    eventually((inner / "started").is_file, "the inner test runs")
    eventually(lambda: (inner / "started").read_text() != "", "the inner test says where")
    data = Path((inner / "started").read_text())
    components = {pid for pid, arguments in running().items() if f"{data}/" in arguments}
    assert len(components) >= 5
    # To the whole group, as a terminal does it.
    os.killpg(process.pid, signal.Signals[end])
    output = process.communicate()[0]
    assert end == "SIGKILL" or "KeyboardInterrupt" in output
    eventually(lambda: not running().keys() & components, "no component runs")
    eventually(lambda: not data.exists(), "the data is removed")


def test_up_status_down(temporary: dict[str, str], cluster: Cluster, tmp_path: Path) -> None:
    # A cache of its own has no state of an `up` of the user's; the build is shared with it by a link.
    cache = tmp_path / "cache" / "reroll" / "devcluster"
    cache.mkdir(parents=True)
    build = cluster.kubectl.parent if "KUBEBUILDER_ASSETS" not in os.environ else None
    if build is None:
        pytest.skip("KUBEBUILDER_ASSETS is set")
    (cache / build.name).symlink_to(build)
    environment = temporary | {"XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(CLUSTER_PY), *arguments]
        return subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    assert run("status").returncode == 1
    try:
        up = run("up", "--nodes=2")
        assert up.returncode == 0, up.stderr
        export, _, kubeconfig = up.stdout.strip().partition("=")
        assert export == "export KUBECONFIG"
        nodes = subprocess.run(
            [str(cluster.kubectl), "get", "nodes", "-o", "name", f"--kubeconfig={kubeconfig}"],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert nodes.stdout.splitlines() == ["node/node-0", "node/node-1"]
        assert run("status").returncode == 0
        assert run("up").stdout == up.stdout
        runs = versions.chosen().version
        assert f"Kubernetes {runs}" in run("status").stdout
        other = next(version for version in versions.RELEASES if version != runs)
        refused = run("up", f"--kubernetes={other}")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == (
            f"devcluster: the one that runs is Kubernetes {runs}, not {other}: stop it with 'down' first\n"
        )
    finally:
        down = run("down")
    assert down.returncode == 0, down.stderr
    assert run("status").returncode == 1
    assert not list(tmp_path.glob("reroll-devcluster-*"))


@pytest.mark.parametrize("by", ["the flag", "the variable"])
@pytest.mark.parametrize("command", ["build", "run", "up"])
def test_unknown_version_is_refused_and_the_known_ones_listed(command: str, by: str, tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "K8S": "1.36.3"}
    arguments = [sys.executable, str(CLUSTER_PY), command]
    if by == "the flag":
        arguments += ["--kubernetes", "1.29.15"]
    else:
        environment["K8S"] = "1.29.15"
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    source = "--kubernetes" if by == "the flag" else "K8S"
    assert done.stderr == (
        f"devcluster: {source}=1.29.15: the dev cluster is not pinned for it; "
        "known versions: 1.30.14, 1.34.4, 1.36.3 (default), 1.37.2\n"
    )


@pytest.mark.parametrize(
    ("flag", "variable", "chosen"),
    [
        (None, None, "1.36.3"),
        (None, "", "1.36.3"),  # as make passes on a variable that nobody set
        (None, "1.30.14", "1.30.14"),
        ("1.37.2", "1.30.14", "1.37.2"),
        ("1.37.2", "0.1", "1.37.2"),
        ("v1.34.4", None, "1.34.4"),
    ],
)
def test_flag_goes_before_variable_before_default(
    flag: str | None, variable: str | None, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("K8S", raising=False)
    if variable is not None:
        monkeypatch.setenv("K8S", variable)
    assert versions.chosen(flag).version == chosen


@pytest.mark.parametrize("release", versions.RELEASES.values(), ids=lambda release: release.version)
def test_pins_are_of_the_release_alone(release: versions.Release) -> None:
    folder = CLUSTER_PY.parent / release.module
    gomod = (folder / "go.mod").read_text()
    assert f"k8s.io/kubernetes v{release.version} // indirect\n" in gomod
    # The modules of Kubernetes' own repository, which are released together with it.
    replaced = re.findall(r"^\t(k8s\.io/\S+) => (\S+) (\S+)$", gomod, re.MULTILINE)
    assert len(replaced) > 25
    patch = release.version.split(".")[2]
    assert {(new, version) for _, new, version in replaced} == {
        (name, f"v0.{release.minor}.{patch}") for name, _, _ in replaced
    }
    assert f"k8s.io/kubernetes v{release.version} h1:" in (folder / "go.sum").read_text()


def test_each_version_has_a_folder_of_its_own_that_only_its_pins_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(binaries, "HERE", Path(shutil.copytree(CLUSTER_PY.parent, tmp_path / "devcluster")))

    def folders() -> dict[str, str]:
        return {
            version: binaries._key(release, "go1.26.8", "linux", "amd64")
            for version, release in versions.RELEASES.items()
        }

    before = folders()
    assert len(set(before.values())) == len(versions.RELEASES)
    assert all(folder.startswith(f"{version}-") for version, folder in before.items())
    with (binaries.HERE / "modules/kubernetes/1.30.14/go.sum").open("a") as pins:
        pins.write("example.org/added v1.0.0 h1:AAAA=\n")
    after = folders()
    assert {version for version in before if before[version] != after[version]} == {"1.30.14"}
    with (binaries.HERE / "modules/etcd/go.sum").open("a") as pins:
        pins.write("example.org/added v1.0.0 h1:AAAA=\n")
    assert not set(folders().values()) & set(after.values())


def test_without_go_one_line_says_what_to_install(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, str(CLUSTER_PY), "build"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "no 'go' on PATH" in done.stderr


def test_with_a_go_too_old_one_line_says_which(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\nprintf 'go1.22.3\\nlinux\\namd64\\nlocal\\n'\n")
    go.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, str(CLUSTER_PY), "build"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert done.stderr == (
        f"devcluster: the dev cluster needs Go 1.26.0 or newer, and {go} is 1.22.3: "
        "install a newer Go (go.dev/dl)\n"
    )
