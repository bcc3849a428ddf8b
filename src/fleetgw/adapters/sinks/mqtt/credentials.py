"""The settings of the sink and the files that they name, which are read again when they are replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from fleetgw.adapters.files.watched import WatchedFiles
from fleetgw.adapters.secrets.secret import secret_files, with_secrets_read_again
from fleetgw.adapters.sinks.mqtt.connecting import broker_endpoint
from fleetgw.adapters.sinks.mqtt.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IStreamClientEndpoint

    from fleetgw.adapters.sinks.mqtt.settings import MqttSettings
    from fleetgw.adapters.sinks.support.context import SinkContext


class Credentials:
    """The settings and the endpoint for the next connection.

    :ivar settings: as last read.
    :ivar endpoint: likewise.
    """

    settings: MqttSettings
    endpoint: IStreamClientEndpoint

    def __init__(self, context: SinkContext, endpoint: IStreamClientEndpoint | None) -> None:
        """:param endpoint: replaces the endpoint of the settings, for tests.

        :raises ConfigurationError: the settings cannot work.
        """
        self._context = context
        self._given_endpoint = endpoint
        secrets = [secret.path for secret in secret_files(context.settings)]
        self._watched = WatchedFiles([*secrets, *read_settings(context.name, context.settings).files])
        self._read(context)

    def _read(self, context: SinkContext) -> None:
        settings = read_settings(context.name, context.settings)
        endpoint = self._given_endpoint or broker_endpoint(context.name, settings, context.reactor)
        self.settings, self.endpoint = settings, endpoint

    def reload(self) -> Sequence[str]:
        """Read the changed files again, and return their names.

        :raises FleetgwError: a file cannot be used; the previous settings stay in use.
        """
        with self._watched.reading_changed() as changed:
            if changed:
                self._read(evolve(self._context, settings=with_secrets_read_again(self._context.settings)))
        return [str(path) for path in changed]
