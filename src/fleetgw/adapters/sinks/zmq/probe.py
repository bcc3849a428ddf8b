"""The findings of ``fleetgw doctor`` about the ZMQ socket. Everything here blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import zmq

from fleetgw.adapters.diagnosis.blocking import BlockingProbe
from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.adapters.diagnosis.network import guess_server
from fleetgw.adapters.sinks.zmq.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.zmq.settings import CurveKeys
    from fleetgw.domain.ports import Finding, IDiagnosable

_EVERY_INTERFACE = {"*", "0.0.0.0", "[::]"}  # noqa: S104  compared with, not bound to


def zmq_probe(context: SinkContext) -> IDiagnosable:
    """Make the probe of the socket."""
    return BlockingProbe(lambda: look(context), context.reactor)


def look(context: SinkContext) -> Iterator[Finding]:
    """Check the library, the keys, and the address, which is bound for a moment."""
    settings = read_settings(context.name, context.settings)
    yield good(f"libzmq {zmq.zmq_version()}, PUB")
    yield _keys(settings.curve, settings.addr)
    with zmq.Context() as library, library.socket(zmq.PUB) as publisher:
        publisher.setsockopt(zmq.LINGER, 0)
        publisher.setsockopt(zmq.IPV6, int(settings.needs_ipv6))
        try:
            publisher.bind(settings.addr)
        except zmq.ZMQError as error:
            yield _not_bound(settings.addr, error)
            return
    yield good(f"{settings.addr} can be bound")
    yield good("a client that is not subscribed when a record is sent misses it: the socket gets no confirmations")


def _keys(curve: CurveKeys | None, addr: str) -> Finding:
    if curve is None:
        interface = addr.rpartition("://")[2].rpartition(":")[0]
        if interface in _EVERY_INTERFACE:
            fix = "give server_key_json_path and allowed_public_keys_json_path, or bind to one address"
            return worth_a_look("without CURVE: every client that reaches the port receives all records", fix)
        return good("without CURVE")
    if curve.allowed is None:
        fix = "name the clients' keys in allowed_public_keys_json_path"
        return worth_a_look(f"CURVE, our public key is {curve.public.decode()}; every client that knows it is let in", fix)
    return good(f"CURVE, our public key is {curve.public.decode()}; {len(curve.allowed)} clients are let in")


def _not_bound(addr: str, error: zmq.ZMQError) -> Finding:
    if error.errno == zmq.EADDRINUSE:
        parts = urlsplit(addr)
        if parts.scheme == "tcp" and parts.port is not None:
            host = "127.0.0.1" if parts.hostname in {None, "*", "0.0.0.0", "::"} else parts.hostname  # noqa: S104  as above
            answer = guess_server(host or "127.0.0.1", parts.port)
            if "ZeroMQ" in answer:
                what = f"{addr} is taken by a ZeroMQ socket"
                return worth_a_look(what, "nothing, if the gateway runs; else find the program that has it: ss -ltnp")
        return will_not_work(f"{addr} is taken", "end the program that has it (see ss -ltnp), or name another")
    return will_not_work(
        f"{addr} cannot be bound: {error.strerror}", 'name an address of this machine: "tcp://127.0.0.1:5284"'
    )
