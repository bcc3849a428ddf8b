"""The section ``redis`` of the configuration, as the sink uses it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

from attrs import field, frozen

from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_NS_PER_S = 1_000_000_000

ANSWER_TIMEOUT_S = 5.0
"""How long one publish may take when ``publish_timeout`` does not say."""

CONNECT_TIMEOUT_S = 5.0

_WITHOUT_MEANING = ("min_idle_conns", "max_idle_conns", "pool_timeout")
"""Pool settings of the Go server that have nothing to bound here: all connections are kept, and nobody waits for one."""


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class Login:
    """What to say to a server; empty where it asks for nothing."""

    username: str | None
    password: str | None = field(repr=False)


@frozen
class RedisSettings:
    """See the reference of the configuration for what each means.

    :ivar db: of no meaning in a cluster.
    :ivar tls: how to speak TLS; None: not at all.
    :ivar server_name: the name that the server's certificate must carry, in place of the host's.
    :ivar sentinel_master: what the sentinels at ``addresses`` call the servers; None: no sentinels.
    :ivar answer_timeout_s: how long a server may take to answer.
    :ivar connections: to each server; a vehicle's records always take the same one.
    :ivar max_age_s: after which a connection is replaced; None: never.
    :ivar max_idle_s: likewise, since it was last used.
    :ivar without_meaning: keys that were given and do nothing.
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
    without_meaning: tuple[str, ...]


def read_settings(name: str, settings: Mapping[str, object]) -> RedisSettings:
    """Read the section.

    :param name: of the sink, for messages.
    :raises ConfigurationError: it cannot work.
    """
    pool = _section(settings, "pool")
    sentinel = _section(settings, "sentinel")
    addresses = _addresses(name, settings.get("addrs"))
    cluster = bool(settings.get("cluster_mode"))
    vin_topics, set_prefix = bool(settings.get("publish_vin_topics")), _text(settings, "subscriber_set_prefix") or ""
    if not (vin_topics or set_prefix):
        what = "has neither publish_vin_topics nor subscriber_set_prefix: no record would be published"
        raise _problem(name, what, "set one of them, or both")
    if cluster and sentinel:
        raise _problem(f"{name}.sentinel", "a cluster has no sentinels", "remove it, or cluster_mode")
    limits = [limit for key in ("pool_size", "max_active_conns") if (limit := _count(pool, key)) and limit > 0]
    answer_limits = [
        limit
        for limit in (_seconds(settings, "publish_timeout"), _seconds(pool, "read_timeout"), _seconds(pool, "write_timeout"))
        if limit
    ]
    answer_timeout_s = min(answer_limits, default=ANSWER_TIMEOUT_S)
    return RedisSettings(
        addresses=addresses,
        login=Login(_text(settings, "username"), _text(settings, "password")),
        db=_count(settings, "db") or 0,
        tls=_tls(name, settings),
        server_name=_server_name(settings, addresses),
        sentinel_master=_text(sentinel, "master_name"),
        sentinel_login=Login(_text(sentinel, "username"), _text(sentinel, "password")),
        cluster=cluster,
        connections=min(limits, default=1),
        connect_timeout_s=min(CONNECT_TIMEOUT_S, answer_timeout_s),
        answer_timeout_s=answer_timeout_s,
        max_age_s=_seconds(pool, "conn_max_lifetime"),
        max_idle_s=_seconds(pool, "conn_max_idle_time"),
        vin_topics=vin_topics,
        set_prefix=set_prefix,
        without_meaning=tuple(f"{name}.pool.{key}" for key in _WITHOUT_MEANING if pool.get(key)),
    )


def _addresses(name: str, given: object) -> tuple[Address, ...]:
    addresses = []
    for text in given if isinstance(given, (list, tuple)) else ():
        host, colon, port = str(text).rpartition(":")
        if not colon or not port.isdecimal():
            raise _problem(f"{name}.addrs", f"{text!r} is no address", "must be host:port")
        addresses.append(Address(host.removeprefix("[").removesuffix("]") or "localhost", int(port)))
    if not addresses:
        raise _problem(f"{name}.addrs", "is empty", 'must be a list of servers, such as ["127.0.0.1:6379"]')
    return tuple(addresses)


def _tls(name: str, settings: Mapping[str, object]) -> ssl.SSLContext | None:
    """A context with the certificates as their files hold them now."""
    if settings.get("tls") is None:
        return None
    tls = _section(settings, "tls")
    ca_file, certificate, key = (_text(tls, key) for key in ("ca_file", "server_cert", "server_key"))
    files = f"ca_file {ca_file}"
    try:
        context = ssl.create_default_context(cafile=ca_file)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as in Go, an intermediate may be all that is trusted
        if certificate:
            files = f"server_cert {certificate}, server_key {key}"
            context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        what = f"cannot be used: {files}: {error.strerror or error}"
        raise _problem(f"{name}.tls", what, "name PEM files that belong together") from error
    return context


def _server_name(settings: Mapping[str, object], addresses: tuple[Address, ...]) -> str | None:
    """A name, or true for the first address's, as the Go server has it."""
    given = settings.get("override_tls_server_name")
    if isinstance(given, bool):
        return addresses[0].host if given else None
    return _text(settings, "override_tls_server_name")


def _section(settings: Mapping[str, object], key: str) -> Mapping[str, object]:
    section = settings.get(key)
    return section if isinstance(section, dict) else {}


def _text(settings: Mapping[str, object], key: str) -> str | None:
    value = settings.get(key)
    return None if value is None else str(value) or None


def _count(settings: Mapping[str, object], key: str) -> int | None:
    value = settings.get(key)
    return value if isinstance(value, int) else None


def _seconds(settings: Mapping[str, object], key: str) -> float | None:
    """Nanoseconds to seconds; None for what is left out, zero or negative (no limit)."""
    value = _count(settings, key)
    return value / _NS_PER_S if value is not None and value > 0 else None


def _problem(path: str, what: str, fix: str) -> ConfigurationError:
    return ConfigurationError([Problem(path, what, fix)])
