"""The controller's settings as flags of those who decide as it does: `reroll explain` and `reroll simulate`.

What is not given here comes from the environment (``REROLL_*``) and from the file, as for the controller.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

if TYPE_CHECKING:
    from reroll.settings import Settings

GROUP = Group.create_ordered("Settings, as the controller has them")


@Parameter(name="*", group=GROUP)
@dataclass(frozen=True, kw_only=True)
class SettingsFlags:
    """Those settings that bear on a decision. None: not given.

    Parameters
    ----------
    namespace_selector
        Work in namespaces whose labels match.
    workload_selector
        Work on workloads whose labels match.
    namespaces_to_ignore
        Namespaces to leave alone, with commas between.
    auto_all
        Follow everything, unless a workload says `reroll.dev/auto: "false"`.
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
        What is done about a stale CronJob. Default `template`.
    finished_jobs
        Create stale Jobs again although they are finished.
    marks
        How pod templates are marked. Default `reroll`.
    kinds
        Kinds of workload to follow, such as `deployments,cronjobs`. Default: all that reroll knows.
    custom_kinds
        Further kinds, such as `clonesets.v1alpha1.apps.kruise.io`.
    settle
        Wait this long after the last change. Default 1s.
    settle_max
        But never longer than this after the first change. Default 10s.
    cross_namespace
        Follow shared objects of other namespaces.
    reloader_annotations
        Understand the annotations of stakater/Reloader. Default: yes.
    beside_reloader
        Act on them though Reloader runs in the cluster.
    field_manager
        The name under which it changes objects. Default `reroll`.
    config
        A YAML or TOML file with settings.
    """

    namespace_selector: str | None = None
    workload_selector: Annotated[str | None, Parameter(name=["--workload-selector", "-l"])] = None
    namespaces_to_ignore: str | None = None
    auto_all: bool | None = None
    config_kinds: str | None = None
    config_selector: str | None = None
    on_create: Literal["auto", "always", "never"] | None = None
    on_delete: bool | None = None
    cron_jobs: Literal["template", "instantiate"] | None = None
    finished_jobs: bool | None = None
    marks: Literal["reroll", "env-vars", "annotations", "wave"] | None = None
    kinds: str | None = None
    custom_kinds: str | None = None
    settle: str | None = None
    settle_max: str | None = None
    cross_namespace: bool | None = None
    reloader_annotations: bool | None = None
    beside_reloader: bool | None = None
    field_manager: str | None = None
    config: str | None = None

    def load(self, **more: Any) -> Settings:
        """The settings: these flags and `more`, over the environment, over the file. Raises SettingsError."""
        from reroll.settings import load

        flags: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        file = flags.pop("config") or os.environ.get("REROLL_CONFIG")
        flags["namespaces_to_ignore"] = words(self.namespaces_to_ignore)
        return load(flags | more, file=file)


def words(text: str | None) -> tuple[str, ...] | None:
    """A list with commas between; None: not given."""
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())
