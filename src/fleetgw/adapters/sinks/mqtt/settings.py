"""The settings of the ``mqtt`` section, read and made usable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

from fleetgw.adapters.sinks.mqtt.broker_url import WHAT_IS_RIGHT, UnusableBroker, read_broker
from fleetgw.adapters.sinks.mqtt.packets import PACKET_SIZE_LIMIT_BYTES
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class TlsSettings:
    """TLS towards the broker; what is None is the system's authorities, or no certificate of our own."""

    ca_file: Path | None
    certificate: Path | None
    key: Path | None


@frozen
class MqttSettings:
    """What the sink goes by. Times are in seconds.

    :ivar websocket_path: what to ask for over WebSocket; None for MQTT without it.
    :ivar tls: None for a connection in the clear.
    :ivar packet_size_limit_bytes: the largest PUBLISH that the broker takes; one that speaks MQTT 5 says so itself.
    """

    host: str
    port: int
    websocket_path: str | None
    tls: TlsSettings | None
    is_mqtt5: bool
    client_id: str
    username: str
    password: str | None = field(repr=False)
    topic_base: str
    qos: int
    retained: bool
    packet_size_limit_bytes: int
    connect_timeout_s: float
    publish_timeout_s: float
    disconnect_timeout_s: float
    connect_retry_interval_s: float
    keep_alive_s: int

    @property
    def address(self) -> str:
        """``host:port``, for people; an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def files(self) -> list[Path]:
        """The files of TLS."""
        tls = self.tls
        return [] if tls is None else [path for path in (tls.ca_file, tls.certificate, tls.key) if path is not None]


def read_settings(name: str, settings: Mapping[str, object]) -> MqttSettings:
    """Read the section.

    :param name: of the section, for errors.
    :raises ConfigurationError: the broker's address cannot be one.
    """
    try:
        broker = read_broker(str(settings.get("broker", "")))
    except UnusableBroker as error:
        raise ConfigurationError(
            [Problem(f"{name}.broker", f"is no address of a broker: {error}", WHAT_IS_RIGHT)]
        ) from error
    tls = settings.get("tls")
    files: Mapping[str, str | Path | None] = tls if isinstance(tls, dict) else {}
    password = settings.get("password")
    return MqttSettings(
        host=broker.host,
        port=broker.port,
        websocket_path=broker.path if broker.is_websocket else None,
        tls=TlsSettings(_path(files, "ca_file"), _path(files, "server_cert"), _path(files, "server_key"))
        if tls is not None or broker.is_tls
        else None,
        is_mqtt5=settings.get("protocol_version") == "5",
        client_id=str(settings.get("client_id", "")),
        username=str(settings.get("username", "")) if broker.username is None else broker.username,
        password=broker.password or (None if password is None else str(password)),  # as in the Go server, the URL wins
        topic_base=str(settings.get("topic_base", "")),
        qos=_number(settings, "qos", 0),
        retained=bool(settings.get("retained", False)),
        packet_size_limit_bytes=_number(settings, "max_packet_bytes", PACKET_SIZE_LIMIT_BYTES),
        connect_timeout_s=_time(settings, "connect_timeout_ms", 30_000) / 1000,
        publish_timeout_s=_time(settings, "publish_timeout_ms", 2_500) / 1000,
        disconnect_timeout_s=_time(settings, "disconnect_timeout_ms", 250) / 1000,
        connect_retry_interval_s=_time(settings, "connect_retry_interval_ms", 10_000) / 1000,
        keep_alive_s=_time(settings, "keep_alive_seconds", 30),
    )


def _path(files: Mapping[str, str | Path | None], key: str) -> Path | None:
    value = files.get(key)
    return Path(value) if value else None


def _number(settings: Mapping[str, object], key: str, default: int) -> int:
    value = settings.get(key, default)
    if not isinstance(value, int):
        raise ConfigurationError([Problem(f"mqtt.{key}", f"is {value!r}", "must be a whole number")])
    return value


def _time(settings: Mapping[str, object], key: str, default: int) -> int:
    """Zero is the default, as in the Go server."""
    return _number(settings, key, default) or default
