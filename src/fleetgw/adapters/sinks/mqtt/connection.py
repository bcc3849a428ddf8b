"""The connection to the broker: see ``connection_states`` for its states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.mqtt.connection_states import ConnectionCore, make_connection
from fleetgw.adapters.sinks.mqtt.credentials import Credentials
from fleetgw.adapters.sinks.mqtt.pauses import ReconnectPauses
from fleetgw.adapters.sinks.mqtt.session import MqttSession
from fleetgw.adapters.sinks.support.failure_log import FailureLog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from twisted.internet.interfaces import IStreamClientEndpoint

    from fleetgw.adapters.sinks.mqtt.connection_states import ConnectionOwner
    from fleetgw.adapters.sinks.mqtt.session_events import BrokerLimits, SessionEnd
    from fleetgw.adapters.sinks.mqtt.settings import MqttSettings
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.destination import Destination


class BrokerConnection:
    """The sink's connection to its broker: one session after the other, until ``stop``.

    :param destination: receives each change of the broker's readiness.
    :param random: shortens the pauses between attempts to connect.
    """

    def __init__(
        self,
        context: SinkContext,
        destination: Destination,
        endpoint: IStreamClientEndpoint | None,
        random: Random,
        owner: ConnectionOwner,
    ) -> None:
        self._owner = owner
        credentials = Credentials(context, endpoint)
        self._core = ConnectionCore(
            context,
            destination,
            credentials,
            owner,
            ReconnectPauses(credentials.settings.connect_retry_interval_s, random),
            FailureLog(context.log, "mqtt_connection_error", context.reactor),
            lambda: MqttSession(credentials.settings, self, context.reactor),
        )
        self._machine = make_connection(self._core)
        self.start = self._machine.start
        self.stop = self._machine.stop
        self.records_wait = self._machine.records_wait
        self.drained = self._machine.drained

    @property
    def is_down(self) -> bool:
        """Whether there is neither a session nor an attempt to begin one."""
        return self._core.session is None

    @property
    def settings(self) -> MqttSettings:
        """The settings as last read."""
        return self._core.credentials.settings

    def cut(self, end: SessionEnd) -> None:
        """End the session or the attempt at once."""
        self._machine.cut(end)

    def reload(self) -> Sequence[str]:
        """Read changed credential files again, and connect at once where there is no session.

        :raises FleetgwError: a file cannot be used.
        """
        files = self._core.credentials.reload()
        if files:
            self._machine.connect_now()
        return files

    # As the owner of a session

    def session_opened(self, limits: BrokerLimits) -> None:
        """See ``SessionOwner``."""
        if self._core.session is not None:
            self._machine._opened(self._core.session, limits)

    def acknowledged(self, acknowledgements: list[tuple[int, int]]) -> None:
        """See ``SessionOwner``."""
        self._owner.acknowledged(acknowledgements)

    def session_resumed(self) -> None:
        """See ``SessionOwner``."""
        self._owner.connection_resumed()

    def session_ended(self, end: SessionEnd) -> None:
        """See ``SessionOwner``."""
        self._machine._ended(end)
