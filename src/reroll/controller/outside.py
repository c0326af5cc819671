"""Whom the controller tells outside of the cluster: chats, by alerts, and a webhook that acts in its place."""

from __future__ import annotations

from collections.abc import Callable

from reroll.alerts.alerts import alerts_of
from reroll.alerts.message import Style
from reroll.alerts.notice import Notice
from reroll.controller.announce import announcer_of
from reroll.controller.metrics import Metrics
from reroll.controller.store import Store
from reroll.controller.tasks import Start
from reroll.core.records import ConfigId
from reroll.kube.election import LeaderElection
from reroll.settings import Settings

_FLUSH = 5.0  # seconds at the end for alerts that wait


class Outside:
    """Those that the settings name. `style`: whose words alerts are in; `may_act`: see `Announcer`.

    Raises ValueError for an address that is not understood.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        metrics: Metrics,
        election: LeaderElection | None,
        *,
        style: Style,
        may_act: Callable[[], bool],
    ) -> None:
        self._metrics = metrics
        self._alerts = alerts_of(settings, style)
        self.announcer = announcer_of(settings, store, election, may_act)
        """Where there is one, it acts, and nothing is rolled."""
        if self._alerts is not None:
            metrics.watch(alerts=self._alerts.statistics, alerts_dropped=self._alerts.dropped)
        if self.announcer is not None:
            metrics.watch(webhook=self.announcer.statistics)

    def start(self, start: Start) -> None:
        """Send from now on."""
        if self._alerts is not None:
            start(self._alerts.run(), "alerts")
        if self.announcer is not None:
            start(self.announcer.run(), "webhook")

    def notify(self, notice: Notice) -> None:
        """People are to hear of this."""
        if self._alerts is not None:
            self._alerts.put(notice)

    def arrived(self, event: str, config: ConfigId, version: int) -> None:
        """The content of a config object changed."""
        self._metrics.arrived(event, config.kind)
        if self.announcer is not None:
            self.announcer.arrived(event, config, version)

    def behind(self) -> float:
        """For how many seconds the webhook has not been told of a change."""
        return self.announcer.behind() if self.announcer is not None else 0.0

    async def finish(self, within: float) -> None:
        """Tell what waits, before the end. The webhook gets `within` seconds: this controller may have lost the lead
        before it was stopped."""
        if self.announcer is not None:
            await self.announcer.tell_the_rest(within)
        if self._alerts is not None:
            await self._alerts.flush(_FLUSH)
