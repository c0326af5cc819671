"""A stamped deploy in a cluster where the controller runs is one rollout, never two, whichever comes first."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest

from reroll.app import Controller
from reroll.core.applied import CONFIG
from reroll.manifests.stamp.options import Options, templates_of
from reroll.manifests.stamp.run import Stamper, sources, stamped, to_stream
from tests.controller.conftest import NewWorkload, Stage, control, new_workload, stage

__all__ = ["control", "new_workload", "stage"]

READS = {"envFrom": [{"configMapRef": {"name": "app"}}, {"configMapRef": {"name": "b"}}]}


def stamp(documents: list[dict[str, Any]], annotation: str) -> list[dict[str, Any]]:
    text = b"\n---\n".join(msgspec.json.encode(one) for one in documents)
    stamper = Stamper(Options(annotation=annotation, templates=templates_of(False)))
    out = io.BytesIO()
    with sources(["-"], io.BytesIO(text)) as found:
        stamped(stamper, found)
        to_stream(stamper, found, out)
    return [msgspec.json.decode(one) for one in out.getvalue().split(b"\n---\n")]


@pytest.mark.parametrize(
    ("annotation", "late"), [(CONFIG, False), (CONFIG, True), ("checksum/config", False)]
)
async def test_a_deploy_of_both_is_one_rollout(
    stage: Stage, control: Controller, new_workload: NewWorkload, annotation: str, late: bool
) -> None:
    """`late`: the controller has rolled before the deploy comes to the Deployment."""
    for name in ("app", "b"):
        await stage.config_map(name, {"a": "1"})
    web = new_workload("web", container=READS)
    await stage.create(web)
    await stage.adopted("web")
    await stage.set("ConfigMap", "app", {"a": "2"})
    if late:
        await stage.rolled("web", 1)
        await stage.quiet(control)
    configs = [await stage.get("ConfigMap", name) for name in ("app", "b")]
    deploy = stamp([web, *configs], annotation)[0]
    marks = deploy["spec"]["template"]["metadata"]["annotations"]
    await stage.patch("Deployment", "web", {"spec": {"template": {"metadata": {"annotations": marks}}}})
    await stage.quiet(control)
    await stage.rolled("web", 1)
    found = (await stage.get("Deployment", "web"))["spec"]["template"]["metadata"]["annotations"]
    assert found[annotation] == marks[annotation]
