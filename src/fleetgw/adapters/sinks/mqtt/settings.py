"""The settings of the ``mqtt`` section, read and made usable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.adapters.sinks.mqtt.packets import PACKET_SIZE_LIMIT_BYTES
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = {"": False, "tcp": False, "mqtt": False, "ssl": True, "tls": True, "mqtts": True}
"""What may stand before the broker's address, and whether that means TLS."""


@frozen
class TlsSettings:
    """TLS towards the broker; what is None is the system's authorities, or no certificate of our own."""

    ca_file: Path | None
    certificate: Path | None
    key: Path | None


@frozen
class MqttSettings:
    """What the sink goes by. Times are in seconds.

    :ivar tls: None for a connection in the clear.
    :ivar packet_size_limit_bytes: the largest PUBLISH that the broker takes; one that speaks MQTT 5 says so itself.
    """

    host: str
    port: int
    tls: TlsSettings | None
    is_mqtt5: bool
    client_id: str
    username: str
    password: str | None
    topic_base: str
    qos: int
    retained: bool
    packet_size_limit_bytes: int
    connect_timeout_s: float
    publish_timeout_s: float
    disconnect_timeout_s: float
    connect_retry_interval_s: float
    keep_alive_s: int


def read_settings(name: str, settings: Mapping[str, object]) -> MqttSettings:
    """Read the section.

    :param name: of the section, for errors.
    :raises ConfigurationError: the broker's address cannot be one.
    """
    scheme, _, address = str(settings.get("broker", "")).rpartition("://")
    host, _, port = address.rpartition(":")
    if scheme not in SCHEMES or not host or not port.isdecimal():
        what = f"is {settings.get('broker', '')!r}"
        raise ConfigurationError([Problem(f"{name}.broker", what, 'must be "host:port", or "mqtts://host:port" for TLS')])
    tls = settings.get("tls")
    files: Mapping[str, str | Path | None] = tls if isinstance(tls, dict) else {}
    password = settings.get("password")
    return MqttSettings(
        host=host.strip("[]"),
        port=int(port),
        tls=TlsSettings(_path(files, "ca_file"), _path(files, "server_cert"), _path(files, "server_key"))
        if tls is not None or SCHEMES[scheme]
        else None,
        is_mqtt5=settings.get("protocol_version") == "5",
        client_id=str(settings.get("client_id", "")),
        username=str(settings.get("username", "")),
        password=None if password is None else str(password),
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
