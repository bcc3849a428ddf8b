"""Interprets the errors and statistics of a librdkafka client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.kafka.cluster import Cluster

_CAUSE_CODES = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE, KafkaError._TRANSPORT})
"""Errors of one broker. "All brokers are down" follows them, without a reason of its own."""


class ClientEvents:
    """Tells a ``Cluster`` whether a librdkafka client reaches a broker."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._all_down = False
        self._cause = ""  # the last error of a broker since one was connected

    def client_changed(self) -> None:
        """Another client takes over."""
        self._all_down, self._cause = False, ""
        self._cluster.client_changed()

    def error(self, error: KafkaError) -> None:
        """The client reports an error that concerns no record."""
        reason = f"{error.name()}: {error.str()}"
        code = error.code()
        if code in _CAUSE_CODES:
            self._cause = reason
        elif code == KafkaError._ALL_BROKERS_DOWN:
            self._all_down = True
            reason = self._cause or reason
        elif not error.fatal():
            return
        if self._all_down or error.fatal():
            self._cluster.unreachable(reason)

    def statistics(self, statistics: str) -> None:
        """The client reports its statistics, JSON."""
        # any connected broker will do: parsing the whole text would take much longer
        if '"state":"UP"' in statistics:
            self._all_down, self._cause = False, ""
            self._cluster.connected()
        else:
            self._cluster.disconnected()

    def timed_out(self) -> None:
        """The client reports that a record was not confirmed in time."""
        cause = f": {self._cause}" if self._all_down and self._cause else ""
        self._cluster.unusable(f"records are not confirmed in time{cause}")
