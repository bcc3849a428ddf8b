"""Limits on the connections of vehicles."""

from attrs import frozen


@frozen
class IngressLimits:
    """Limits on each connection, and on their number. Seconds; 0 means no limit.

    :ivar handshake_timeout_s: from the socket to the end of the upgrade.
    :ivar message_timeout_s: from the first byte of a message (or frame) to its last.
    :ivar ping_after_s: silence after which the gateway pings.
    :ivar ping_timeout_s: silence after that ping which ends the connection.
    :ivar write_timeout_s: the longest time that replies wait for the vehicle to read.
    :ivar max_frame_bytes: a longer frame or message ends the connection with 1009 as soon as it is announced.
    :ivar max_pending_reply_bytes: replies that wait beyond this end the connection.
    :ivar max_connections: a further upgrade is refused with 503.
    :ivar max_half_open: connections that have not finished their upgrade; further ones wait in the kernel's queue.
    :ivar max_half_open_per_address: of them, those of one IPv4 address or IPv6 /64 network.
    :ivar max_connections_per_vehicle: of one device id; a further upgrade is refused with 503.
    """

    handshake_timeout_s: float
    message_timeout_s: float
    ping_after_s: float
    ping_timeout_s: float
    write_timeout_s: float
    max_frame_bytes: int
    max_pending_reply_bytes: int
    max_connections: int
    max_half_open: int = 0
    max_half_open_per_address: int = 0
    max_connections_per_vehicle: int = 0
