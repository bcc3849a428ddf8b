"""The way to the broker: an endpoint for TCP or TLS, with WebSocket or without, nothing of which blocks the reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates

from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint

    from fleetgw.adapters.sinks.mqtt.settings import MqttSettings, TlsSettings
    from fleetgw.adapters.sinks.support.context import ISinkReactor


def broker_endpoint(name: str, settings: MqttSettings, reactor: ISinkReactor) -> IStreamClientEndpoint:
    """Where to connect. Names are resolved on the reactor's own thread pool, every address is tried.

    :param name: of the configuration's section, for errors.
    :raises ConfigurationError: a TLS file cannot be used.
    """
    # Any: a sink's reactor promises timers and threads only; a gateway's is a whole one.
    tcp = HostnameEndpoint(cast("Any", reactor), settings.host, settings.port, timeout=settings.connect_timeout_s)
    way = _with_tls(name, settings, tcp)
    if settings.websocket_path is None:
        return way
    from fleetgw.adapters.sinks.mqtt.websocket import WebSocketEndpoint  # only those who need it import it

    scheme = "ws" if settings.tls is None else "wss"
    return WebSocketEndpoint(way, f"{scheme}://{settings.address}{settings.websocket_path}")


def _with_tls(name: str, settings: MqttSettings, tcp: IStreamClientEndpoint) -> IStreamClientEndpoint:
    if settings.tls is None:
        return tcp
    try:
        return wrapClientTLS(_tls_options(settings.host, settings.tls), tcp)
    except (OSError, ValueError, TypeError) as error:
        what = f"cannot be used: {error}"
        fix = "must name PEM files: authorities, or a certificate and its key that is not encrypted"
        raise ConfigurationError([Problem(f"{name}.tls", what, fix)]) from error


def _tls_options(host: str, tls: TlsSettings) -> IOpenSSLClientConnectionCreator:
    trust_root = platformTrust()
    if tls.ca_file is not None:
        trust_root = trustRootFromCertificates(
            Certificate.loadPEM(authority.public_bytes(Encoding.PEM))
            for authority in x509.load_pem_x509_certificates(tls.ca_file.read_bytes())
        )
    if tls.certificate is None or tls.key is None:
        return optionsForClientTLS(host, trust_root)
    # Twisted hands these on to pyOpenSSL, which wants cryptography's objects and deprecates its own.
    own, *chain = x509.load_pem_x509_certificates(tls.certificate.read_bytes())
    key = load_pem_private_key(tls.key.read_bytes(), password=None)
    return optionsForClientTLS(
        host, trust_root, extraCertificateOptions={"privateKey": key, "certificate": own, "extraCertChain": chain}
    )
