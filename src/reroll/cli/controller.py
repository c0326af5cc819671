"""`reroll controller`: watch and roll, until told to stop."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from reroll.app import Controller


def controller(
    *,
    namespace: Annotated[list[str] | None, Parameter(name=["--namespace", "-n"], negative="")] = None,
    namespace_selector: str | None = None,
    workload_selector: Annotated[str | None, Parameter(name=["--workload-selector", "-l"])] = None,
    auto_all: bool | None = None,
    namespaces_to_ignore: str | None = None,
    config_kinds: str | None = None,
    config_selector: str | None = None,
    on_create: Literal["auto", "always", "never"] | None = None,
    on_delete: bool | None = None,
    cron_jobs: Literal["template", "instantiate"] | None = None,
    finished_jobs: bool | None = None,
    marks: Literal["reroll", "env-vars", "annotations", "wave"] | None = None,
    kinds: str | None = None,
    custom_kinds: str | None = None,
    settle: str | None = None,
    settle_max: str | None = None,
    cross_namespace: bool | None = None,
    reloader_annotations: bool | None = None,
    beside_reloader: bool | None = None,
    alert_url: str | None = None,
    alert_sink: str | None = None,
    alert_info: str | None = None,
    alert_proxy: str | None = None,
    webhook_url: str | None = None,
    leader_election: bool | None = None,
    lease_name: str | None = None,
    lease_namespace: str | None = None,
    actors: int | None = None,
    actors_min: int | None = None,
    max_in_flight: int | None = None,
    field_manager: str | None = None,
    listen: str | None = None,
    key_namespace: str | None = None,
    key_secret: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
    log_level: Literal["debug", "info", "warning", "error"] | None = None,
    log_format: Literal["auto", "human", "json"] | None = None,
    config: str | None = None,
) -> int:
    """Watch ConfigMaps, Secrets and workloads, and roll the workloads that run stale configuration.

    A workload takes part once it carries the annotation `reroll.dev/auto: "true"`. Each option can also be
    set by an environment variable (`REROLL_SETTLE=2s`) or in a file (`--config`); an option given here wins,
    then the environment, then the file.

    Example: `reroll controller --namespace shop --settle 2s`

    Parameters
    ----------
    namespace
        Work in this namespace only; may be given several times. Default: all namespaces.
    namespace_selector
        Work in namespaces whose labels match, such as `team=web,env!=dev`.
    workload_selector
        Work on workloads whose labels match.
    auto_all
        Follow everything each workload references, unless it says `reroll.dev/auto: "false"`.
    namespaces_to_ignore
        Namespaces to leave alone, with commas between.
    config_kinds
        Kinds of config object to follow. Default `configmaps,secrets,secretproviderclasses`.
    config_selector
        Follow config objects whose labels match.
    on_create
        Whether the creation of an object that was not there rolls. Default auto: if pods that run without it would
        use it.
    on_delete
        Whether the deletion of an object rolls.
    cron_jobs
        What is done about a stale CronJob: mark its `template` for the next Job (the default), or `instantiate` a Job.
    finished_jobs
        Create stale Jobs again although they are finished.
    marks
        How pod templates are marked: as reroll does, as a strategy of Reloader (`env-vars`, `annotations`), or as
        `wave` does.
    kinds
        Kinds of workload to follow, such as `deployments,cronjobs`. Default: all that reroll knows.
    custom_kinds
        Further kinds, such as `clonesets.v1alpha1.apps.kruise.io`, each with `=PATH` of its pod template where that
        is not spec.template.
    settle
        Wait this long after the last change, so that several become one rollout. Default 1s; 0s acts at once.
    settle_max
        But never longer than this after the first change. Default 10s.
    cross_namespace
        Let workloads follow objects of other namespaces that carry `reroll.dev/share-with`.
    reloader_annotations
        Understand the annotations of stakater/Reloader. Default: yes.
    leader_election
        Stand for election with other controllers: one acts, the others know everything and wait.
    lease_name
        Name of the Lease by which they do. Default `reroll-controller`.
    lease_namespace
        Its namespace. Default: the controller's own (or the context's).
    beside_reloader
        Act on Reloader's annotations though Reloader runs in the cluster, which then does the same.
    alert_url
        Where to tell people what was done: addresses of chats and services, with white space between. Better set as
        REROLL_ALERT_URL, for such addresses are often secret.
    alert_sink
        What http(s) addresses want: slack, teams, gchat or raw. Default: what their host tells.
    alert_info
        Put in front of each message.
    alert_proxy
        HTTP proxy for alerts and the webhook.
    webhook_url
        Call this address for each change of a config object, and roll nothing.
    actors
        Workloads acted on at once, at most: fewer while the server takes longer to answer. Default 100.
    actors_min
        But not fewer than these. Default 4.
    max_in_flight
        Requests waiting for an answer at once. Default 120.
    field_manager
        Name under which the API server records what reroll changes. Default `reroll`.
    listen
        Address of /livez, /readyz and /metrics. Default 127.0.0.1:8080; port 0 takes any free one, "" none.
    key_namespace
        Namespace of the Secret that holds the digest key. Default: the controller's own, or the context's.
    key_secret
        Name of that Secret. Default `reroll-digest-key`.
    kubeconfig
        Path of a kubeconfig. Default: KUBECONFIG, ~/.kube/config, or the pod's service account.
    context
        Context of the kubeconfig. Default: its current one.
    log_level
        Least severe level to log. Default info.
    log_format
        auto is human on a terminal and JSON otherwise.
    config
        A YAML or TOML file with settings, named as the options with underscores.
    """
    import structlog

    from reroll.app import Controller
    from reroll.kube.config import load_config
    from reroll.logs import set_up
    from reroll.settings import load, unknown_variables

    flags: dict[str, Any] = {
        "namespaces": tuple(namespace) if namespace else None,
        "namespace_selector": namespace_selector,
        "workload_selector": workload_selector,
        "auto_all": auto_all,
        "namespaces_to_ignore": _words(namespaces_to_ignore),
        "config_kinds": config_kinds,
        "config_selector": config_selector,
        "on_create": on_create,
        "on_delete": on_delete,
        "cron_jobs": cron_jobs,
        "finished_jobs": finished_jobs,
        "marks": marks,
        "kinds": kinds,
        "custom_kinds": custom_kinds,
        "settle": settle,
        "settle_max": settle_max,
        "cross_namespace": cross_namespace,
        "reloader_annotations": reloader_annotations,
        "beside_reloader": beside_reloader,
        "alert_url": alert_url,
        "alert_sink": alert_sink,
        "alert_info": alert_info,
        "alert_proxy": alert_proxy,
        "webhook_url": webhook_url,
        "leader_election": leader_election,
        "lease_name": lease_name,
        "lease_namespace": lease_namespace,
        "actors": actors,
        "actors_min": actors_min,
        "max_in_flight": max_in_flight,
        "field_manager": field_manager,
        "listen": listen,
        "key_namespace": key_namespace,
        "key_secret": key_secret,
        "kubeconfig": kubeconfig,
        "context": context,
        "log_level": log_level,
        "log_format": log_format,
    }
    log = structlog.get_logger("reroll")
    settings = load(flags, file=config or os.environ.get("REROLL_CONFIG"))
    set_up(settings.log_level, settings.log_format)
    for variable, meant in unknown_variables().items():
        log.warning("this environment variable sets nothing", variable=variable, meant=meant or None)
    cluster = load_config(kubeconfig=settings.kubeconfig or None, context=settings.context or None)
    run(lambda: Controller(cluster, settings))
    return 0


def run(make: Callable[[], Controller]) -> None:
    """Make a controller and run it until a signal comes. Raises Failure."""
    import asyncio

    from reroll.cli.failure import Failure
    from reroll.web.server import ServeError

    async def work() -> None:
        control = make()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stop, control.stop, number)
        await control.run()

    try:
        with asyncio.Runner(loop_factory=_event_loop()) as runner:
            runner.run(work())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    except (ServeError, ValueError, OSError) as error:
        raise Failure(str(error), 2) from error


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop of a controller; None: Python's own, where there is no uvloop."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())


_asked = 0


def _stop(stop: Any, number: int) -> None:
    """The first signal stops in order, a second one at once."""
    global _asked
    _asked += 1
    if _asked > 1:
        sys.stderr.flush()
        os._exit(128 + number)
    stop()
