"""A factory for a single connection."""

from __future__ import annotations

from typing import Generic, TypeVar

from twisted.internet.protocol import Factory, Protocol

ProtocolT = TypeVar("ProtocolT", bound=Protocol)


class OneProtocol(Factory, Generic[ProtocolT]):
    """Builds one protocol and keeps no reference to it, unlike the factory that ``connectProtocol`` makes."""

    noisy = False

    def __init__(self, protocol: ProtocolT) -> None:
        self._protocol: ProtocolT | None = protocol

    def buildProtocol(self, _address: object) -> ProtocolT | None:
        """The protocol, once."""
        protocol, self._protocol = self._protocol, None
        return protocol
