"""What can be measured of the controller, for Prometheus: all names, labels and buckets in one place.

Label values are few and known: kinds, steps, verbs, never an object's name, so the number of series does
not grow with the cluster. Every series exists from the start with 0, for a rate over a series that appears
only with its first failure misses that failure. What other parts count anyway (queue, watches, store,
Events) is asked of them at each scrape and not counted twice.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, Protocol, TypeAlias, get_args

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from reroll import __version__
from reroll.controller import queue as work
from reroll.core.decision import Kind
from reroll.core.kinds import KINDS, WORKLOAD_KINDS
from reroll.core.progress import FOLLOWED

Step: TypeAlias = Literal["watch", "read", "decide", "act", "collect"]
"""Where the way of one change can fail so that it is asked about again."""

REASONS: Final = (
    "bad_request",
    "conflict",
    "forbidden",
    "gone",
    "internal",
    "invalid",
    "not_found",
    "other",
    "server_error",
    "timeout",
    "too_many_requests",
    "unauthorized",
    "unreachable",
)
"""Why, in few words: the API has many more, and a server or a webhook can invent its own."""

OUTCOMES: Final = ("done", "failed", "healed", "superseded")
"""What becomes of a rollout."""

VERBS: Final = ("get", "list", "watch", "create", "patch", "update", "delete")

_CODES = ("200", "401", "403", "404", "409", "410", "422", "429", "500", "503", "504", "error")

_KNOWN_REASONS: Final = {
    "AlreadyExists": "conflict",
    "BadRequest": "bad_request",
    "Conflict": "conflict",
    "Expired": "gone",
    "Forbidden": "forbidden",
    "Gone": "gone",
    "InternalError": "server_error",
    "Invalid": "invalid",
    "NotFound": "not_found",
    "ServerError": "server_error",
    "ServerTimeout": "server_error",
    "ServiceUnavailable": "server_error",
    "Timeout": "server_error",
    "TooManyRequests": "too_many_requests",
    "Unauthorized": "unauthorized",
    "Unreachable": "unreachable",
}

_CHANGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 10, 15, 30, 60, 120, 300)
_WAIT_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_ROLLOUT_BUCKETS = (1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600)
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

RESOURCES: Final = ("configmaps", "secrets", "namespaces", *(k.plural for k in WORKLOAD_KINDS.values()))
"""The resources that are watched."""

_PLURALS: Final = {
    "configmap": "configmaps",
    "secret": "secrets",
    **{kind.id: kind.plural for kind in KINDS.values()},
}


class Collection(Protocol):
    """What is asked of one watched collection; `reroll.kube.reflector.Statistics` has it."""

    @property
    def resource(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def synced(self) -> bool: ...
    @property
    def restarts(self) -> int: ...
    @property
    def relists(self) -> int: ...
    @property
    def last_heard(self) -> float:
        """time.monotonic() of the last word of the server; 0: none yet."""
        ...


class Delivered(Protocol):
    """What became of what was sent to somebody outside; the alerts and the webhook have it."""

    @property
    def sent(self) -> int: ...
    @property
    def retried(self) -> int: ...
    @property
    def failed(self) -> int: ...


class Metrics:
    """All metrics of one controller, in a registry of its own.

    Parts that happen call `decided`, `rolled`, `failed`, `requested` and `waited`; parts that are are
    given to `watch` as functions, and asked at each scrape.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

        decisions = Counter(
            "reroll_decisions",
            "Decisions about a workload, by what was decided.",
            ["kind"],
            registry=self.registry,
        )
        self._decisions = {kind.value: decisions.labels(kind.value) for kind in Kind}

        rollouts = Counter(
            "reroll_rollouts",
            "Rollouts started, by kind of workload.",
            ["workload_kind"],
            registry=self.registry,
        )
        self._rollouts = rollouts
        for kind in KINDS:
            rollouts.labels(kind)

        self._ends = Counter(
            "reroll_rollouts_ended",
            "What became of rollouts that were started; one can fail first, and heal later.",
            ["workload_kind", "outcome"],
            registry=self.registry,
        )
        for kind in sorted(FOLLOWED):
            for outcome in OUTCOMES:
                self._ends.labels(kind, outcome)
        self._rollout_seconds = Histogram(
            "reroll_rollout_seconds",
            "From the start of a rollout to its good end.",
            buckets=_ROLLOUT_BUCKETS,
            registry=self.registry,
        )

        failures = Counter(
            "reroll_failures",
            "Steps that failed and are tried again, by step and reason.",
            ["step", "reason"],
            registry=self.registry,
        )
        self._failures = {
            (step, reason): failures.labels(step, reason) for step in get_args(Step) for reason in REASONS
        }

        self._change_to_patch = Histogram(
            "reroll_change_to_patch_seconds",
            "From a change's arrival on a watch to the patch that follows it being answered; settle time counts.",
            buckets=_CHANGE_BUCKETS,
            registry=self.registry,
        )
        self._queue_wait = Histogram(
            "reroll_queue_wait_seconds",
            "How long workloads that were ready waited for a worker; settle time and backoff do not count.",
            buckets=_WAIT_BUCKETS,
            registry=self.registry,
        )

        self._requests = Counter(
            "reroll_requests",
            "Requests to the API server, by verb and HTTP code; code error: no answer.",
            ["verb", "code"],
            registry=self.registry,
        )
        self._arrivals = Counter(
            "reroll_config_changes",
            "Config objects that were created, changed or deleted, as watches report it.",
            ["event", "kind"],
            registry=self.registry,
        )
        self._reconcile = Histogram(
            "reroll_reconcile_seconds",
            "Time to decide about a workload and act on it, once its turn came.",
            buckets=_WAIT_BUCKETS,
            registry=self.registry,
        )
        codes = [(verb, code) for verb in VERBS for code in _CODES]
        self._requests_by = {
            pair: self._requests.labels(*pair) for pair in [*codes, ("create", "201"), ("patch", "201")]
        }
        self._request_seconds = Histogram(
            "reroll_request_seconds",
            "Time until a request to the API server was answered; of a watch, until it was accepted.",
            ["verb"],
            buckets=_REQUEST_BUCKETS,
            registry=self.registry,
        )
        self._request_seconds_by = {verb: self._request_seconds.labels(verb) for verb in VERBS}

        self._asked = _Asked(clock)
        self.registry.register(self._asked)

    # --- told as it happens ------------------------------------------------------------------------

    def decided(self, kind: str, workload_kind: str = "") -> None:
        """A decision was made; `kind` is a value of `reroll.core.decision.Kind`."""
        self._decisions[kind].inc()

    def reconciled(self, seconds: float) -> None:
        """An actor was done with a workload after so long, for better or worse."""
        self._reconcile.observe(seconds)

    def rolled(self, workload_kind: str, seconds: float | None = None, *, namespace: str = "") -> None:
        """A rollout was started, `seconds` after the first of its changes arrived; None where no change
        was seen to arrive, for it was made while the controller was away."""
        self._rollouts.labels(workload_kind).inc()
        if seconds is not None:
            self._change_to_patch.observe(max(seconds, 0.0))

    def rollout_ended(self, workload_kind: str, outcome: str, seconds: float | None) -> None:
        """A rollout that was started has an outcome, one of `OUTCOMES`; `seconds`: how long it took to its end."""
        self._ends.labels(workload_kind, outcome).inc()
        if seconds is not None:
            self._rollout_seconds.observe(seconds)

    def failed(self, step: Step, reason: str) -> None:
        """A step failed and will be tried again. `reason` is one of `REASONS`, or of the API, such as ``Forbidden``;
        one that is not known counts as other, or as unreachable if it names an exception of the network."""
        self._failures[step, failure_reason(reason)].inc()

    def requested(self, verb: str, code: str, seconds: float) -> None:
        """A request was answered with an HTTP code, or failed with the exception named `code`."""
        if not code.isdigit():
            code = "error"
        counter = self._requests_by.get((verb, code))
        if counter is None:
            counter = self._requests_by[verb, code] = self._requests.labels(verb, code)
        counter.inc()
        histogram = self._request_seconds_by.get(verb)
        if histogram is None:
            histogram = self._request_seconds_by[verb] = self._request_seconds.labels(verb)
        histogram.observe(seconds)

    def arrived(self, event: str, resource: str) -> None:
        """The content of a config object changed: `event` is add, update or delete, `resource` its kind."""
        self._arrivals.labels(event, resource).inc()

    def waited(self, seconds: float) -> None:
        """A ready workload was handed to a worker after so long."""
        self._queue_wait.observe(seconds)

    def queue_statistics(self) -> work.Statistics:
        """The queue, as `watch` was told to ask for it."""
        return self._asked.queue()

    # --- asked at each scrape ----------------------------------------------------------------------

    def watch(
        self,
        *,
        queue: Callable[[], work.Statistics] | None = None,
        collections: Callable[[], Iterable[Collection]] | None = None,
        objects: Callable[[], Mapping[str, int]] | None = None,
        problems: Callable[[], int] | None = None,
        events_dropped: Callable[[], int] | None = None,
        leading: Callable[[], bool] | None = None,
        alerts: Callable[[], Delivered] | None = None,
        alerts_dropped: Callable[[], int] | None = None,
        webhook: Callable[[], Delivered] | None = None,
    ) -> None:
        """Whom to ask at a scrape. `objects` gives the number of objects held, by resource or by kind;
        `problems` the number of workloads with an annotation that is not understood; `alerts_dropped` the number of
        notices in them that nobody was told of."""
        asked = self._asked
        asked.queue = queue or asked.queue
        asked.collections = collections or asked.collections
        asked.objects = objects or asked.objects
        asked.problems = problems or asked.problems
        asked.events_dropped = events_dropped or asked.events_dropped
        asked.leading = leading or asked.leading
        asked.alerts_dropped = alerts_dropped or asked.alerts_dropped
        if alerts is not None:
            asked.delivered["alert"] = alerts
        if webhook is not None:
            asked.delivered["webhook"] = webhook


