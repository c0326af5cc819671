"""The stage of the controller's tests: commands are run on it."""

from __future__ import annotations

from tests.controller.conftest import control, new_workload, stage

__all__ = ["control", "new_workload", "stage"]
