"""The metrics that Reloader 1.4 serves, under its names and beside reroll's own, for dashboards and alerts there are.

Where Reloader counts events and reroll counts decisions, what is nearest is counted; `docs/reloader.md` tells of each.
A reload that fails is tried again, and counts as failed once per try.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

from reroll.controller.metrics import Metrics, Step
from reroll.core.decision import Kind

_RECONCILE: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LATENCY: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_QUEUE: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_REQUEST: Final = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
_METHODS: Final = {
    "list": "GET",
    "get": "GET",
    "watch": "GET",
    "create": "POST",
    "patch": "PATCH",
    "update": "PUT",
    "delete": "DELETE",
}
_RESULTS: Final = {Kind.ROLL: "success", Kind.REFUSE: "error"}
_SKIPPED: Final = {Kind.SKIP: "no_data_change", Kind.REFUSE: "ignored_or_not_selected"}


class ReloaderMetrics(Metrics):
    """reroll's metrics and Reloader's. `host` is that of the API server; `by_namespace` is Reloader's
    METRICS_COUNT_BY_NAMESPACE."""

    def __init__(
        self, host: str = "", *, by_namespace: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(clock=clock)
        self._host = host
        registry = self.registry
        self._executed = Counter(
            "reloader_reload_executed", "Reloads, by whether they worked.", ["success"], registry=registry
        )
        for success in ("true", "false"):
            self._executed.labels(success)
        self._by_namespace = _ByNamespace() if by_namespace else None
        if self._by_namespace is not None:
            registry.register(self._by_namespace)
        self._reconciles = Counter(
            "reloader_reconcile", "Decisions about a workload, by result.", ["result"], registry=registry
        )
        self._reconcile_seconds = Histogram(
            "reloader_reconcile_duration_seconds",
            "Time to decide about a workload and act on it.",
            ["result"],
            buckets=_RECONCILE,
            registry=registry,
        )
        self._actions = Counter(
            "reloader_action", "Reloads, by kind and result.", ["workload_kind", "result"], registry=registry
        )
        self._action_seconds = Histogram(
            "reloader_action_latency_seconds",
            "From a change's arrival to the reload that follows it; settle time counts.",
            ["workload_kind"],
            buckets=_LATENCY,
            registry=registry,
        )
        self._skips = Counter(
            "reloader_skipped", "Workloads that were asked about in vain.", ["reason"], registry=registry
        )
        depth = Gauge("reloader_workqueue_depth", "Workloads in the queue.", registry=registry)
        depth.set_function(self._depth)
        self._adds = Counter("reloader_workqueue_adds", "Workloads that left the queue.", registry=registry)
        self._queue_seconds = Histogram(
            "reloader_workqueue_latency_seconds",
            "How long workloads that were ready waited.",
            buckets=_QUEUE,
            registry=registry,
        )
        self._errors = Counter("reloader_errors", "Steps that failed.", ["type"], registry=registry)
        self._retries = Counter("reloader_retries", "Steps that are tried again.", registry=registry)
        self._received = Counter(
            "reloader_events_received",
            "Changes of config objects that arrived.",
            ["event_type", "resource_type"],
            registry=registry,
        )
        self._processed = Counter(
            "reloader_events_processed",
            "Changes of config objects that were passed on.",
            ["event_type", "resource_type", "result"],
            registry=registry,
        )
        self._scanned = Counter(
            "reloader_workloads_scanned", "Workloads asked about.", ["kind"], registry=registry
        )
        self._matched = Counter(
            "reloader_workloads_matched", "Workloads found stale.", ["kind"], registry=registry
        )
        self._client_requests = Counter(
            "rest_client_requests",
            "Requests to the API server.",
            ["code", "method", "host"],
            registry=registry,
        )
        self._client_seconds = Histogram(
            "rest_client_request_duration_seconds",
            "Time until a request was answered.",
            ["verb", "host"],
            buckets=_REQUEST,
            registry=registry,
        )
        self._last = "skipped"

    def decided(self, kind: str, workload_kind: str = "") -> None:
        super().decided(kind, workload_kind)
        found = Kind(kind)
        self._last = _RESULTS.get(found, "skipped")
        self._reconciles.labels(self._last).inc()
        self._scanned.labels(workload_kind).inc()
        if found is Kind.ROLL:
            self._matched.labels(workload_kind).inc()
        if found in _SKIPPED:
            self._skips.labels(_SKIPPED[found]).inc()

    def reconciled(self, seconds: float) -> None:
        super().reconciled(seconds)
        self._reconcile_seconds.labels(self._last).observe(seconds)

    def rolled(self, workload_kind: str, seconds: float | None = None, *, namespace: str = "") -> None:
        super().rolled(workload_kind, seconds, namespace=namespace)
        self._executed.labels("true").inc()
        if self._by_namespace is not None:
            self._by_namespace.add("true", namespace)
        self._actions.labels(workload_kind, "success").inc()
        if seconds is not None:
            self._action_seconds.labels(workload_kind).observe(max(seconds, 0.0))

    def failed(self, step: Step, reason: str) -> None:
        super().failed(step, reason)
        self._errors.labels("handler_error").inc()
        self._retries.inc()
        if step == "act":
            self._executed.labels("false").inc()

    def requested(self, verb: str, code: str, seconds: float) -> None:
        super().requested(verb, code, seconds)
        answered = code if code.isdigit() else "<error>"
        self._client_requests.labels(answered, _METHODS.get(verb, verb.upper()), self._host).inc()
        self._client_seconds.labels(_METHODS.get(verb, verb.upper()), self._host).observe(seconds)

    def waited(self, seconds: float) -> None:
        super().waited(seconds)
        self._adds.inc()
        self._queue_seconds.observe(seconds)

    def arrived(self, event: str, resource: str) -> None:
        super().arrived(event, resource)
        self._received.labels(event, resource).inc()
        self._processed.labels("unknown", resource, "success").inc()

    def _depth(self) -> float:
        queue = self.queue_statistics()
        return queue.ready + queue.delayed


class _ByNamespace(Collector):
    """``reloader_reload_executed_total_by_namespace``: a counter whose name does not end as counters' names do."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, success: str, namespace: str) -> None:
        self._counts[success, namespace] = self._counts.get((success, namespace), 0) + 1

    def collect(self) -> Iterator[Metric]:
        name = "reloader_reload_executed_total_by_namespace"
        family = Metric(name, "Reloads, by namespace and whether they worked.", "unknown")
        for (success, namespace), count in self._counts.items():
            family.add_sample(name, {"success": success, "namespace": namespace}, count)
        yield family
