"""The metrics, as a scrape shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from reroll.controller.metrics import REASONS, RESOURCES, Metrics, failure_reason
from reroll.controller.queue import Statistics as QueueStatistics
from reroll.core.decision import Kind
from reroll.core.kinds import WORKLOAD_KINDS
from reroll.kube.errors import error_from_response
from reroll.kube.reflector import State, Statistics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def collection(
    resource: str,
    namespace: str = "",
    *,
    state: State = "watching",
    synced: bool = True,
    restarts: int = 0,
    relists: int = 0,
    last_heard: float = 0.0,
) -> Statistics:
    return Statistics(
        resource=resource,
        namespace=namespace,
        state=state,
        synced=synced,
        problem="",
        restarts=restarts,
        relists=relists,
        last_heard=last_heard,
    )


def test_every_series_of_known_labels_is_there_from_the_start() -> None:
    metrics = Metrics()
    for kind in Kind:
        assert value(metrics, "reroll_decisions_total", kind=kind.value) == 0
    for workload_kind in WORKLOAD_KINDS:
        assert value(metrics, "reroll_rollouts_total", workload_kind=workload_kind) == 0
    for reason in REASONS:
        assert value(metrics, "reroll_failures_total", step="act", reason=reason) == 0
        assert value(metrics, "reroll_failures_total", step="decide", reason=reason) == 0
    for resource in RESOURCES:
        assert value(metrics, "reroll_watch_restarts_total", resource=resource) == 0
        assert value(metrics, "reroll_relists_total", resource=resource) == 0
        assert value(metrics, "reroll_store_objects", resource=resource) == 0
    for verb in ("get", "list", "watch", "create", "patch", "update", "delete"):
        assert value(metrics, "reroll_requests_total", verb=verb, code="200") == 0
        assert value(metrics, "reroll_requests_total", verb=verb, code="error") == 0
        assert value(metrics, "reroll_request_seconds_count", verb=verb) == 0
    for to in ("alert", "webhook"):
        for outcome in ("sent", "retried", "failed"):
            assert value(metrics, "reroll_deliveries_total", to=to, outcome=outcome) == 0
    for name in (
        "reroll_change_to_patch_seconds_count",
        "reroll_alerts_dropped_total",
        "reroll_events_dropped_total",
        "reroll_policy_problems",
        "reroll_queue_delayed",
        "reroll_queue_length",
        "reroll_queue_wait_seconds_count",
        "reroll_watches",
    ):
        assert value(metrics, name) == 0


def test_two_controllers_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.decided("roll")
    assert value(one, "reroll_decisions_total", kind="roll") == 1
    assert value(other, "reroll_decisions_total", kind="roll") == 0


def test_what_happens_is_counted() -> None:
    metrics = Metrics()
    metrics.decided("wait")
    metrics.rolled("Deployment", 0.004)
    metrics.rolled("Deployment", -0.1)  # a clock that went back
    metrics.rolled("Deployment")
    metrics.failed("act", "Forbidden")
    metrics.failed("decide", "internal")
    metrics.waited(3)
    assert value(metrics, "reroll_decisions_total", kind="wait") == 1
    assert value(metrics, "reroll_rollouts_total", workload_kind="Deployment") == 3
    assert value(metrics, "reroll_change_to_patch_seconds_count") == 2
    assert value(metrics, "reroll_change_to_patch_seconds_bucket", le="0.005") == 2
    assert value(metrics, "reroll_change_to_patch_seconds_sum") == pytest.approx(0.004)
    assert value(metrics, "reroll_failures_total", step="act", reason="forbidden") == 1
    assert value(metrics, "reroll_failures_total", step="decide", reason="internal") == 1
    assert value(metrics, "reroll_queue_wait_seconds_sum") == 3


def test_requests_are_counted_by_verb_and_code_and_no_answer_is_one_code() -> None:
    metrics = Metrics()
    metrics.requested("patch", "200", 0.2)
    metrics.requested("patch", "418", 0.2)
    metrics.requested("patch", "ClientConnectorError", 0.2)
    metrics.requested("patch", "TimeoutError", 30.0)
    metrics.requested("deletecollection", "200", 0.2)
    assert value(metrics, "reroll_requests_total", verb="patch", code="200") == 1
    assert value(metrics, "reroll_requests_total", verb="patch", code="418") == 1
    assert value(metrics, "reroll_requests_total", verb="patch", code="error") == 2
    assert value(metrics, "reroll_request_seconds_count", verb="patch") == 4
    assert value(metrics, "reroll_request_seconds_count", verb="deletecollection") == 1


@pytest.mark.parametrize(
    ("code", "body", "reason"),
    [
        (409, b'{"kind":"Status","reason":"Conflict"}', "conflict"),
        (409, b'{"kind":"Status","reason":"AlreadyExists"}', "conflict"),
        (410, b'{"kind":"Status","reason":"Expired"}', "gone"),
        (500, b'{"kind":"Status","reason":"InternalError"}', "server_error"),
        (503, b"<html>a proxy's page</html>", "server_error"),
        (403, b'{"kind":"Status","reason":"a webhook\'s own words"}', "other"),
    ],
)
def test_the_reasons_of_the_api_are_few(code: int, body: bytes, reason: str) -> None:
    assert failure_reason(error_from_response(code, body).reason) == reason


@pytest.mark.parametrize("reason", ["ClientConnectorError", "TimeoutError", "ServerDisconnectedError"])
def test_no_answer_is_one_reason(reason: str) -> None:
    assert failure_reason(reason) == "unreachable"


def test_a_scrape_asks_the_queue_and_the_store() -> None:
    metrics = Metrics()
    metrics.watch(
        queue=lambda: QueueStatistics(3, 4, 1, 2, 0, 9, 1.5),
        objects=lambda: {"configmap": 50, "Deployment": 7},
        problems=lambda: 2,
        events_dropped=lambda: 6,
    )
    assert value(metrics, "reroll_queue_length") == 3
    assert value(metrics, "reroll_queue_delayed") == 4
    assert value(metrics, "reroll_queue_oldest_wait_seconds") == 1.5
    assert value(metrics, "reroll_store_objects", resource="configmaps") == 50
    assert value(metrics, "reroll_store_objects", resource="deployments") == 7
    assert value(metrics, "reroll_store_objects", resource="secrets") == 0
    assert value(metrics, "reroll_policy_problems") == 2
    assert value(metrics, "reroll_events_dropped_total") == 6


def test_a_scrape_asks_the_watches() -> None:
    clock = 100.0
    metrics = Metrics(clock=lambda: clock)
    metrics.watch(
        collections=lambda: [
            collection("configmaps", restarts=3, relists=1, last_heard=130.0),
            collection("secrets", "shop", restarts=1, last_heard=125.0),
            collection("secrets", "blog", restarts=2, relists=2, last_heard=139.0),
            collection("deployments", "shop", state="refused", synced=False),
        ]
    )
    clock = 140.0
    assert value(metrics, "reroll_watches") == 3
    assert value(metrics, "reroll_store_synced", resource="configmaps", namespace="*") == 1
    assert value(metrics, "reroll_store_synced", resource="deployments", namespace="shop") == 0
    assert value(metrics, "reroll_watch_restarts_total", resource="secrets") == 3
    assert value(metrics, "reroll_relists_total", resource="secrets") == 2
    assert value(metrics, "reroll_store_age_seconds", resource="configmaps") == 10
    assert value(metrics, "reroll_store_age_seconds", resource="secrets") == 15  # the longer of the two
    assert value(metrics, "reroll_store_age_seconds", resource="deployments") == 40  # never: since the start


def test_the_page_can_be_read_by_prometheus_and_names_process_and_build() -> None:
    metrics = Metrics()
    names = {
        family.name for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
    }
    assert {"reroll_build_info", "python_gc_collections"} <= names
    if Path("/proc/self/stat").exists():
        assert "process_resident_memory_bytes" in names
