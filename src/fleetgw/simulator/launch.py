"""Makes a fleet and runs it on the real reactor."""

from __future__ import annotations

import signal
import sys
from random import Random
from typing import TYPE_CHECKING, TextIO, cast
from urllib.parse import urlsplit

from attrs import field, frozen
from cryptography import x509
from rich.console import Console
from twisted.internet.interfaces import IReactorCore, IReactorThreads, IReactorTime
from zope.interface import Interface

from fleetgw.adapters.text.terminal import json_text
from fleetgw.domain.records import PeerIdentity
from fleetgw.simulator.certificates import common_name
from fleetgw.simulator.conversation import Conversation
from fleetgw.simulator.fleet import Fleet, Schedule
from fleetgw.simulator.outbox import Outbox
from fleetgw.simulator.payloads import DriveReporter
from fleetgw.simulator.progress import BarProgress, LineProgress, describe
from fleetgw.simulator.report import as_json, as_tables
from fleetgw.simulator.tally import Tally
from fleetgw.simulator.tls import client_tls
from fleetgw.simulator.vehicle import SimulatedVehicle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IStreamClientEndpoint
    from twisted.python.failure import Failure


class _Reactor(IReactorCore, IReactorTime, IReactorThreads, Interface):
    """The reactor interfaces that a run uses."""

    def run(installSignalHandlers: bool = True) -> None:  # noqa: N805, FBT001, FBT002 - as every reactor of Twisted has it
        """Run until stopped."""


_INTERRUPTED_DRAIN_S = 2.0
_WSS_PORT = 443


@frozen
class PemCredential:
    """A vehicle's certificate, followed by intermediates, and its private key; both PEM."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


@frozen
class Simulation:
    """The parameters of a run.

    :ivar url: URL of the gateway, ``wss://host:port/path``.
    :ivar credentials: one entry for each vehicle; several vehicles may have the same.
    :ivar authority_pem: authority of the gateway's certificate; None for the machine's own list.
    :ivar check_server_name: whether the gateway's certificate must carry the URL's host.
    :ivar schedule: rate, number and types of records.
    :ivar resend_after_s: longest wait for an answer, after which a record is sent again.
    :ivar outbox_limit: highest number of unacknowledged records of a vehicle.
    :ivar seed: seed of drives and record types.
    :ivar ids: the destination of txids, or None.
    :ivar json_report: whether the report is JSON in place of tables.
    """

    url: str
    credentials: Sequence[PemCredential]
    authority_pem: bytes | None
    check_server_name: bool
    schedule: Schedule
    resend_after_s: float
    outbox_limit: int
    seed: int
    ids: TextIO | None
    json_report: bool


def simulate(simulation: Simulation) -> int:
    """Run it; progress goes to standard error, the report to standard output.

    SIGINT and SIGTERM end the sending; a second one ends the wait for the last answers.

    :return: the exit status: 0 when there were records and all were acknowledged, else 1.
    :raises ValueError: the URL or a certificate cannot be used.
    """
    from twisted.internet import reactor as running_reactor
    from twisted.internet.endpoints import HostnameEndpoint

    from fleetgw.adapters.process.reactor import run_on_monotonic_time

    run_on_monotonic_time(running_reactor)
    # the module stands for the reactor, whose type type checkers do not see
    reactor = cast("_Reactor", running_reactor)
    tally = Tally(ids=simulation.ids)
    host, port = _address(simulation.url)
    endpoint = HostnameEndpoint(reactor, host, port, timeout=20)
    vehicles = _vehicles(simulation, reactor, endpoint, host, tally)
    fleet = Fleet(reactor, vehicles, simulation.schedule, _random(simulation.seed))
    failures = _run(reactor, fleet, tally, len(vehicles))
    if failures:
        failures[0].raiseException()
    if simulation.json_report:
        print(json_text(as_json(tally, fleet.sending_s), indent=None))
    else:
        console = Console()
        for table in as_tables(tally, fleet.sending_s):
            console.print(table)
    total = tally.total()
    return 0 if total.acked == total.issued > 0 else 1


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme != "wss" or not parts.hostname:
        raise ValueError(f"{url!r} is no address of a gateway; wss://host:port would be")
    return parts.hostname, parts.port or _WSS_PORT


def _vehicles(
    simulation: Simulation, reactor: _Reactor, endpoint: IStreamClientEndpoint, host: str, tally: Tally
) -> list[SimulatedVehicle]:
    vehicles = []
    tls_of = {}
    server_name = host if simulation.check_server_name else None
    for number, credential in enumerate(simulation.credentials):
        if credential not in tls_of:
            tls_of[credential] = client_tls(
                credential.certificate_pem, credential.key_pem, simulation.authority_pem, server_name
            )
        device_id = common_name(x509.load_pem_x509_certificate(credential.certificate_pem)).replace(".", "-")
        outbox = Outbox(simulation.outbox_limit, simulation.resend_after_s)
        headers = {
            "User-Agent": "fleetgw-simulator",
            "Version": "1.1.0",
            "X-Network-Interface": "wifi" if number % 3 == 0 else "cellular",
        }
        vehicles.append(
            SimulatedVehicle(
                vin=device_id,
                reactor=reactor,
                endpoint=endpoint,
                tls=tls_of[credential],
                conversation=Conversation(simulation.url, PeerIdentity("vehicle_device", device_id), outbox, headers),
                outbox=outbox,
                reporter=DriveReporter(device_id, simulation.seed + number),
                listener=tally.take,
                random=_random(simulation.seed + number),
            )
        )
    return vehicles


def _random(seed: int) -> Random:
    return Random(seed)  # noqa: S311  nothing secret depends on it


def _run(reactor: _Reactor, fleet: Fleet, tally: Tally, vehicles: int) -> list[Failure]:
    """Run the reactor until the fleet is done; the errors that ended it, if any."""
    from twisted.internet.task import LoopingCall

    failures: list[Failure] = []
    progress = BarProgress(sys.stderr) if sys.stderr.isatty() else LineProgress(sys.stderr)
    showing = LoopingCall(lambda: progress.show(describe(fleet, tally, vehicles), fleet.done_fraction))

    def begin() -> None:
        showing.start(progress.interval_s, now=False)
        fleet.run().addErrback(failures.append).addCallback(lambda _: reactor.stop())

    def interrupted(*_: object) -> None:
        reactor.callFromThread(fleet.interrupt, _INTERRUPTED_DRAIN_S)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    reactor.callWhenRunning(begin)
    try:
        reactor.run(installSignalHandlers=False)
    finally:
        progress.close()
    return failures
