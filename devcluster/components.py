"""What the components of the control plane are told: users, configuration files and command lines.

The second step of the dev cluster: `binaries.py` has built the programs, `supervisor.py` starts what
`components` returns. Nothing here starts a process. Everything listens on loopback and is thrown away
at the end, so durability, profiling and leader election are off, and what fires under a test's load
(client-side rate limits, the node monitor's patience) is wide open.
"""

from __future__ import annotations

import json
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from devcluster.versions import Release

# Users that come with a static token, and their groups. All but the last may do anything. reroll's tests
# and bench give each program a user of its own, so that the audit log tells their requests apart; `nobody`
# has no rights but what a test grants.
MASTERS = "system:masters"
USERS = {
    "admin": MASTERS,
    "reroll": MASTERS,
    "peer": MASTERS,
    "kwok": MASTERS,
    # The two bear their usual names, but their bootstrap roles suppose separate service accounts for each
    # controller; one identity with all rights spares the server as many token requests at the start.
    "system:kube-controller-manager": MASTERS,
    "system:kube-scheduler": MASTERS,
    "nobody": "",
}
CONTEXTS = ("admin", "reroll", "peer", "nobody")

# Left out: they serve clouds, bootstrap tokens or certificates of real kubelets.
CONTROLLERS_OFF = (
    "bootstrap-signer-controller",
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-cleaner-controller",
    "certificatesigningrequest-signing-controller",
    "node-ipam-controller",
    "token-cleaner-controller",
    "ttl-controller",
)

# The same, as long as they are part of it: since 1.37, clouds bring their own.
CLOUD_CONTROLLERS_OFF = (
    "cloud-node-lifecycle-controller",
    "node-route-controller",
    "service-lb-controller",
)

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    # One line for each request, written when its answer is known (and one more when a watch begins).
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/healthz*"]},
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True)
class Component:
    """A program to start: its name (also of its log) and its whole command line."""

    name: str
    command: list[str]


