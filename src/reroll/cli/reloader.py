"""`reroll reloader`: stakater/Reloader's command line, followed by reroll."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from reroll.kube.client import Client

HELP = """Usage: reroll reloader [FLAGS]

Run in place of stakater/Reloader: its flags, annotations, marks and metrics.

Takes the command line and the environment of Reloader 1.4.21 as they are, in a Deployment that its Helm chart made
too: stop Reloader, start this. Changes that were made meanwhile are found.

Examples:
  reroll reloader
  reroll reloader --reload-strategy=annotations --auto-reload-all --namespaces-to-ignore kube-system
  KUBERNETES_NAMESPACE=shop reroll reloader --resources-to-ignore=secrets
"""


def reloader(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Run in place of stakater/Reloader: its flags, annotations, marks and metrics."""
    import structlog

    from reroll.app import Controller
    from reroll.cli.controller import run
    from reroll.cli.failure import Failure
    from reroll.cli.reloader_flags import FLAGS, OWN, FlagError, read
    from reroll.controller.meta_info import publish
    from reroll.controller.reloader_metrics import ReloaderMetrics
    from reroll.controller.report import RELOADER_REASONS
    from reroll.dialects import Dialects
    from reroll.kube.config import load_config
    from reroll.logs import set_up
    from reroll.settings import load, unknown_variables

    if "--help" in arguments or "-h" in arguments:
        print(HELP)
        for title, flags in (("Flags of Reloader:", FLAGS), ("Flags of reroll:", OWN)):
            print(title)
            for flag in flags:
                print(f"  --{flag.name:34} {flag.help}")
        return 0
    try:
        asked = read(arguments, os.environ)
    except FlagError as error:
        raise Failure(str(error), 2) from error
    settings = load(asked.settings)
    set_up(settings.log_level, settings.log_format)
    log = structlog.get_logger("reroll")
    for note in asked.notes:
        log.warning(note)
    for variable, meant in unknown_variables().items():
        log.warning("this environment variable sets nothing", variable=variable, meant=meant or None)
    cluster = load_config(kubeconfig=settings.kubeconfig or None, context=settings.context or None)
    metrics = ReloaderMetrics(urlsplit(cluster.server).netloc, by_namespace=asked.by_namespace)
    home = os.environ.get("RELOADER_NAMESPACE")

    async def tell_others(client: Client) -> None:
        if home:
            await publish(client, home, os.environ.get("RELOADER_DEPLOYMENT_NAME", ""), asked.options)

    run(
        lambda: Controller(
            cluster,
            settings,
            dialects=Dialects(reloader=asked.keys),
            metrics=metrics,
            reasons=RELOADER_REASONS,
            at_work=tell_others,
        )
    )
    return 0


app = App(name="reloader", help_flags=[], version_flags=[])
"""Reads its own `--help`, as it reads all of Reloader's flags itself."""
app.default(reloader)
