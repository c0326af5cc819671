"""Settings that a simulation can't obey. They are refused in words, because an answer without them would be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import fields

from reroll.insight.simulation.world import World
from reroll.settings import Settings, SettingsError

_NOT_PLAYED: Final = "a simulation plays Deployments, StatefulSets and DaemonSets alone"

REFUSED: Final[Mapping[str, str]] = {
    "cron_jobs": f"{_NOT_PLAYED}; leave CronJobs out of it by --cron-jobs template",
    "finished_jobs": f"{_NOT_PLAYED}; leave Jobs out of it by --no-finished-jobs",
    "custom_kinds": f"{_NOT_PLAYED}; leave other kinds out of it by --custom-kinds ''",
    "webhook_url": "a controller with it calls that address and rolls nothing; leave it out by REROLL_WEBHOOK_URL=''",
}
"""Setting -> why a value of it other than the default can't be simulated, and how to leave it out."""


def refuse(settings: Settings, world: World) -> None:
    """Raises SettingsError for what can't be obeyed in this world."""
    for field in fields(Settings):
        if field.name in REFUSED and getattr(settings, field.name) != field.default:
            raise SettingsError(f"settings: {field.name} can't be simulated: {REFUSED[field.name]}")
    if settings.config_selector and not world.config_labels:
        raise SettingsError(
            f"settings: config_selector can't be simulated: {world.source} does not hold the labels of ConfigMaps and "
            f"Secrets; make it again with this reroll"
        )
