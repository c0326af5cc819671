"""A reader that goes away while restarts are shown, and manifests that are none."""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from reroll.core.records import WorkloadId
from reroll.kube.client import Client
from reroll.kube.config import load_config
from reroll.manifests.problem import ManifestError
from reroll.pipeline.place import read_manifests
from reroll.pipeline.restart import Options, restart
from reroll.pipeline.result import Outcome
from reroll.pipeline.selection import Target
from reroll.rollouts.paths import path
from reroll.rollouts.wait import follow
from reroll.sandbox.server import Sandbox
from tests.controller.conftest import NewWorkload


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a sandbox of its own."""
    async with Sandbox(ready_after=0.1) as sandbox:
        sandbox.write_kubeconfig(tmp_path / "kubeconfig")
        async with Client(load_config(kubeconfig=str(tmp_path / "kubeconfig"))) as found:
            yield found


class Gone:
    """Shows progress to a pipe that nobody reads any more."""

    def going(self, workload: WorkloadId, words: str, new: int, wanted: int) -> None:
        raise BrokenPipeError

    def ended(self, outcome: Outcome) -> None:
        raise BrokenPipeError


async def test_a_broken_pipe_is_raised_as_what_it_is(client: Client, new_workload: NewWorkload) -> None:
    """The command tells it from a failure, and exits quietly."""
    targets = [Target(WorkloadId("Deployment", "default", name)) for name in ("web", "api")]
    for each in targets:
        body = msgspec.json.encode(new_workload(each.workload.name, annotations={}))
        await client.create(path(each.workload).rpartition("/")[0], body)
        ended = await follow(
            client, each.workload, deadline=time.monotonic() + 20, told=lambda progress: None, log_lines=0
        )
        assert ended.state == "done"
    with pytest.raises(BrokenPipeError):
        await restart(client, targets, Options(wait=True, timeout=20), Gone())


@pytest.mark.parametrize("text", [b"", b"\n---\n# nothing\n", b"apiVersion: v1\nkind: List\nitems: []\n"])
def test_nothing_to_apply_is_an_error(text: bytes, tmp_path: Path) -> None:
    """`helm template ... | reroll apply -` must not succeed where helm has failed."""
    with pytest.raises(ManifestError, match="standard input: holds no object to apply"):
        read_manifests(("-",), io.BytesIO(text))
    (tmp_path / "empty.yaml").write_bytes(text)
    with pytest.raises(ManifestError, match=r"empty\.yaml: holds no object"):
        read_manifests((str(tmp_path / "empty.yaml"),), io.BytesIO())
