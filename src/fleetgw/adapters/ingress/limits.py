"""Limits on the connections of vehicles."""

from attrs import frozen


@frozen
class IngressLimits:
    """Limits on each connection, and on their number. Times are in seconds; 0 means no limit.

    :ivar handshake_timeout_s: longest time from accepting the socket to the end of the upgrade.
    :ivar message_timeout_s: longest time from the first byte of a message or frame to its last.
    :ivar ping_after_s: silence after which the gateway pings.
    :ivar ping_timeout_s: silence after that ping, upon which the connection is cut.
    :ivar write_timeout_s: longest time that replies wait for the vehicle to read them.
    :ivar max_frame_bytes: maximum size of a frame or message; the header of a longer one ends the connection with 1009.
    :ivar max_message_bytes: maximum size of a message whose envelope is read here; the session refuses longer ones.
    :ivar max_pending_reply_bytes: maximum size of unsent replies; more end the connection.
    :ivar max_connections: maximum number of upgraded connections; further upgrades are refused with 503.
    :ivar max_half_open: maximum number of connections before their upgrade; further ones wait in the kernel's queue.
    :ivar max_half_open_per_address: the same for one IPv4 address or IPv6 /64 network.
    :ivar max_connections_per_vehicle: maximum for one device id; further upgrades are refused with 503.
    :ivar read_interval_ms: least time from one look for bytes of any connection to the next.
    """

    handshake_timeout_s: float
    message_timeout_s: float
    ping_after_s: float
    ping_timeout_s: float
    write_timeout_s: float
    max_frame_bytes: int
    max_message_bytes: int
    max_pending_reply_bytes: int
    max_connections: int
    max_half_open: int = 0
    max_half_open_per_address: int = 0
    max_connections_per_vehicle: int = 0
    read_interval_ms: int = 0
