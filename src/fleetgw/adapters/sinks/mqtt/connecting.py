"""Makes the endpoint of the broker: TCP or TLS, with WebSocket or without. Nothing blocks the reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS

from fleetgw.adapters.certificates.client_options import client_options
from fleetgw.adapters.certificates.files import UnusableCertificateFile
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from twisted.internet.interfaces import IStreamClientEndpoint

    from fleetgw.adapters.sinks.mqtt.settings import MqttSettings
    from fleetgw.adapters.sinks.support.context import ISinkReactor


def broker_endpoint(name: str, settings: MqttSettings, reactor: ISinkReactor) -> IStreamClientEndpoint:
    """The endpoint for the settings. It resolves names in the reactor's thread pool and tries every address.

    :param name: name of the configuration section, for errors.
    :raises ConfigurationError: a TLS file cannot be used.
    """
    # Any: a sink's reactor has timers and threads only; the gateway's has everything.
    tcp = HostnameEndpoint(cast("Any", reactor), settings.host, settings.port, timeout=settings.connect_timeout_s)
    endpoint = _with_tls(name, settings, tcp)
    if settings.websocket_path is None:
        return endpoint
    from fleetgw.adapters.sinks.mqtt.websocket import WebSocketEndpoint  # imported only when needed

    scheme = "ws" if settings.tls is None else "wss"
    return WebSocketEndpoint(endpoint, f"{scheme}://{settings.address}{settings.websocket_path}")


def _with_tls(name: str, settings: MqttSettings, tcp: IStreamClientEndpoint) -> IStreamClientEndpoint:
    if settings.tls is None:
        return tcp
    tls = settings.tls
    try:
        return wrapClientTLS(client_options(settings.host, tls.ca_file, tls.server_cert, tls.server_key), tcp)
    except UnusableCertificateFile as error:
        raise ConfigurationError([Problem(f"{name}.tls", error.what, error.fix)]) from error
