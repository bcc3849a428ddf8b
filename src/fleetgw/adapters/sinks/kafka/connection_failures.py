"""Collects the reasons why kafka-python cannot connect to a broker, from its log: it reports them nowhere else."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.kafka.kafka_library import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    RequestTimedOutError,
    SaslAuthenticationFailedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self


_FAILED_TLS_HANDSHAKE = "Handshake failed: [SSL"


class ConnectionFailures(logging.Handler):
    """Handles the log lines of one client, while it is made and afterwards.

    :param refused: called on the client's network thread, with the reason, when a broker refuses the finished client because
        of its credentials or TLS.
    :ivar reason: the most informative failure logged within ``with``; empty when there was none.
    """

    def __init__(self, refused: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self.reason = ""
        self._refused = refused
        self._making_thread: int | None = None
        self._network_thread: int | None = None

    def __enter__(self) -> Self:
        self._making_thread = threading.get_ident()
        logging.getLogger("kafka.net").addHandler(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._making_thread = None
        if error is not None:
            self.unfollow()

    def follow(self, network_thread: int | None) -> None:
        """The client was made: handle the lines of its network thread from now on."""
        self._network_thread = network_thread

    def unfollow(self) -> None:
        """The client is closed: handle no more lines."""
        self._network_thread = None
        logging.getLogger("kafka.net").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        if not isinstance(record.args, tuple):
            return
        for error in record.args:
            if record.thread == self._making_thread:
                if isinstance(error, KafkaError) and (_is_informative(error) or not self.reason):
                    self.reason = str(error)
            elif record.thread == self._network_thread and _is_refusal(error):
                self._refused(str(error))


def _is_informative(error: Exception) -> bool:
    """Whether an error is informative: after a refusal a broker may only hang up, and every attempt ends with a timeout."""
    return not isinstance(error, (KafkaTimeoutError, RequestTimedOutError)) and "disconnected" not in str(error)


def _is_refusal(error: object) -> bool:
    """Whether a broker refuses the client; other failed handshakes may mean that the broker shuts down."""
    return isinstance(error, SaslAuthenticationFailedError) or (
        isinstance(error, KafkaConnectionError) and _FAILED_TLS_HANDSHAKE in str(error)
    )
