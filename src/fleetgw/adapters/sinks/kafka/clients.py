"""The librdkafka clients of the sink: the one in use, and its successor."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, Producer

from fleetgw.adapters.sinks.kafka.credential_files import CredentialFiles
from fleetgw.adapters.sinks.kafka.producers import destroy, make_producer
from fleetgw.adapters.sinks.kafka.properties import (
    ORDER_PROPERTIES,
    bootstrap_servers,
    confluent_properties,
)
from fleetgw.adapters.sinks.kafka.settings import confirms_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleetgw.adapters.sinks.support.context import SinkContext

_ALONE = {"batch.num.messages": "1", "linger.ms": "0"}

_NO_IDEMPOTENCE_CODES = frozenset(
    {
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError._UNSUPPORTED_FEATURE,
    }
)
"""The broker is too old for idempotence, or does not permit it."""


class Clients:
    """Makes clients from the sink's properties, and destroys replaced ones.

    :param make: makes a client from its configuration: ``Producer``, or a test double.
    :ivar in_use: the client that records are handed to; None before the start and after the end.
    :ivar made_at_s: the time at which the last client was made.
    :ivar tells_offsets: a delivery report of success has an offset, unless the broker has not stored the record.
    """

    def __init__(self, context: SinkContext, make: Callable[..., Producer]) -> None:
        self._context = context
        self._make = make
        self._callbacks: Mapping[str, Callable[..., None]] = {}
        self._credentials = CredentialFiles(context.settings)
        self._properties = confluent_properties(context.name, context.settings, context.log)
        self._idempotence_is_ours = not self._properties.keys() & ORDER_PROPERTIES
        self._set_idempotence(self._properties)
        # When a later batch succeeds, librdkafka also reports success for an earlier one, without offsets. On a new
        # partition, which accepts any first sequence number (KAFKA-15591), the earlier batch may have been refused.
        self.tells_offsets = not confirms_nothing(self._properties)
        self.in_use: Producer | None = None
        self.made_at_s = 0.0
        self._single: Producer | None = None
        self._successor: Producer | None = None

    @property
    def servers(self) -> str:
        """The bootstrap servers, for people."""
        return bootstrap_servers(self._properties) or "(none configured)"

    @property
    def has_successor(self) -> bool:
        """Whether another client is ready to take over."""
        return self._successor is not None

    def start(self, callbacks: Mapping[str, Callable[..., None]]) -> None:
        """Make the first client.

        :param callbacks: librdkafka's, for this client and all later ones.
        :raises ConfigurationError: naming every property that librdkafka refuses.
        """
        self._callbacks = callbacks
        self.in_use = self._made()

    def all(self) -> list[Producer]:
        """The clients that may have records in flight."""
        return [client for client in (self.in_use, self._single) if client is not None]

    def alone(self) -> Producer:
        """The client that sends each record in a request of its own."""
        self._single = self._single or self._made(_ALONE)
        return self._single

    def reload(self) -> tuple[Sequence[str], bool]:
        """Make a successor where credential files have changed: these files, and whether there is a new successor."""
        files, successor = self._credentials.reload(self._made_with)
        if successor is not None:
            before = [self._successor] if self._successor is not None else []
            self._successor = successor
            destroy(before)
        return files, successor is not None

    def bootstrap_again(self) -> None:
        """Make a successor with the same properties; a new client asks the bootstrap servers for the brokers."""
        if self._successor is None:
            self._successor = self._made()

    def take_over(self) -> None:
        """Put the successor in use, if there is one."""
        if self._successor is not None:
            self._put_in_use(self._successor)

    def replace(self, fatal: KafkaError) -> None:
        """Put a new client in use after a fatal error; without idempotence, where the broker does not support it."""
        if self._idempotence_is_ours and fatal.code() in _NO_IDEMPOTENCE_CODES:
            self._properties.pop("enable.idempotence")
            self._idempotence_is_ours = False
            self._context.log.warn(
                "kafka_idempotence_off", error=fatal.str(), effect="a retry may change the order of records"
            )
        self._put_in_use(self._made())

    def end(self) -> None:
        """Destroy all clients."""
        clients = self.all()
        if self._successor is not None:
            clients.append(self._successor)
        self.in_use = self._single = self._successor = None
        destroy(clients)

    def _put_in_use(self, producer: Producer) -> None:
        before = self.all()
        self.in_use, self._single, self._successor = producer, None, None
        destroy(before)

    def _made_with(self, settings: Mapping[str, object]) -> Producer:
        before = self._properties
        self._properties = confluent_properties(self._context.name, settings, self._context.log)
        self._set_idempotence(self._properties)
        try:
            return self._made()
        except BaseException:
            self._properties = before
            raise

    def _set_idempotence(self, properties: dict[str, str]) -> None:
        if self._idempotence_is_ours:
            # without it a later record may overtake one that is retried
            properties["enable.idempotence"] = "true"

    def _made(self, changed: Mapping[str, str] = MappingProxyType({})) -> Producer:
        """Make a client.

        :param changed: properties that differ from the sink's.
        :raises ConfigurationError: naming every property that librdkafka refuses.
        """
        self.made_at_s = self._context.reactor.seconds()
        properties = {**self._properties, **changed}
        return make_producer(self._make, self._context.name, properties, self._callbacks, self._context.log)
