"""The clients of librdkafka that the sink has: which one is in use, and which takes over from it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, Producer

from fleetgw.adapters.sinks.kafka.credential_files import CredentialFiles
from fleetgw.adapters.sinks.kafka.producers import let_go, make_producer
from fleetgw.adapters.sinks.kafka.properties import ORDER_PROPERTIES, confluent_properties

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
"""The broker is too old for idempotence, or does not grant it to us."""


class Clients:
    """Makes clients from the sink's properties, and lets go of those that are of no more use.

    :param make: makes one from its configuration: ``Producer``, or a test's.
    :ivar in_use: None before the start and after the end.
    :ivar made_at_s: when the last one was made.
    """

    def __init__(self, context: SinkContext, make: Callable[..., Producer]) -> None:
        self._context = context
        self._make = make
        self._callbacks: Mapping[str, Callable[..., None]] = {}
        self._credentials = CredentialFiles(context.settings)
        self._properties = confluent_properties(context.name, context.settings, context.log)
        self._idempotence_is_ours = not self._properties.keys() & ORDER_PROPERTIES
        self._set_idempotence(self._properties)
        # librdkafka takes a later batch's success for an earlier one's too, then without offsets, and is wrong about a new
        # partition: there Kafka takes any sequence number first (KAFKA-15591), and the batch before it may have been refused
        self.tells_offsets = "0" not in (self._properties.get("acks"), self._properties.get("request.required.acks"))
        self.in_use: Producer | None = None
        self.made_at_s = 0.0
        self._single: Producer | None = None
        self._successor: Producer | None = None  # has read the credentials again

    @property
    def servers(self) -> str:
        """Where brokers are looked for, for people."""
        return self._properties.get("bootstrap.servers") or self._properties.get("metadata.broker.list", "(none configured)")

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
        """Those that may have records under way."""
        return [client for client in (self.in_use, self._single) if client is not None]

    def alone(self) -> Producer:
        """The one that sends each record by itself."""
        self._single = self._single or self._made(_ALONE)
        return self._single

    def reload(self) -> tuple[Sequence[str], bool]:
        """Read changed credentials again: which files, and whether there is a new successor. See ``IReloadable``."""
        files, successor = self._credentials.reload(self._made_with)
        if successor is not None:
            before = [self._successor] if self._successor is not None else []
            self._successor = successor
            let_go(before)
        return files, successor is not None

    def bootstrap_again(self) -> None:
        """Make a successor with the same properties, which asks the bootstrap servers for the brokers."""
        if self._successor is None:
            self._successor = self._made()

    def take_over(self) -> None:
        """Go on with the successor, if there is one."""
        if self._successor is not None:
            self._go_on_with(self._successor)

    def replace(self, fatal: KafkaError) -> None:
        """Go on with a new client after a fatal error; without idempotence, where the broker does not have it."""
        if self._idempotence_is_ours and fatal.code() in _NO_IDEMPOTENCE_CODES:
            self._properties.pop("enable.idempotence")
            self._idempotence_is_ours = False
            self._context.log.warn(
                "kafka_idempotence_off", error=fatal.str(), effect="a retry may change the order of records"
            )
        self._go_on_with(self._made())

    def end(self) -> None:
        """Let go of all."""
        clients = self.all()
        if self._successor is not None:
            clients.append(self._successor)
        self.in_use = self._single = self._successor = None
        let_go(clients)

    def _go_on_with(self, producer: Producer) -> None:
        before = self.all()
        self.in_use, self._single, self._successor = producer, None, None
        let_go(before)

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
            # without it a retry after a broker's error may overtake: a vehicle's records would change order
            properties["enable.idempotence"] = "true"

    def _made(self, changed: Mapping[str, str] = MappingProxyType({})) -> Producer:
        """Make a client.

        :param changed: properties that differ from the sink's.
        :raises ConfigurationError: naming every property that librdkafka refuses.
        """
        self.made_at_s = self._context.reactor.seconds()
        properties = {**self._properties, **changed}
        return make_producer(self._make, self._context.name, properties, self._callbacks, self._context.log)
