"""One history: random steps of vehicles, sinks, time and processes, and then a world without faults."""

from __future__ import annotations

from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING

from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import provider

from tests.simulation.brokers import HEALTHY, Broker, random_behaviour
from tests.simulation.gateway_process import GatewayProcess
from tests.simulation.oracle import Oracle
from tests.simulation.setup import CONNECTIVITY, PAYLOAD_BYTES, random_setup, reloaded
from tests.simulation.storage import Storage
from tests.simulation.vehicles import SimulatedVehicle
from tests.simulation.wire import MALFORMED, SimulatedCodec, message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.logger import LogEvent

    from tests.simulation.vehicles import SimulatedLink

WALL_S = 1_764_000_000.0
START_S = 0.03  # about the time of a start
BOOKS_EVERY = 20  # steps: reading the ledger takes longer than most steps
MOST_LINKS = 3  # of a vehicle
MOST_UNACKED = 30  # likewise: then it makes no more records
SETTLED_WITHIN_S = 120.0
"""Once nothing fails any more, every record is acknowledged within this time."""


@contextmanager
def unhandled_errors() -> Iterator[list[str]]:
    """Collect what is logged as an error in a Deferred that nobody handled."""
    errors: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            errors.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(observe)
    try:
        yield errors
    finally:
        globalLogPublisher.removeObserver(observe)


