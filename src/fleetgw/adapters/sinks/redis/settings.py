"""The section ``redis`` of the configuration, as the sink uses it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping  # noqa: TC003  msgspec reads the annotations of sections
from typing import Annotated, ClassVar, NamedTuple

from attrs import field, frozen
from msgspec import Meta

from fleetgw.adapters.secrets.secret import Secret  # noqa: TC001  msgspec reads the annotations of sections
from fleetgw.adapters.settings.client_tls import ClientTls  # noqa: TC001  msgspec reads the annotations of sections
from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.settings.values import OLD_RELIABLE_ACK, Nanoseconds, Natural, Settings
from fleetgw.adapters.text.addresses import address
from fleetgw.domain.errors import ConfigurationError, Problem

_NS_PER_S = 1_000_000_000

ANSWER_TIMEOUT_S = 5.0
"""Default of ``publish_timeout``."""

CONNECT_TIMEOUT_S = 5.0

_WITHOUT_EFFECT = ("min_idle_conns", "max_idle_conns", "pool_timeout")
"""Pool settings of the Go server without a use here: all connections are kept, and no record waits for a free one."""


class RedisPool(Settings, frozen=True, kw_only=True):
    """The connections to Redis. A time of zero or less sets no limit."""

    pool_size: Annotated[
        Natural | None, Meta(description="Connections to each server; default, and with 0: 1, which all vehicles share.")
    ] = None
    min_idle_conns: Annotated[Natural | None, Meta(description="Has no effect: connections are kept.")] = None
    max_idle_conns: Annotated[Natural | None, Meta(description="Has no effect: connections are kept.")] = None
    max_active_conns: Annotated[Natural | None, Meta(description="Connections to each server, at most; 0: `pool_size`.")] = (
        None
    )
    read_timeout: Annotated[
        int | None,
        Meta(description="Nanoseconds to wait for a reply; the shorter of it and `publish_timeout` counts."),
    ] = None
    write_timeout: Annotated[int | None, Meta(description="As `read_timeout`: a write ends with its reply.")] = None
    pool_timeout: Annotated[int | None, Meta(description="Has no effect: no record waits for a connection.")] = None
    conn_max_idle_time: Annotated[
        int | None, Meta(description="Nanoseconds without a record after which a connection is replaced.")
    ] = None
    conn_max_lifetime: Annotated[int | None, Meta(description="Nanoseconds after which a connection is replaced.")] = None


class RedisSentinel(Settings, frozen=True, kw_only=True):
    """Redis Sentinel, which names the master. `redis.addrs` are the sentinels then; they use the TLS of `redis.tls` too."""

    master_name: Annotated[str, Meta(description="Name of the master at the sentinels.")] = ""
    username: Annotated[str, Meta(description="User name for the sentinels themselves, where they require one.")] = ""
    password: Annotated[Secret | None, Meta(description="Password for the sentinels themselves.")] = None


class Redis(Settings, frozen=True, kw_only=True):
    """Redis: one server, a master named by sentinels, or a cluster."""

    old_keys: ClassVar[Mapping[str, str]] = OLD_RELIABLE_ACK
    near_keys: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("host", "url", "address", "servers"), "addrs"),
        "user": "username",
        "database": "db",
    }

    addrs: Annotated[
        tuple[str, ...],
        Meta(
            description="Servers, `host:port` each. Several: the cluster that they are nodes of, else the first that "
            "answers and is no replica. With `sentinel`, the sentinels; with `cluster_mode`, some nodes of the cluster."
        ),
    ] = ()
    username: Annotated[str, Meta(description="User name, where the server requires one.")] = ""
    password: Annotated[
        Secret | None,
        Meta(
            description="Password; the environment variable `REDIS_PASSWORD` wins over it.",
            extra={"environment": "REDIS_PASSWORD"},
        ),
    ] = None
    db: Annotated[Natural, Meta(description="Number of the database.")] = 0
    tls: Annotated[ClientTls | None, Meta(description="TLS towards Redis; left out: none.")] = None
    override_tls_server_name: Annotated[
        str | bool | None,
        Meta(description="Name that every server's certificate must have; `true`: the host of the first address."),
    ] = None
    pool: Annotated[RedisPool | None, Meta(description="The connections.")] = None
    publish_timeout: Annotated[
        Nanoseconds | None, Meta(description="Nanoseconds that one publish may take; default, and with 0: five seconds.")
    ] = None
    cluster_mode: Annotated[
        bool, Meta(description="The addresses are nodes of one cluster; left out: the gateway detects a cluster.")
    ] = False
    sentinel: Annotated[
        RedisSentinel | None, Meta(description="The addresses are sentinels; left out: they are servers.")
    ] = None
    publish_vin_topics: Annotated[
        bool, Meta(description="Publish to the channel `<namespace>_<record type>_{<vin>}` of each vehicle.")
    ] = False
    subscriber_set_prefix: Annotated[
        str, Meta(description="Publish to the live members of the sorted set `<prefix>_<namespace>_<record type>_{<vin>}`.")
    ] = ""


class Address(NamedTuple):
    """Host and port of a server."""

    host: str
    port: int

    def __str__(self) -> str:
        return address(self.host, self.port)


@frozen
class Login:
    """Credentials for a server; None where it asks for none."""

    username: str | None
    password: str | None = field(repr=False)


@frozen
class RedisSettings:
    """The checked settings. The reference of the configuration describes each.

    :ivar db: has no effect in a cluster.
    :ivar tls: None: connections without TLS.
    :ivar server_name: the name that the server's certificate must have; None: the host's.
    :ivar sentinel_master: the name of the master at the sentinels, which are at ``addresses``; None: no sentinels.
    :ivar answer_timeout_s: longest time without progress while a server owes a reply.
    :ivar connections: number of connections to each server; a vehicle's records always take the same one.
    :ivar max_age_s: age at which a connection is replaced; None: never.
    :ivar max_idle_s: time without records after which a connection is replaced; None: never.
    :ivar without_effect: keys that were given and have no effect.
    """

    addresses: tuple[Address, ...]
    login: Login
    db: int
    tls: ssl.SSLContext | None
    server_name: str | None
    sentinel_master: str | None
    sentinel_login: Login
    cluster: bool
    connections: int
    connect_timeout_s: float
    answer_timeout_s: float
    max_age_s: float | None
    max_idle_s: float | None
    vin_topics: bool
    set_prefix: str
    without_effect: tuple[str, ...]


def read_settings(name: str, settings: Mapping[str, object]) -> RedisSettings:
    """Read the section.

    :param name: of the sink, for errors.
    :raises ConfigurationError: the settings cannot work.
    """
    section = typed(Redis, settings, name)
    pool, sentinel = section.pool or RedisPool(), section.sentinel
    addresses = _addresses(name, section.addrs)
    if not (section.publish_vin_topics or section.subscriber_set_prefix):
        what = "has neither publish_vin_topics nor subscriber_set_prefix: no record would be published"
        raise _problem(name, what, "set one of them, or both")
    if section.cluster_mode and sentinel:
        raise _problem(f"{name}.sentinel", "a cluster has no sentinels", "remove it, or cluster_mode")
    limits = [limit for limit in (pool.pool_size, pool.max_active_conns) if limit]
    times = (section.publish_timeout, pool.read_timeout, pool.write_timeout)
    answer_timeout_s = min([time_s for time_s in map(_seconds, times) if time_s], default=ANSWER_TIMEOUT_S)
    return RedisSettings(
        addresses=addresses,
        login=Login(section.username or None, section.password or None),
        db=section.db,
        tls=_tls(name, section.tls),
        server_name=_server_name(section, addresses),
        sentinel_master=(sentinel.master_name or None) if sentinel else None,
        sentinel_login=Login(sentinel.username or None, sentinel.password or None) if sentinel else Login(None, None),
        cluster=section.cluster_mode,
        connections=min(limits, default=1),
        connect_timeout_s=min(CONNECT_TIMEOUT_S, answer_timeout_s),
        answer_timeout_s=answer_timeout_s,
        max_age_s=_seconds(pool.conn_max_lifetime),
        max_idle_s=_seconds(pool.conn_max_idle_time),
        vin_topics=section.publish_vin_topics,
        set_prefix=section.subscriber_set_prefix,
        without_effect=tuple(f"{name}.pool.{key}" for key in _WITHOUT_EFFECT if getattr(pool, key)),
    )


def _addresses(name: str, given: tuple[str, ...]) -> tuple[Address, ...]:
    addresses = []
    for text in given:
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal():
            raise _problem(f"{name}.addrs", f"{text!r} is no address", "must be host:port")
        addresses.append(Address(host.removeprefix("[").removesuffix("]") or "localhost", int(port)))
    if not addresses:
        raise _problem(f"{name}.addrs", "is empty", 'must be a list of servers, such as ["127.0.0.1:6379"]')
    return tuple(addresses)


def _tls(name: str, section: ClientTls | None) -> ssl.SSLContext | None:
    """A context with the current certificates and keys of the files."""
    if section is None:
        return None
    files = f"ca_file {section.ca_file}"
    try:
        context = ssl.create_default_context(cafile=section.ca_file)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as in Go, an intermediate alone may be trusted
        if section.server_cert:
            files = f"server_cert {section.server_cert}, server_key {section.server_key}"
            context.load_cert_chain(section.server_cert, section.server_key)
    except OSError as error:  # ssl.SSLError is one
        what = f"cannot be used: {files}: {error.strerror or error}"
        raise _problem(f"{name}.tls", what, "name PEM files that belong together") from error
    return context


def _server_name(section: Redis, addresses: tuple[Address, ...]) -> str | None:
    """The given name; with true the host of the first address, as in the Go server."""
    given = section.override_tls_server_name
    if isinstance(given, bool):
        return addresses[0].host if given else None
    return given or None


def _seconds(nanoseconds: int | None) -> float | None:
    """Seconds; None for a time that is left out, zero or negative (no limit)."""
    return nanoseconds / _NS_PER_S if nanoseconds is not None and nanoseconds > 0 else None


def _problem(path: str, what: str, fix: str) -> ConfigurationError:
    return ConfigurationError([Problem(path, what, fix)])
