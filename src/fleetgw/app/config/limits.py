"""The sections ``limits``, ``rate_limit`` and ``connectivity``."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from fleetgw.adapters.settings.values import ZERO_IS_LEFT_OUT, Natural, Positive, Seconds, Settings, Whole


class RateLimit(Settings, frozen=True, kw_only=True):
    """Limit on the records of one vehicle, over all its connections. Records above it are neither acked nor dispatched."""

    near_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("interval", "message_interval_time_seconds", "message_interval"), "message_interval_time"
    )

    enabled: Annotated[bool, Meta(description="Whether vehicles are limited.")] = False
    message_limit: Annotated[Whole, Meta(description="Records in one interval; needed, and at least 1, when enabled.")] = 0
    message_interval_time: Annotated[
        Whole, Meta(description="Length of the interval in seconds; 0: the default.", extra=ZERO_IS_LEFT_OUT)
    ] = 60


class Connectivity(Settings, frozen=True, kw_only=True):
    """The records of the type `connectivity`, which the gateway makes itself."""

    debounce_s: Annotated[
        Seconds,
        Meta(
            description="Seconds that DISCONNECTED is held back; it is dropped when the vehicle reconnects by then. It is "
            "held back in any case while another connection of the vehicle is open."
        ),
    ] = 0.0


class Limits(Settings, frozen=True, kw_only=True):
    """Limits on vehicles and their connections. A time of 0: no limit."""

    handshake_timeout_s: Annotated[Seconds, Meta(description="Seconds for the TLS handshake and the upgrade together.")] = (
        10.0
    )
    message_timeout_s: Annotated[
        Seconds, Meta(description="Seconds from the first byte of a frame or message to its last.")
    ] = 30.0
    ping_after_s: Annotated[Seconds, Meta(description="Seconds of silence after which a connection is pinged.")] = 25.0
    ping_timeout_s: Annotated[Seconds, Meta(description="Seconds of further silence after which it is closed.")] = 20.0
    write_timeout_s: Annotated[Seconds, Meta(description="Seconds that replies may wait for a vehicle to read them.")] = 10.0
    max_message_bytes: Annotated[Positive, Meta(description="Bytes of a message; a larger one gets the error reply.")] = (
        1_000_000
    )
    max_frame_bytes: Annotated[
        Positive,
        Meta(description="Bytes of a frame and of an assembled message; beyond it the connection is closed (1009)."),
    ] = 4_194_304
    max_connections: Annotated[
        Natural, Meta(description="Connections of vehicles at a time; 0: as many as RLIMIT_NOFILE leaves, 456 kept back.")
    ] = 0
    max_connections_per_vehicle: Annotated[
        Natural,
        Meta(description="Connections of one vehicle (certificate) at a time; 0: a quarter of all, at most 1024."),
    ] = 0
    max_half_open: Annotated[
        Natural,
        Meta(
            description="Connections that have not finished TLS handshake and upgrade; further ones wait in the kernel. "
            "0: a quarter of RLIMIT_NOFILE, at most 4096."
        ),
    ] = 0
    max_half_open_per_address: Annotated[
        Natural,
        Meta(
            description="Of these, those of one IPv4 address or IPv6 /64 network; further ones are closed. "
            "0: half of `max_half_open`. Behind a load balancer, all vehicles may have one address."
        ),
    ] = 0
    max_pending_reply_bytes: Annotated[
        Positive, Meta(description="Bytes of unread replies beyond which a vehicle is cut off.")
    ] = 262_144
    read_interval_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="Least milliseconds from one look for vehicles' bytes to the next; 0: none. It saves CPU, delays "
            "records by about as much, and has no effect without epoll.",
        ),
    ] = 0
