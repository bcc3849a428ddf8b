"""A gateway inside a Twisted program.

Make certificates with ``fleetgw certs certs``, run ``python twisted_listener.py certs``, and in another terminal
``fleetgw simulate --certs certs --vehicles 3``. Ctrl-C ends it.
"""

import logging
import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater, react

from fleetgw.embed import Record, TwistedGateway


def show_charge(record: Record) -> None:
    """A plain function: called with each record that has the field."""
    print(f"{record.vin} is charged to {record.fields['Soc']} %", flush=True)


class Keeper:
    """Keeps alerts."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor

    def keep(self, record: Record) -> Deferred[None]:
        """The vehicle gets its acknowledgement when this Deferred has fired, as ``reliable_ack_sources`` says below."""
        written: Deferred[None] = deferLater(self._reactor, 0.01)  # here you would write to your database
        return written.addCallback(lambda _: print(f"{record.vin}: {len(record.alerts)} alerts", flush=True))


async def main(reactor: IReactorTime, certificates: Path, port: int) -> None:
    gateway = TwistedGateway(
        {
            "port": port,
            "tls": {
                "ca_file": certificates / "ca.crt",
                "server_cert": certificates / "server.crt",
                "server_key": certificates / "server.key",
            },
            "records": {"V": ["embedded"], "alerts": ["embedded"]},
            "reliable_ack_sources": {"alerts": "embedded"},
        },
        reactor=reactor,
    )
    gateway.listen(show_charge, field="Soc")
    gateway.listen(Keeper(reactor).keep, record_type="alerts")
    await gateway.start()
    print(f"listening on port {gateway.port}", flush=True)
    await Deferred()  # for ever: the gateway stops by itself before the reactor does


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    react(
        lambda reactor: Deferred.fromCoroutine(
            main(reactor, Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4443)
        )
    )
