"""A subscriber in a thread of its own, as any MQTT consumer."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.deadline import DEADLINE_S

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage


class Published(NamedTuple):
    """A message as a subscriber gets it; ``retained`` says that it was there before."""

    topic: str
    body: bytes
    qos: int
    retained: bool


class Consumer:
    """Subscribed when made; its session outlives a broker that keeps sessions.

    :param topics: a topic filter.
    :ivar received: messages, oldest first.
    """

    def __init__(self, port: int, topics: str) -> None:
        self._topics = topics
        self.received: list[Published] = []
        self._subscribed = Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=f"consumer-of-{topics}", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        if not self._subscribed.wait(DEADLINE_S):
            raise RuntimeError("the broker let nobody subscribe")

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    # Any: arguments that paho passes to callbacks, most of them unused

    def _on_connect(self, client: Client, *_rest: Any) -> None:
        client.subscribe(self._topics, qos=2)

    def _on_subscribe(self, *_rest: Any) -> None:
        self._subscribed.set()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.received.append(Published(message.topic, bytes(message.payload), message.qos, message.retain))
