"""CPU per record of one sink's adapter, and of its bare client library: rounds of both alternate in one process.

Prints JSON: by ``adapter`` and ``bare``, for each round, CPU per record in microseconds: of all threads,
and of the reactor's.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from bare import CLIENTS, NAMESPACE, UNDER_WAY
from brokers import section
from frames import SIGNALS
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred

from fleetgw.adapters.codec import RecordCodec
from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.metrics.store import MetricStore
from fleetgw.adapters.sinks.registry import built_in_sinks
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import RECEIPT, IDispatcher, Outcome, Ready
from fleetgw.domain.records import Envelope, MessageType, PeerIdentity, Record, Vehicle
from fleetgw.simulator.payloads import DriveReporter

VEHICLES = 32
BATCH_RECORDS = 100
READY_TIMEOUT_S = 10
_START_NS = 1_790_000_000_000_000_000
_STEP_NS = 1_000_000_000


def records() -> Iterator[Record]:
    """Decoded records of eight datums, each with a timestamp of its own."""
    codec = RecordCodec(transmit_decoded_records=False)
    vehicles = [_vehicle(f"5YJ3E1EA7PF{number:06d}") for number in range(VEHICLES)]
    reporters = [DriveReporter(vehicle.vin, seed) for seed, vehicle in enumerate(vehicles)]
    at_ns = _START_NS
    while True:
        at_ns += _STEP_NS
        for vehicle, reporter in zip(vehicles, reporters, strict=True):
            txid, sender = str(uuid4()).encode(), vehicle.identity.sender_id.encode()
            envelope = Envelope(MessageType.STREAM.value, True, txid, b"V", sender, reporter.payload("V", at_ns))
            record = codec.read_record("V", envelope, vehicle, at_ns // 1_000_000)
            if record.signals == SIGNALS:
                yield record


def _vehicle(vin: str) -> Vehicle:
    return Vehicle(PeerIdentity("vehicle_device", vin), vin, str(uuid4()))


def make_sink(name: str, settings: dict[str, object]) -> IDispatcher:
    any_reactor: Any = reactor
    context = SinkContext(name, settings, NAMESPACE, ("V",), any_reactor, MetricStore(), NullLog())
    return built_in_sinks()[name].make(context)


async def deliver(sink: IDispatcher, batches: Sequence[Sequence[Record]]) -> None:
    """Dispatch as the lane does: some batches in flight, the next one once one is confirmed."""
    waiting = iter(batches)
    done: Deferred[None] = Deferred()
    under_way = 0

    def confirmed(outcomes: Sequence[Outcome]) -> None:
        nonlocal under_way
        under_way -= 1
        refused = next((outcome for outcome in outcomes if outcome is not RECEIPT), None)
        if refused is not None:
            done.errback(SystemExit(f"{sink.name}: {refused}"))
        elif (batch := next(waiting, None)) is not None:
            send(batch)
        elif not under_way:
            done.callback(None)

    def send(batch: Sequence[Record]) -> None:
        nonlocal under_way
        under_way += 1
        # not within dispatch: a sink that answers at once would go deeper with each batch
        sink.dispatch(batch).addCallback(lambda outcomes: any_reactor.callLater(0, confirmed, outcomes))

    any_reactor: Any = reactor
    for batch in islice(waiting, UNDER_WAY):
        send(batch)
    await done


def spent_us() -> tuple[float, float]:
    """CPU of all threads, and of this one."""
    return time.process_time_ns() / 1000, time.thread_time_ns() / 1000


async def measure(
    name: str, port: int, folder: Path, rounds: int, count: int, qos: int
) -> dict[str, list[tuple[float, ...]]]:
    settings: dict[str, object] = {"path": folder / "sink.sqlite3"} if name == "sqlite" else section(name, port, qos=qos)
    sink = make_sink(name, settings)
    await sink.start()
    bare = CLIENTS[name](port, folder)
    any_reactor: Any = reactor
    for _ in range(READY_TIMEOUT_S * 10):
        await task.deferLater(any_reactor, 0.1, lambda: None)
        if isinstance(sink.readiness(), Ready):
            break
    source = records()
    kept = list(islice(source, 2_000))
    results: dict[str, list[tuple[float, ...]]] = {"adapter": [], "bare": []}
    for number in range(rounds + 1):
        endless = source if name == "sqlite" else cycle(kept)  # writing a record a second time is cheaper
        of_round = list(islice(endless, count if number else count // 10))  # the first makes the objects that are made once
        batches = [of_round[at : at + BATCH_RECORDS] for at in range(0, len(of_round), BATCH_RECORDS)]
        for who in results:
            before = spent_us()
            if who == "adapter":
                await deliver(sink, batches)
            else:
                bare(batches)
            after = spent_us()
            if number:
                spent = tuple((end - begin) / len(of_round) for begin, end in zip(before, after, strict=True))
                results[who].append(spent)
            await task.deferLater(any_reactor, 0.1, lambda: None)
    await sink.stop()
    return results


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sink", choices=CLIENTS)
    parser.add_argument("port", type=int, help="of its broker")
    parser.add_argument("folder", type=Path, help="for files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=10_000, help="in a round")
    parser.add_argument("--qos", type=int, default=1)
    arguments = parser.parse_args()

    async def run(_reactor: object) -> None:
        results = await measure(
            arguments.sink, arguments.port, arguments.folder, arguments.rounds, arguments.records, arguments.qos
        )
        print(json.dumps(results), flush=True)

    task.react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
