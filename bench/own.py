"""Rows of what only reroll has: its controller on its sandbox, and what `simulate` costs."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bench import simulate as simulation
from bench.contestants import Contestant
from bench.result import Result
from bench.scenarios import Scenario, Size, crowd
from bench.stage import Stage


async def on_the_sandbox(stage: Stage, who: Contestant, size: Size) -> list[Result]:
    """A crowd whose rollouts really move: sandbox, controller and bench are processes of their own."""
    last, *_ = await crowd(stage, who, size, paused=False)
    return [replace(last, row=f"on the sandbox, {last.row}")]


async def simulate(stage: Stage | None, who: Contestant, size: Size) -> list[Result]:
    """The whole command, on a snapshot of ten thousand workloads."""
    return await asyncio.to_thread(simulation.measure, size.crowd * 10)


OWN: dict[str, Scenario] = {
    "sandbox": Scenario(
        "1 ConfigMap with 1,000 Deployments on the sandbox; reroll alone",
        on_the_sandbox,
        rounds=3,
        stage="sandbox",
    ),
    "simulate": Scenario(
        "reroll simulate on a snapshot of 10,000 workloads; reroll alone", simulate, stage="none"
    ),
}
