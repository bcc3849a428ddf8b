"""Real brokers that the tests of a process share: starting one takes seconds."""

from __future__ import annotations

import atexit
from functools import cache
from pathlib import Path

from tests.support.kafka import broker as kafka_broker
from tests.support.kafka.broker import KafkaBroker
from tests.support.mqtt import mosquitto
from tests.support.mqtt.mosquitto import Mosquitto
from tests.support.needed import needed

MAX_MESSAGE_BYTES = 100_000
"""The largest batch that Kafka takes."""

_JARS = Path(__file__).parents[3] / ".brokers" / "kafka"


def the_kafka() -> KafkaBroker:
    """Kafka, running; skips the test where it cannot be started (with ``CI`` set: fails)."""
    broker = _kafka()
    broker.start()
    return broker


@cache
def _kafka() -> KafkaBroker:
    needed(kafka_broker.missing(_JARS))
    broker = KafkaBroker(_JARS, MAX_MESSAGE_BYTES)
    atexit.register(broker.stop)
    return broker


@cache
def the_mosquitto() -> Mosquitto:
    """An MQTT broker, likewise."""
    needed(mosquitto.missing())
    broker = Mosquitto()
    atexit.register(broker.stop)
    return broker
