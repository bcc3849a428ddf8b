"""The findings of ``fleetgw doctor`` about Redis. Everything here blocks."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import evolve

from fleetgw.adapters.diagnosis.blocking import BlockingProbe
from fleetgw.adapters.diagnosis.certificates import client_files_findings
from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.adapters.diagnosis.network import TIMEOUT_S, check_alternatives, check_reachable, check_tls, guess_server
from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.sinks.redis.connectors import SentinelConnector, ServerConnector
from fleetgw.adapters.sinks.redis.credentials import FixedAccess
from fleetgw.adapters.sinks.redis.server_connection import ServerConnection
from fleetgw.adapters.sinks.redis.settings import Redis, read_settings
from fleetgw.domain.errors import NotConnected

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from fleetgw.adapters.sinks.redis.settings import Address, Login, RedisSettings
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import Finding, IDiagnosable

CLOCK_TOLERANCE_S = 5

_UNHEARD = "start the consumer: a record without a subscriber is not delivered"

SCAN_ROUNDS = 50
"""Most rounds of SCAN, of a thousand keys each: enough to find subscribers, and a small load for a busy server."""


def redis_probe(context: SinkContext) -> IDiagnosable:
    """Make the probe of the servers."""
    return BlockingProbe(lambda: look(context), context.reactor)


def look(context: SinkContext) -> Iterator[Finding]:
    """Check every server of the section, then the one that records go to."""
    if tls := typed(Redis, context.settings, context.name).tls:
        yield from client_files_findings(tls.ca_file, tls.server_cert, tls.server_key)
    settings = read_settings(context.name, context.settings)
    settings = evolve(settings, connect_timeout_s=min(settings.connect_timeout_s, TIMEOUT_S))
    login = settings.sentinel_login if settings.sentinel_master else settings.login
    usable = yield from check_alternatives(settings.addresses, lambda address: _look_at_server(address, settings, login))
    if not usable:
        return
    if len(settings.addresses) > 1 and not (settings.sentinel_master or settings.cluster) and _are_cluster_nodes(settings):
        what = "these are nodes of a cluster: the gateway uses them as one, as the Go server does"
        yield worth_a_look(what, "set redis.cluster_mode to true")
        settings = evolve(settings, cluster=True, db=0)
    access, master = FixedAccess(settings), settings.sentinel_master
    try:
        connection = (ServerConnector(access) if master is None else SentinelConnector(access, master))()
    except NotConnected as error:
        yield will_not_work(f"no server to publish to: {error}", "see the reason; the other findings may explain it")
        return
    try:
        if settings.sentinel_master:
            yield good(f"the sentinels name {connection.address} as master of {settings.sentinel_master}")
            yield _credentials(settings.login)
        if settings.cluster:
            yield _cluster(connection)
        yield from _subscribers(connection, settings, context)
    except NotConnected as error:
        yield worth_a_look(f"the server did not answer: {error}", "allow the user INFO, SCAN and PUBSUB, or check by hand")
    finally:
        connection.disconnect()


def _are_cluster_nodes(settings: RedisSettings) -> bool:
    found: list[bool] = []
    with suppress(NotConnected):  # any other fault is a finding of its own
        ServerConnector(FixedAccess(settings), lambda: found.append(True))().disconnect()
    return bool(found)


def _look_at_server(address: Address, settings: RedisSettings, login: Login) -> Generator[Finding, None, bool]:
    """Check one server: TCP, TLS, authentication, version; returns whether it can be used."""
    if not (yield from check_reachable(*address)):
        return False
    if settings.tls is not None:
        name = settings.server_name or address.host
        if not (yield from check_tls(*address, settings.tls, name)):
            return False
    try:
        connection = ServerConnection(address, settings, login).open()
    except NotConnected as error:
        yield _refusal(str(error), address, settings, login)
        return False
    try:
        yield _credentials(login)
        yield from _server(connection, settings)
    except NotConnected as error:
        yield worth_a_look(f"the server does not tell its version: {error}", "nothing needs to be done")
    finally:
        connection.disconnect()
    return True


def _refusal(reason: str, address: Address, settings: RedisSettings, login: Login) -> Finding:
    lower = reason.lower()
    if "wrongpass" in lower or "invalid username-password" in lower or "invalid password" in lower:
        return will_not_work(
            f"{reason} ({_who(login)})", "correct username and password (REDIS_PASSWORD wins over the file)"
        )
    if "authentication required" in lower or "noauth" in lower:
        return will_not_work(f"{reason} ({_who(login)})", "give the username and password that the server requires")
    if "without any password" in lower:
        return will_not_work(f"{reason}", "the server asks for no password: remove it, or set one there")
    hint = "" if settings.tls else f"; {guess_server(*address)}"
    return will_not_work(f"{reason}{hint}", "name the address of a Redis server; give the section tls if it speaks TLS")


def _server(connection: ServerConnection, settings: RedisSettings) -> Iterator[Finding]:
    facts = _facts(connection.ask("INFO", "server"))
    version = facts.get("valkey_version") or facts.get("redis_version", "of an unknown version")
    product = "Valkey" if "valkey_version" in facts else "Redis"
    mode = facts.get("redis_mode", "standalone")
    yield good(f"{product} {version}, {mode}")
    if mode == "cluster" and not settings.cluster:
        yield from _node_of_a_cluster(connection, settings)
    match connection.ask("TIME"):
        case [bytes(seconds), _] if abs(int(seconds) - time.time()) > CLOCK_TOLERANCE_S:
            ahead_s = int(seconds) - time.time()
            yield worth_a_look(f"its clock is {ahead_s:+.0f} s from ours", "let NTP set the clocks of both machines")


def _node_of_a_cluster(connection: ServerConnection, settings: RedisSettings) -> Iterator[Finding]:
    """Warn that a node of a cluster is used as if it were the only server."""
    if len(settings.addresses) > 1 or _facts(connection.ask("CLUSTER", "INFO")).get("cluster_size") == "1":
        return
    fix = "set redis.cluster_mode to true"
    if settings.set_prefix:
        what = "this is a node of a cluster: it has the sets of some vehicles only, others are MOVED"
        yield will_not_work(what, fix)
    else:
        yield worth_a_look("this is a node of a cluster: it does not count subscribers at other nodes", fix)


def _cluster(connection: ServerConnection) -> Finding:
    try:
        facts = _facts(connection.ask("CLUSTER", "INFO"))
    except NotConnected as error:
        if "cluster support disabled" in str(error):
            return will_not_work("this is a single server, no cluster", "set redis.cluster_mode to false, or leave it out")
        raise
    what = f"cluster of {facts.get('cluster_size', '?')} masters, state {facts.get('cluster_state', '?')}"
    if facts.get("cluster_state") == "ok":
        return good(what)
    return will_not_work(what, "see redis-cli --cluster check")


def _subscribers(connection: ServerConnection, settings: RedisSettings, context: SinkContext) -> Iterator[Finding]:
    for record_type in context.record_types:
        channel = context.destination(record_type)
        if settings.set_prefix:
            pattern = f"{settings.set_prefix}_{channel}_{{*}}"
            keys = _count_keys(connection, pattern)
            what = f"{record_type}: {keys or 'no'} vehicles have a set of subscribers ({pattern})"
            yield (good(what) if keys else worth_a_look(what, _UNHEARD))
        if settings.vin_topics:
            pattern = f"{channel}_{{*}}"
            channels = connection.ask("PUBSUB", "CHANNELS", pattern)
            patterns = connection.ask("PUBSUB", "NUMPAT")
            count = len(channels) if isinstance(channels, list) else 0
            heard = f"{count or 'no'} vehicles' channels have subscribers now ({pattern})"
            what = f"{record_type}: {heard}, {patterns or 'no'} pattern subscriptions"
            if count or patterns:
                yield good(what)
            else:
                yield worth_a_look(what, _UNHEARD)


def _count_keys(connection: ServerConnection, pattern: str) -> str:
    cursor, count = b"0", 0
    for _ in range(SCAN_ROUNDS):
        match connection.ask("SCAN", cursor, "MATCH", pattern, "COUNT", "1000"):
            case [bytes(following), list(keys)]:
                cursor, count = following, count + len(keys)
        if cursor == b"0":
            return str(count) if count else ""
    return f"{count} or more"


def _credentials(login: Login) -> Finding:
    return good(_who(login))


def _who(login: Login) -> str:
    if login.password is None:
        return f"as {login.username}, without a password" if login.username else "without credentials"
    return f"as {login.username or 'the default user'}, with a password"


def _facts(reply: object) -> dict[str, str]:
    """The fields of a reply to INFO, by name."""
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else ""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
