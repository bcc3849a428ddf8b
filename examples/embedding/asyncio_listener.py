"""A gateway inside an asyncio program.

Make certificates with ``fleetgw certs certs``, run ``python asyncio_listener.py certs``, and in another terminal
``fleetgw simulate --certs certs --vehicles 3``. Ctrl-C ends it.
"""

import asyncio
import contextlib
import logging
import sys
from pathlib import Path

from fleetgw.embed import Gateway, Record


def show_charge(record: Record) -> None:
    """A plain function: called with each record that has the field."""
    print(f"{record.vin} is charged to {record.fields['Soc']} %", flush=True)


async def keep(record: Record) -> None:
    """A coroutine: the vehicle gets its acknowledgement when this has returned, as ``reliable_ack_sources`` says below."""
    await asyncio.sleep(0.01)  # here you would write to your database
    for alert in record.alerts:
        print(f"{record.vin} reports {alert.name}, since {alert.started_at}", flush=True)


def show_connection(record: Record) -> None:
    if record.connectivity is not None:
        print(f"{record.vin} is {record.connectivity.status}", flush=True)


async def main(certificates: Path, port: int) -> None:
    gateway = Gateway(
        {
            "port": port,
            "tls": {
                "ca_file": certificates / "ca.crt",
                "server_cert": certificates / "server.crt",
                "server_key": certificates / "server.key",
            },
            "records": {"V": ["embedded"], "alerts": ["embedded"], "connectivity": ["embedded"]},
            "reliable_ack_sources": {"alerts": "embedded"},
        }
    )
    gateway.listen(show_charge, field="Soc")
    gateway.listen(keep, record_type="alerts")
    gateway.listen(show_connection, record_type="connectivity")
    async with gateway:
        print(f"listening on port {gateway.port}", flush=True)
        async for record in gateway.records(field=["Gear", "VehicleSpeed"], when_slow="drop_oldest"):
            connections = len(gateway.vehicles[record.vin]) if record.vin in gateway.vehicles else 0
            print(f"{record.vin} ({connections} connections): {sorted(record.fields)}", flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4443))
