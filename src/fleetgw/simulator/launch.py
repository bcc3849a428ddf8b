"""Puts a fleet together and runs it under the real reactor."""

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
    """What a run needs of the reactor."""

    def run(installSignalHandlers: bool = True) -> None:  # noqa: N805, FBT001, FBT002 - as every reactor of Twisted has it
        """Run until stopped."""


_INTERRUPTED_DRAIN_S = 2.0
_WSS_PORT = 443


@frozen
class Papers:
    """What a vehicle shows at the gateway: its certificate (intermediates behind it) and private key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


@frozen
class Simulation:
    """A run to do.

    :ivar url: of the gateway, ``wss://host:port/path``.
    :ivar papers: one entry a vehicle; several vehicles may show the same.
    :ivar authority_pem: who signed the gateway's certificate; None for the machine's own list.
    :ivar check_server_name: whether the gateway's certificate must carry the URL's host.
    :ivar schedule: how many records, and when.
    :ivar resend_after_s: how long a record waits for its answer before it is sent again.
    :ivar outbox_limit: how many unanswered records a vehicle keeps.
    :ivar seed: of drives and record types.
    :ivar ids: where txids go, or None.
    :ivar json_report: whether the report is JSON rather than tables.
    """

    url: str
    papers: Sequence[Papers]
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
    # The module stands for the reactor that runs; its type is hidden from type checkers.
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
    tls_of_papers = {}
    server_name = host if simulation.check_server_name else None
    for number, papers in enumerate(simulation.papers):
        if papers not in tls_of_papers:
            tls_of_papers[papers] = client_tls(papers.certificate_pem, papers.key_pem, simulation.authority_pem, server_name)
        device_id = common_name(x509.load_pem_x509_certificate(papers.certificate_pem)).replace(".", "-")
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
                tls=tls_of_papers[papers],
                conversation=Conversation(simulation.url, PeerIdentity("vehicle_device", device_id), outbox, headers),
                outbox=outbox,
                reporter=DriveReporter(device_id, simulation.seed + number),
                listener=tally.take,
                random=_random(simulation.seed + number),
            )
        )
    return vehicles


def _random(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - nothing secret depends on it


def _run(reactor: _Reactor, fleet: Fleet, tally: Tally, vehicles: int) -> list[Failure]:
    """Run the reactor until the fleet is done; what broke it, if anything."""
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
