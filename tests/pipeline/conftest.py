"""The stage of the controller's tests: a namespace on the real API server."""

from __future__ import annotations

from tests.controller.conftest import control, new_workload, stage

__all__ = ["control", "new_workload", "stage"]