@dataclass(frozen=True)
class Layout:
    """Where one control plane's files lie, on which ports it listens, and its users' tokens."""

    data: Path
    etcd_port: int
    etcd_peer_port: int
    api_port: int
    tokens: dict[str, str]

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def pki(self) -> Path:
        """The folder of certificates and keys."""
        return self.data / "pki"

    @property
    def audit_log(self) -> Path:
        """The audit log: one JSON event a line."""
        return self.data / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig for people and tests: `admin` by certificate, and a context for each token."""
        return self.data / "kubeconfig"

    def kubeconfig_of(self, user: str) -> Path:
        """The kubeconfig of one user by token."""
        return self.data / f"kubeconfig-{user.removeprefix('system:')}"


def new_layout(data: Path) -> Layout:
    """Free ports and fresh tokens for a control plane whose files go to `data`.

    Another process may take a port before the component binds it; the supervisor then tries once more.
    """
    sockets = [socket.socket() for _ in range(3)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        etcd, peer, api = (each.getsockname()[1] for each in sockets)
    finally:
        for each in sockets:
            each.close()
    return Layout(data, etcd, peer, api, tokens={user: secrets.token_hex(16) for user in USERS})


def write_configuration(layout: Layout, stages: Path) -> None:
    """Write every file the components read, but for the certificates."""
    token_lines = [f'{layout.tokens[user]},{user},{user},"{groups}"\n' for user, groups in USERS.items()]
    (layout.data / "tokens.csv").write_text("".join(token_lines))
    _write(layout.data / "audit-policy.yaml", AUDIT_POLICY)
    for user in USERS:
        _write(layout.kubeconfig_of(user), _kubeconfig(layout, {user: {"token": layout.tokens[user]}}, user))
    certificate = {
        "client-certificate": str(layout.pki / "admin.crt"),
        "client-key": str(layout.pki / "admin.key"),
    }
    people: dict[str, dict[str, str]] = {"devcluster": certificate}
    people |= {user: {"token": layout.tokens[user]} for user in CONTEXTS}
    _write(layout.kubeconfig, _kubeconfig(layout, people, "devcluster"))
    _write(
        layout.data / "scheduler.yaml",
        {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": {
                "kubeconfig": str(layout.kubeconfig_of("system:kube-scheduler")),
                "qps": 500,
                "burst": 1000,
            },
            "leaderElection": {"leaderElect": False},
        },
    )
    kwok = {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        # Their defaults hold only for the stages that are built in; with stages by file they are 0, and
        # then kwok watches the nodes and pods and does nothing.
        "options": {
            "podPlayStageParallelism": 16,
            "nodePlayStageParallelism": 4,
            "nodeLeaseParallelism": 4,
            "podsOnNodeSyncParallelism": 4,
        },
    }
    texts = [json.dumps(kwok), *(path.read_text() for path in sorted(stages.glob("*.yaml")))]
    (layout.data / "kwok.yaml").write_text("\n---\n".join(texts))


def components(
    layout: Layout, release: Release, programs: dict[str, Path]
) -> tuple[Component, Component, list[Component]]:
    """etcd, the API server, and the rest, in the order of starting. `programs` are paths by name."""
    data, pki = layout.data, layout.pki
    client_url = f"http://127.0.0.1:{layout.etcd_port}"
    peer_url = f"http://127.0.0.1:{layout.etcd_peer_port}"
    etcd = [
        "--name=devcluster",
        f"--data-dir={data / 'etcd'}",
        f"--listen-client-urls={client_url}",
        f"--advertise-client-urls={client_url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=devcluster={peer_url}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    api_server = [
        f"--etcd-servers={client_url}",
        "--bind-address=127.0.0.1",
        f"--secure-port={layout.api_port}",
        # A loopback address isn't allowed as an endpoint of the service "kubernetes".
        "--endpoint-reconciler-type=none",
        f"--cert-dir={pki}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--token-auth-file={data / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--allow-privileged=true",
        "--profiling=false",
        f"--audit-policy-file={data / 'audit-policy.yaml'}",
        f"--audit-log-path={layout.audit_log}",
        # In megabytes. It would be rotated at 100 by default, and who counts requests would lose them.
        "--audit-log-maxsize=100000",
    ]
    off = CONTROLLERS_OFF + (CLOUD_CONTROLLERS_OFF if release.minor < 37 else ())
    controller_manager = [
        f"--kubeconfig={layout.kubeconfig_of('system:kube-controller-manager')}",
        f"--service-account-private-key-file={pki / 'service-account.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--controllers=*,{','.join('-' + name for name in off)}",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--concurrent-deployment-syncs=10",
        "--concurrent-replicaset-syncs=10",
        # The heartbeat of a fake node may be late on a machine under load, and no test wants its pods evicted.
        "--node-monitor-grace-period=10m",
    ]
    if release.minor > 30:  # an unknown flag in 1.30, whose controller syncs 2 at a time
        controller_manager += ["--concurrent-daemonset-syncs=5"]
    scheduler = [
        f"--config={data / 'scheduler.yaml'}",
        "--secure-port=0",
        "--profiling=false",
    ]
    kwok = [
        f"--kubeconfig={layout.kubeconfig_of('kwok')}",
        f"--config={data / 'kwok.yaml'}",
        "--manage-all-nodes=true",
        "--node-lease-duration-seconds=0",
        # Pods of all nodes share it; a test must not run out of addresses.
        "--cidr=10.64.0.0/12",
    ]

    def component(name: str, flags: list[str]) -> Component:
        return Component(name, [str(programs[name]), *flags])

    return (
        component("etcd", etcd),
        component("kube-apiserver", api_server),
        [
            component("kube-controller-manager", controller_manager),
            component("kube-scheduler", scheduler),
            component("kwok", kwok),
        ],
    )


def node(name: str) -> dict[str, object]:
    """A fake node, as it's posted to the API server; kwok makes it Ready and keeps it so."""
    size = {"cpu": "1k", "memory": "1Ti", "pods": "1000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "type": "kwok",
            },
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
        },
        "status": {"allocatable": size, "capacity": size},
    }


def _kubeconfig(layout: Layout, users: dict[str, dict[str, str]], current: str) -> dict[str, object]:
    cluster = {"server": layout.server, "certificate-authority": str(layout.pki / "ca.crt")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "devcluster", "cluster": cluster}],
        "users": [{"name": name, "user": user} for name, user in users.items()],
        "contexts": [
            {"name": name, "context": {"cluster": "devcluster", "user": name, "namespace": "default"}}
            for name in users
        ],
        "current-context": current,
    }


def _write(path: Path, content: object) -> None:
    # JSON is YAML, so everything that reads YAML reads it, and no YAML library is needed.
    path.write_text(json.dumps(content, indent=1) + "\n")
    path.chmod(0o600)
