"""MQTT: one message per signal, confirmed when the broker has acknowledged all of a record's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import IDispatcher


def mqtt_sink(context: SinkContext) -> IDispatcher:
    """Make the MQTT sink; the client library is imported only here.

    :raises ConfigurationError: the library is not installed, or ``context.settings`` cannot work.
    """
    try:
        from fleetgw.adapters.sinks.mqtt.sink import MqttSink
    except ImportError as error:
        what = f"the client library paho-mqtt is not installed ({error})"
        raise ConfigurationError([Problem(context.name, what, "pip install 'fleetgw[mqtt]'")]) from error
    return MqttSink(context)
