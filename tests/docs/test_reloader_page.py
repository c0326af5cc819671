"""docs/reloader.md tells of each flag, annotation, variable, mark and metric of Reloader 1.4.21, and its status."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reroll.cli.reloader_flags import FLAGS, OWN
from reroll.controller.reloader_metrics import ReloaderMetrics
from reroll.dialects.marks import LAST_RELOADED_FROM
from reroll.dialects.reloader import DEFAULT_KEYS

TEXT = (Path(__file__).parents[2] / "docs" / "reloader.md").read_text()
ENVIRONMENT = (
    "KUBERNETES_NAMESPACE", "KUBECONFIG", "HOME", "POD_NAME", "POD_NAMESPACE", "RELOADER_NAMESPACE",
    "RELOADER_DEPLOYMENT_NAME", "METRICS_COUNT_BY_NAMESPACE", "ALERT_ON_RELOAD", "ALERT_SINK", "ALERT_WEBHOOK_URL",
    "ALERT_ADDITIONAL_INFO", "ALERT_WEBHOOK_PROXY", "GOMAXPROCS", "GOMEMLIMIT", "ENABLE_HA",
)  # fmt: skip
METRICS = (
    "reloader_reload_executed_total", "reloader_reload_executed_total_by_namespace", "reloader_reconcile_total",
    "reloader_reconcile_duration_seconds", "reloader_action_total", "reloader_action_latency_seconds",
    "reloader_skipped_total", "reloader_workqueue_depth", "reloader_workqueue_adds_total",
    "reloader_workqueue_latency_seconds", "reloader_errors_total", "reloader_retries_total",
    "reloader_events_received_total", "reloader_events_processed_total", "reloader_workloads_scanned_total",
    "reloader_workloads_matched_total", "rest_client_requests_total", "rest_client_request_duration_seconds",
)  # fmt: skip
"""Of internal/pkg/metrics/prometheus.go."""
STATUS = ("same", "better", "accepted", "new")


def statuses(section: str) -> dict[str, str]:
    """What stands in the first column of a section's table -> its status."""
    part = TEXT.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    found = {}
    for line in part.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) < 3 or cells[0].startswith("---"):
            continue
        status = next((cell for cell in cells[1:] if cell in STATUS), "")
        for name in re.findall(r"`([^`]+)`", cells[0]):
            found[name] = status
    return found


@pytest.mark.parametrize("flag", [flag.name for flag in FLAGS])
def test_every_flag(flag: str) -> None:
    assert statuses("Flags")[f"--{flag}"] in STATUS


def test_our_own_flags() -> None:
    assert {f"--{flag.name}" for flag in OWN} <= statuses("Flags").keys()


@pytest.mark.parametrize("variable", ENVIRONMENT)
def test_every_variable(variable: str) -> None:
    assert statuses("Environment")[variable] in STATUS


@pytest.mark.parametrize("annotation", sorted(DEFAULT_KEYS.all))
def test_every_annotation(annotation: str) -> None:
    assert statuses("Annotations")[annotation] in STATUS


@pytest.mark.parametrize("mark", ["STAKATER_<NAME>_<TYPE>", LAST_RELOADED_FROM])
def test_every_mark(mark: str) -> None:
    assert statuses("Marks")[mark] in STATUS


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric(metric: str) -> None:
    assert statuses("Metrics")[metric] in STATUS
    exposed = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in ReloaderMetrics(by_namespace=True).registry.collect()
    }
    assert metric in exposed
