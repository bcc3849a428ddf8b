"""A client process that connects as often as it is told, and goes away at any stage.

Run as ``python -m tests.support.faults.storm PORT CERTIFICATE AUTHORITY NUMBER``; prints how many upgrades there were.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.support.faults.connection import Connection, vehicle_tls

_AT_ONCE = 32


def storm(port: int, certificate: Path, authority: Path, number: int) -> int:
    """Connect ``number`` times, and go away before TLS, after it, after the upgrade, or with a closing handshake, in turn;
    returns the number of upgrades.
    """
    tls = vehicle_tls(certificate, authority)

    def connect(which: int) -> bool:
        with suppress(OSError), Connection(("localhost", port), tls if which % 4 else None) as connection:
            if which % 4 > 1:
                connection.upgrade()
                if which % 4 > 2:
                    connection.send(b"\x88\x80mask")
                    connection.wait_for_close()
                return True
        return False

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return sum(threads.map(connect, range(number)))


if __name__ == "__main__":
    print(storm(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
