"""Checks of ``fleetgw doctor`` for the MQTT broker. Blocking."""

from __future__ import annotations

import os
import ssl
import time
from typing import TYPE_CHECKING

from attrs import define, field
from paho.mqtt.client import MQTT_ERR_SUCCESS, Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from fleetgw.adapters.diagnosis.blocking import BlockingProbe
from fleetgw.adapters.diagnosis.certificates import client_files_findings
from fleetgw.adapters.diagnosis.findings import good, will_not_work
from fleetgw.adapters.diagnosis.network import TIMEOUT_S, check_reachable, check_tls, guess_server
from fleetgw.adapters.sinks.mqtt.settings import read_settings
from fleetgw.adapters.text.addresses import address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paho.mqtt.client import ConnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from fleetgw.adapters.settings.client_tls import ClientTls
    from fleetgw.adapters.sinks.mqtt.settings import MqttSettings
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import Finding, IDiagnosable

VERSION_TOPIC = "$SYS/broker/version"
"""Topic in which mosquitto and some other brokers publish their version; no part of MQTT."""

VERSION_WAIT_S = 0.5

_NOT_AUTHORISED = "not authorized"


def mqtt_probe(context: SinkContext) -> IDiagnosable:
    """Make the probe for the doctor."""
    return BlockingProbe(lambda: look(context), context.reactor)


@define
class _Replies:
    """The broker's answers.

    :ivar answer: to CONNECT; None when there is none.
    :ivar properties: those of CONNACK, with MQTT 5.
    :ivar version: as the broker publishes it; empty when it does not.
    :ivar ended: the reason why there are no further answers.
    """

    answer: ReasonCode | None = None
    properties: Properties | None = None
    version: str = ""
    ended: str = field(default="")


def look(context: SinkContext) -> Iterator[Finding]:
    """Connect to the broker, then begin a session, whose own client identifier leaves the gateway's session alone."""
    settings = read_settings(context.name, context.settings)
    tls = None
    if settings.tls is not None:
        yield from client_files_findings(settings.tls.ca_file, settings.tls.server_cert, settings.tls.server_key)
        try:
            tls = _tls(settings.tls)
        except (OSError, ValueError) as error:
            yield will_not_work(f"{context.name}.tls cannot be used: {error}", "name PEM files that belong together")
            return
    host, port = settings.host, settings.port
    if not (yield from check_reachable(host, port)):
        return
    if tls is not None and not (yield from check_tls(host, port, tls, host)):
        return
    replies = _converse(settings, tls)
    if replies.answer is None:
        what = f"{address(host, port)} gives no answer in MQTT: {replies.ended}; {guess_server(host, port)}"
        yield will_not_work(
            what,
            "name the address of an MQTT broker; write mqtts://host:port for TLS, ws:// or wss:// for WebSocket",
        )
        return
    if replies.answer.is_failure:
        yield _refusal(replies.answer, settings)
        return
    yield good(_who(settings))
    version = "MQTT 5" if settings.is_mqtt5 else "MQTT 3.1.1"
    yield good(
        f"{version}, broker: {replies.version}" if replies.version else f"{version}; the broker does not tell its version"
    )
    yield from _limits(replies.properties, settings)


def _converse(settings: MqttSettings, tls: ssl.SSLContext | None) -> _Replies:
    replies = _Replies()
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"fleetgw-doctor-{os.getpid()}",
        protocol=MQTTv5 if settings.is_mqtt5 else MQTTv311,
        reconnect_on_failure=False,
        transport="tcp" if settings.websocket_path is None else "websockets",
    )
    if settings.websocket_path is not None:
        client.ws_set_options(path=settings.websocket_path)
    client.connect_timeout = TIMEOUT_S
    if settings.username:
        client.username_pw_set(settings.username, settings.password)
    if tls is not None:
        client.tls_set_context(tls)

    def connect_answered(
        client: Client, _data: object, _flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        replies.answer, replies.properties = code, properties
        if not code.is_failure:
            client.subscribe(VERSION_TOPIC)

    def version_published(_client: Client, _data: object, message: MQTTMessage) -> None:
        replies.version = message.payload.decode(errors="replace")[:80]

    client.on_connect = connect_answered
    client.on_message = version_published
    try:
        client.connect(settings.host, settings.port, keepalive=30)
        _receive(client, replies)
        client.disconnect()
    except (OSError, ValueError) as error:
        replies.ended = replies.ended or str(error) or type(error).__name__
    return replies


def _receive(client: Client, replies: _Replies) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s and not replies.version:
        code = client.loop(0.05)
        if replies.answer is None and code != MQTT_ERR_SUCCESS:
            replies.ended = (
                "it closes the connection" if code.name == "MQTT_ERR_CONN_LOST" else "it answers in another language"
            )
            return
        if code != MQTT_ERR_SUCCESS:
            return
        if replies.answer is not None:
            deadline_s = min(deadline_s, time.monotonic() + VERSION_WAIT_S)
    replies.ended = f"nothing within {TIMEOUT_S:.0f} s"


def _refusal(code: ReasonCode, settings: MqttSettings) -> Finding:
    what = f"the broker refuses us ({_who(settings)}): {code}"
    reason = str(code).lower()
    if "user name" in reason or "password" in reason or _NOT_AUTHORISED in reason:
        return will_not_work(what, "correct username and password, or give this user the right to connect")
    if "protocol version" in reason:
        return will_not_work(what, f"set protocol_version to {'3.1.1' if settings.is_mqtt5 else '5'}")
    return will_not_work(what, "see the broker's log")


def _limits(properties: Properties | None, settings: MqttSettings) -> Iterator[Finding]:
    """The limits of a broker of MQTT 5; earlier versions do not tell them."""
    highest_qos = getattr(properties, "MaximumQoS", 2)
    if settings.qos > highest_qos:
        yield will_not_work(
            f"the broker takes QoS {highest_qos} at most, qos is {settings.qos}", f"set qos to {highest_qos}"
        )
    if settings.retained and not getattr(properties, "RetainAvailable", 1):
        yield will_not_work("the broker keeps no retained messages", "set retained to false")
    if settings.qos == 0:
        yield good("QoS 0: sent is all that is known, which is never a confirmation")
    topics = f"{settings.topic_base}/..." if settings.topic_base else "..."
    yield good(f"publishes to {topics} with QoS {settings.qos}{', retained' if settings.retained else ''}")


def _who(settings: MqttSettings) -> str:
    certificate = settings.tls is not None and settings.tls.server_cert is not None
    shown = ", with a client certificate" if certificate else ""
    if not settings.username:
        return f"without a user name{shown}"
    return f"as {settings.username}, {'without' if settings.password is None else 'with'} a password{shown}"


def _tls(tls: ClientTls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file)
    if tls.server_cert is not None:
        context.load_cert_chain(tls.server_cert, tls.server_key)
    return context