class History:
    """One history.

    :ivar trace: the steps so far, for people.
    """

    def __init__(self, seed: int) -> None:
        self.trace: list[str] = []
        self._random = Random(f"fleetgw {seed}")
        self.setup = random_setup(self._random)
        self._note(str(self.setup))
        self.oracle = Oracle(self.setup.routes, self._note)
        self.brokers = [Broker(name) for name in self.setup.sinks]
        self.vehicles = [
            SimulatedVehicle(f"VIN{number}", self.oracle, self.setup.resend_s) for number in range(self.setup.vehicles)
        ]
        self._codec = SimulatedCodec(self.oracle)
        self._types = [record_type for record_type in self.setup.routes if record_type != CONNECTIVITY]
        self._now_s = 0.0
        self._wall_s = WALL_S
        self._storage: Storage | None = None
        if self.setup.spool_limits is not None:
            self._storage = Storage(self.setup.spool_limits, self._random, self.oracle)
        self._start()

    def run(self) -> None:
        """Run it to its end.

        :raises Violation: the gateway has broken a promise.
        """
        with unhandled_errors() as unhandled:
            steps = self._steps()
            for number in range(self._random.choice([15, 40, 80])):
                self._random.choice(steps)()
                self.process.check_bounds()
                if number % BOOKS_EVERY == 0:
                    self.process.check_books()
                self.oracle.check()
            self.heal()
            self.settle()
            self._pass_time(1.0)
            self._check_sessions()
            self.process.check_books()
            self.process.check_idle()
            self._restart(20.0)
            self._check_nothing_comes_again()
            self.oracle.check_delivered(self.brokers)
        self.oracle.check()
        if unhandled:
            raise self.oracle.violated("\n".join(unhandled))

    def close(self) -> None:
        """Forget the disk."""
        if self._storage is not None:
            self._storage.close()

    def _note(self, text: str) -> None:
        self.trace.append(text)

    # Steps

    def _steps(self) -> list[Callable[[], None]]:
        """The steps that this history takes, each as often as it is likely."""
        faults = self.setup.faults
        steps = [self.send] * 6 + [self.send_again] * 2 + [self.pass_a_moment] * 6 + [self.connect, self.disconnect]
        steps += [self.pass_some_time, self.send_nonsense, self.change_broker, self.change_broker]
        if "crash" in faults:
            steps.append(self.crash)
        if "restart" in faults:
            steps.append(self.restart)
        if "disk" in faults and self._storage is not None:
            steps.append(self.fail_disk)
        if "reload" in faults:
            steps.append(self.reload)
        if "clock" in faults:
            steps.append(self.set_wall_clock)
        if "deaf" in faults:
            steps.append(self.deafen)
        return steps

    def send(self) -> None:
        """A vehicle sends new records."""
        link, vehicle = self._some_link()
        random = self._random
        if len(vehicle.unacked) >= MOST_UNACKED:
            return
        is_unrouted = random.random() < 0.03 and not self.setup.refuse_unrouted
        txids = [
            vehicle.make("unrouted" if is_unrouted else self._some_type(), random.choice(PAYLOAD_BYTES))
            for _ in range(random.randint(1, 6))
        ]
        self._note(f"{link.vehicle.connection_id} sends {[(txid.decode(), self._type_of(vehicle, txid)) for txid in txids]}")
        vehicle.send(link, txids, self._now_s)

    def _some_type(self) -> str:
        return self._random.choice(self._types)

    def _type_of(self, vehicle: SimulatedVehicle, txid: bytes) -> str:
        return self.oracle.issued[vehicle.vin, txid].record_type

    def send_again(self) -> None:
        """A vehicle sends records again that were not acknowledged."""
        link, vehicle = self._some_link()
        self._resend(link, vehicle, self._random.randint(1, 8))

    def _resend(self, link: SimulatedLink, vehicle: SimulatedVehicle, most: int) -> None:
        txids = vehicle.due(self._now_s)[:most]
        if txids:
            self._note(f"{link.vehicle.connection_id} sends {[txid.decode() for txid in txids]} again")
            vehicle.send(link, txids, self._now_s)

    def send_nonsense(self) -> None:
        """A vehicle sends what makes no record, between two that do."""
        link, vehicle = self._some_link()
        random = self._random
        vin = vehicle.vin
        malformed = message(vin, self._some_type(), b"bad", MALFORMED)
        nonsense = random.choice([b"", message(vin, "", b"unknown", b""), malformed, b"|" * 20_000])
        self._note(f"{link.vehicle.connection_id} sends nonsense: {nonsense[:20]!r}")
        before, after = (vehicle.make(self._some_type(), 20) for _ in range(2))
        vehicle.send(link, [before], self._now_s)
        link.receive([vehicle.unacked[after].message, nonsense] if random.random() < 0.5 else [nonsense])

    def connect(self) -> None:
        """A vehicle connects, also beside a connection that it has."""
        vehicle = self._random.choice(self.vehicles)
        if len(vehicle.links) < MOST_LINKS:
            self._connect(vehicle)

    def _connect(self, vehicle: SimulatedVehicle) -> SimulatedLink:
        link = vehicle.connect(self.process.gateway)
        self._note(f"{link.vehicle.connection_id} connects")
        return link

    def _some_link(self) -> tuple[SimulatedLink, SimulatedVehicle]:
        vehicle = self._random.choice(self.vehicles)
        return (self._random.choice(vehicle.links) if vehicle.links else self._connect(vehicle)), vehicle

    def disconnect(self) -> None:
        """A connection ends."""
        if links := self._links():
            link = self._random.choice(links)
            self._note(f"{link.vehicle.connection_id} ends")
            link.end()

    def _links(self) -> list[SimulatedLink]:
        return [link for vehicle in self.vehicles for link in vehicle.links]

    def deafen(self) -> None:
        """Replies on a connection are lost from now on; it ends some time later."""
        if links := self._links():
            link = self._random.choice(links)
            self._note(f"{link.vehicle.connection_id} is deaf")
            link.is_deaf = True

    def pass_a_moment(self) -> None:
        """Some milliseconds pass."""
        self._pass_time(self._random.choice([0.0, 0.001, 0.005, 0.02]))

    def pass_some_time(self) -> None:
        """Seconds pass."""
        self._pass_time(self._random.choice([0.3, 1.0, 6.0]))

    def _pass_time(self, seconds: float) -> None:
        self._note(f"{seconds} s pass")
        self._now_s += seconds
        self._wall_s += seconds
        self.process.pass_time(seconds)

    def set_wall_clock(self) -> None:
        """The wall clock jumps."""
        self._wall_s += self._random.choice([-1e8, -3600.0, 3600.0, 1e8])
        self._note(f"the wall clock jumps to {self._wall_s}")

    def change_broker(self) -> None:
        """A broker behaves in another way."""
        broker = self._random.choice(self.brokers)
        broker.behaviour = random_behaviour(self._random, self.setup.faults, self._types)
        self._note(f"{broker.name} becomes {broker.behaviour}")

    def reload(self) -> None:
        """The configuration is reloaded with other routes and policies."""
        self.oracle.routes = reloaded(self._random, self.setup, self.oracle.routes)
        self._note(f"the routes become {self.oracle.routes}")
        self.process.reload(self.oracle.routes)

    def fail_disk(self) -> None:
        """The disk fails in some way."""
        if self._storage is not None:
            self._note(self._storage.fail())

    def crash(self) -> None:
        """The process is killed, and another one starts."""
        how = "crash" if self._storage is None else self._storage.crash()
        self._note(how)
        self.oracle.lost_processes.add(self.oracle.process)
        self.process.crash()
        for link in self._links():
            link.forget()
        self._start()

    def restart(self) -> None:
        """The process stops in order, and another one starts."""
        self._restart(self._random.choice([0.0, 1.0, 10.0]))

    def _restart(self, patience_s: float) -> None:
        self._note(f"restart within {patience_s} s")
        if self.process.stop(self._links(), patience_s) and self._storage is not None:
            self._note("the spool was given up")
            self._storage.kill()
        self._start()

    def _start(self) -> None:
        storage, random = self._storage, self._random
        while storage is not None and "crash" in self.setup.faults and random.random() < 0.2:
            self._make_process().start(crashes_after_s=random.random() * START_S)
            self._note(f"{storage.crash()} at the start")
        self.process = self._make_process()
        self.process.start()

    def _make_process(self) -> GatewayProcess:
        self.oracle.process += 1
        if self._storage is not None:
            self._storage.heal()
        return GatewayProcess(
            self.setup, self.brokers, self._codec, self.oracle, self._random, lambda: self._wall_s, self._storage
        )

    # The end

    def heal(self) -> None:
        """Nothing fails any more."""
        self._note("heal")
        for broker in self.brokers:
            broker.behaviour = HEALTHY
        if self._storage is not None:
            self._storage.heal()
        for link in self._links():
            if link.is_deaf:
                link.end()

    def settle(self) -> None:
        """Every record, and a fresh one of each type, is acknowledged, and no lane holds any."""
        for vehicle in self.vehicles:
            link = vehicle.links[0] if vehicle.links else self._connect(vehicle)
            vehicle.send(link, [vehicle.make(record_type, 20) for record_type in self._types], self._now_s)
        end_s = self._now_s + SETTLED_WITHIN_S
        while True:
            self._pass_time(0.5)
            self.oracle.check()
            waiting = {vehicle.vin: sorted(vehicle.unacked) for vehicle in self.vehicles if vehicle.unacked}
            if not waiting and not self.process.held_records:
                return
            if self._now_s > end_s:
                raise self.oracle.violated(f"not acknowledged: {waiting}; held: {self.process.held_records}")
            for vehicle in self.vehicles:
                self._resend(vehicle.links[0], vehicle, 8)

    def _check_nothing_comes_again(self) -> None:
        """See that a process after a stop in order delivers nothing again: the cursors are where they should be."""
        before = [dict(broker.received) for broker in self.brokers]
        self._pass_time(5.0)
        for broker, received in zip(self.brokers, before, strict=True):
            if again := [key for key, count in received.items() if broker.received[key] > count]:
                raise self.oracle.violated(f"{broker.name} gets {again} again after a stop in order")

    def _check_sessions(self) -> None:
        """See that no session keeps anything of records that are settled."""
        for link in self._links():
            session = link.session
            tickets = [each for tickets in session._tickets.values() for each in tickets._tickets]
            if session._unconfirmed or tickets:
                raise self.oracle.violated(f"{link.vehicle.connection_id} waits for {session._unconfirmed}, {tickets}")


def run(seed: int) -> History:
    """Run a history, the same each time."""
    history = History(seed)
    history.run()
    return history
