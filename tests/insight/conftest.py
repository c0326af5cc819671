"""The stage of the controller's tests: explain is asked beside a controller that works."""

from __future__ import annotations

from tests.controller.conftest import control, new_workload, stage

__all__ = ["control", "new_workload", "stage"]
