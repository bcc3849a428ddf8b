"""State shared by all connections of vehicles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from fleetgw.adapters.ingress.certificate import KnownCertificates
from fleetgw.adapters.ingress.replies import ReplyFrames

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.adapters.ingress.autobahn_frames import FrameReader, ReaderHost
    from fleetgw.adapters.ingress.events import IngressEvents
    from fleetgw.adapters.ingress.limits import IngressLimits
    from fleetgw.adapters.ingress.registry import ConnectionRegistry
    from fleetgw.adapters.ingress.turns import Turns
    from fleetgw.domain.allow_list import AllowList
    from fleetgw.domain.identity import IssuerTable
    from fleetgw.domain.ports import IGateway, ITracing


@define(eq=False)
class ConnectionContext:
    """Shared state and collaborators of all connections.

    :ivar issuers: identity rules by certificate authority.
    :ivar monotonic: returns monotonic time in seconds.
    :ivar new_reader: creates an Autobahn reader for frames off the fast path, with the maximum size of a frame.
    :ivar allow_list: the vehicles that may connect; None: every one with a certificate.
    :ivar tracing: finds the traces that a connection belongs to.
    :ivar certificates: the facts of vehicles' certificates.
    """

    gateway: IGateway
    issuers: IssuerTable
    limits: IngressLimits
    monotonic: Callable[[], float]
    turns: Turns
    registry: ConnectionRegistry  # type: ignore[type-arg]  # of connections, which import this module
    events: IngressEvents
    new_reader: Callable[[ReaderHost, int], FrameReader]
    tracing: ITracing
    allow_list: AllowList | None = None
    certificates: KnownCertificates = field(factory=KnownCertificates)
    replies: ReplyFrames = field(factory=ReplyFrames)
