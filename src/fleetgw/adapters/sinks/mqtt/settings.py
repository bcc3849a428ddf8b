"""The ``mqtt`` section, and the settings that the sink derives from it."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  msgspec reads the annotations of sections
from pathlib import Path  # noqa: TC003  as above
from typing import Annotated, ClassVar, Literal

from attrs import field, frozen
from msgspec import Meta

from fleetgw.adapters.secrets.secret import Secret  # noqa: TC001  msgspec reads the annotations of sections
from fleetgw.adapters.settings.client_tls import ClientTls
from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.settings.values import (
    OLD_RELIABLE_ACK,
    ZERO_IS_LEFT_OUT,
    Natural,
    Positive,
    Settings,
)
from fleetgw.adapters.sinks.mqtt.broker_url import VALID_FORMS, UnusableBroker, read_broker
from fleetgw.adapters.sinks.mqtt.packets import PACKET_SIZE_LIMIT_BYTES
from fleetgw.adapters.text.addresses import address
from fleetgw.domain.errors import ConfigurationError, Problem


class Mqtt(Settings, frozen=True, kw_only=True):
    """An MQTT broker."""

    old_keys: ClassVar[Mapping[str, str]] = OLD_RELIABLE_ACK
    near_keys: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("host", "url", "server", "brokers", "address"), "broker"),
        **dict.fromkeys(("topic", "topic_prefix", "base_topic"), "topic_base"),
        "user": "username",
        "pass": "password",
        "retain": "retained",
        **dict.fromkeys(("keepalive", "keep_alive"), "keep_alive_seconds"),
    }

    broker: Annotated[
        str,
        Meta(
            description="`host:port` of the broker; `mqtts://host:port` for TLS, `ws://` or `wss://host:port/path` for "
            "MQTT over WebSocket."
        ),
    ] = ""
    client_id: Annotated[str, Meta(description="Client id; empty: the broker chooses.")] = ""
    username: Annotated[str, Meta(description="User name, where the broker asks for one.")] = ""
    password: Annotated[Secret | None, Meta(description="Password, where the broker asks for one.")] = None
    tls: Annotated[
        ClientTls | None,
        Meta(description="TLS towards the broker; left out: none, or with `mqtts://` the system's authorities."),
    ] = None
    protocol_version: Annotated[
        Literal["3.1.1", "5"], Meta(description="Version of MQTT. With 5 the broker reports why it refuses a message.")
    ] = "3.1.1"
    max_packet_bytes: Annotated[
        Positive | None, Meta(description="Largest message that the broker accepts; with MQTT 5 the broker reports it.")
    ] = None
    topic_base: Annotated[str, Meta(description="First part of every topic: `<topic_base>/<vin>/v/<field>`.")] = ""
    qos: Annotated[Literal[0, 1, 2], Meta(description="Quality of service of every publish.")] = 0
    retained: Annotated[bool, Meta(description="Ask the broker to keep the last message of every topic.")] = False
    connect_timeout_ms: Annotated[
        Natural, Meta(description="Milliseconds that connecting may take; 0: the default.", extra=ZERO_IS_LEFT_OUT)
    ] = 30_000
    publish_timeout_ms: Annotated[
        Natural,
        Meta(
            description="Milliseconds in which the broker has to confirm a record, from when its messages have left; "
            "a second more for each 64 KiB of them. 0: the default.",
            extra=ZERO_IS_LEFT_OUT,
        ),
    ] = 2_500
    disconnect_timeout_ms: Annotated[
        Natural,
        Meta(
            description="Milliseconds to wait for records in flight when stopping; 0: the default.", extra=ZERO_IS_LEFT_OUT
        ),
    ] = 250
    connect_retry_interval_ms: Annotated[
        Natural,
        Meta(
            description="Longest pause between attempts to connect, in milliseconds; while records wait for a broker that "
            "cannot be reached: 1000 at most. 0: the default.",
            extra=ZERO_IS_LEFT_OUT,
        ),
    ] = 10_000
    keep_alive_seconds: Annotated[
        Natural, Meta(description="Seconds between keep-alives; 0: the default.", extra=ZERO_IS_LEFT_OUT)
    ] = 30


@frozen
class MqttSettings:
    """The settings of the sink. Times are in seconds.

    :ivar websocket_path: path of the URL of MQTT over WebSocket; None for MQTT without it.
    :ivar tls: None for a plaintext connection.
    :ivar packet_size_limit_bytes: largest PUBLISH that the broker accepts; with MQTT 5 the broker tells it itself.
    """

    host: str
    port: int
    websocket_path: str | None
    tls: ClientTls | None
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
        return address(self.host, self.port)

    @property
    def files(self) -> list[Path]:
        """The files of TLS."""
        return [] if self.tls is None else self.tls.files


def read_settings(name: str, settings: Mapping[str, object]) -> MqttSettings:
    """Read the section.

    :param name: name of the section, for errors.
    :raises ConfigurationError: a value is wrong.
    """
    section = typed(Mqtt, settings, name)
    try:
        broker = read_broker(section.broker)
    except UnusableBroker as error:
        raise ConfigurationError([Problem(f"{name}.broker", f"is no address of a broker: {error}", VALID_FORMS)]) from error
    return MqttSettings(
        host=broker.host,
        port=broker.port,
        websocket_path=broker.path if broker.is_websocket else None,
        tls=section.tls or (ClientTls() if broker.is_tls else None),
        is_mqtt5=section.protocol_version == "5",
        client_id=section.client_id,
        username=section.username if broker.username is None else broker.username,
        password=broker.password or section.password,  # as in the Go server, the URL wins
        topic_base=section.topic_base,
        qos=section.qos,
        retained=section.retained,
        packet_size_limit_bytes=section.max_packet_bytes or PACKET_SIZE_LIMIT_BYTES,
        connect_timeout_s=section.connect_timeout_ms / 1000,
        publish_timeout_s=section.publish_timeout_ms / 1000,
        disconnect_timeout_s=section.disconnect_timeout_ms / 1000,
        connect_retry_interval_s=section.connect_retry_interval_ms / 1000,
        keep_alive_s=section.keep_alive_seconds,
    )