def failure_reason(reason: str) -> str:
    """One of `REASONS` for what an `ApiError` gives as its reason."""
    if reason in REASONS:
        return reason
    known = _KNOWN_REASONS.get(reason)
    if known is not None:
        return known
    # `Unreachable` carries the name of the network's exception: TimeoutError, ClientConnectorError, ...
    return "unreachable" if reason.endswith(("Error", "Disconnected")) else "other"


class _Asked(Collector):
    """What is read from the other parts at the moment of the scrape."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()
        nothing = work.Statistics(0, 0, 0, 0, 0, 0, 0.0)
        self.queue: Callable[[], work.Statistics] = lambda: nothing
        self.collections: Callable[[], Iterable[Collection]] = lambda: ()
        self.objects: Callable[[], Mapping[str, int]] = dict
        self.problems: Callable[[], int] = lambda: 0
        self.events_dropped: Callable[[], int] = lambda: 0
        self.leading: Callable[[], bool] = lambda: False
        self.alerts_dropped: Callable[[], int] = lambda: 0
        self.delivered: dict[str, Callable[[], Delivered] | None] = {"alert": None, "webhook": None}

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("reroll_build_info", "Always 1.", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        yield from self._of_the_queue()
        yield from self._of_the_watches()
        held = GaugeMetricFamily("reroll_store_objects", "Objects held in memory.", labels=["resource"])
        counts = dict.fromkeys(RESOURCES, 0)
        for name, count in self.objects().items():
            counts[_PLURALS.get(name, name)] = count
        for resource, count in counts.items():
            held.add_metric([resource], count)
        yield held
        yield GaugeMetricFamily(
            "reroll_policy_problems",
            "Workloads with an annotation that is not understood.",
            value=self.problems(),
        )
        yield GaugeMetricFamily(
            "reroll_leading", "1 if this controller acts; 0 if it stands by.", value=int(self.leading())
        )
        yield CounterMetricFamily(
            "reroll_events_dropped",
            "Events given up: too many waited, or the server would not take them.",
            value=self.events_dropped(),
        )
        yield from self._of_the_deliveries()

    def _of_the_deliveries(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "reroll_deliveries",
            "Messages to chats and posts to the webhook: taken, tried again, or given up.",
            labels=["to", "outcome"],
        )
        for to, ask in self.delivered.items():
            found = ask() if ask is not None else None
            for outcome in ("sent", "retried", "failed"):
                family.add_metric([to, outcome], getattr(found, outcome) if found is not None else 0)
        yield family
        yield CounterMetricFamily(
            "reroll_alerts_dropped",
            "Notices that were not sent to any chat: too many waited, or their message was given up.",
            value=self.alerts_dropped(),
        )

    def _of_the_queue(self) -> Iterator[Metric]:
        queue = self.queue()
        yield GaugeMetricFamily(
            "reroll_queue_length", "Workloads that are ready and wait for a worker.", value=queue.ready
        )
        yield GaugeMetricFamily(
            "reroll_queue_delayed",
            "Workloads that wait for their time: settling, or backing off after a failure.",
            value=queue.delayed,
        )
        yield GaugeMetricFamily(
            "reroll_queue_oldest_wait_seconds",
            "How long the workload that is ready longest has waited for a worker.",
            value=queue.oldest_wait_seconds,
        )

    def _of_the_watches(self) -> Iterator[Metric]:
        collections = list(self.collections())
        resources = list(dict.fromkeys([*RESOURCES, *(c.resource for c in collections)]))
        restarts, relists = dict.fromkeys(resources, 0), dict.fromkeys(resources, 0)
        heard: dict[str, float] = {}
        synced = GaugeMetricFamily(
            "reroll_store_synced",
            "1 if everything of the collection was read; namespace *: all namespaces.",
            labels=["resource", "namespace"],
        )
        for c in collections:
            restarts[c.resource] += c.restarts
            relists[c.resource] += c.relists
            # The one not heard of for longest counts: a mean would hide it.
            last = c.last_heard or self._started
            heard[c.resource] = min(last, heard.get(c.resource, last))
            synced.add_metric([c.resource, c.namespace or "*"], 1 if c.synced else 0)
        yield GaugeMetricFamily(
            "reroll_watches", "Watches that are open.", value=sum(c.state == "watching" for c in collections)
        )
        yield synced
        for name, text, counts in (
            ("reroll_watch_restarts", "Watches that ended and were started again.", restarts),
            (
                "reroll_relists",
                "Full lists after the first one, because the watch could not be resumed.",
                relists,
            ),
        ):
            family = CounterMetricFamily(name, text, labels=["resource"])
            for resource in resources:
                family.add_metric([resource], counts[resource])
            yield family
        age = GaugeMetricFamily(
            "reroll_store_age_seconds",
            "Time since anything was last heard from the server, a bookmark at least; of several namespaces, "
            "the longest.",
            labels=["resource"],
        )
        now = self._clock()
        for resource, last in heard.items():
            age.add_metric([resource], max(0.0, now - last))
        yield age
