"""A vehicle on an asyncio loop, over a real socket: for tests of programs that embed the gateway."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fleetgw.domain.records import PeerIdentity
from fleetgw.simulator.conversation import Acked, Closed, Conversation, NotOpened, Opened, Output, Refused
from fleetgw.simulator.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from fleetgw.simulator.certificates import Credential
    from fleetgw.simulator.conversation import Event

DEADLINE_S = 300.0
"""Longest wait in seconds for any step before a test fails; each takes far less."""


class LoopVehicle:
    """``async with LoopVehicle(port, credential, authority_pem) as vehicle:`` is one connection.

    :param port: of a gateway on this host.
    :param credential: the vehicle's certificate and key.
    :param authority_pem: the certificate authority of the server's certificate.

    :ivar events: all events of the connection, in order.
    """

    def __init__(self, port: int, credential: Credential, authority_pem: bytes) -> None:
        self.events: list[Event] = []
        self._port = port
        self._tls = _client_context(credential, authority_pem)
        identity = PeerIdentity("vehicle_device", credential.common_name)
        self._conversation = Conversation(f"wss://localhost:{port}/", identity, Outbox(limit=1_000_000, resend_after_s=10.0))
        self._news = asyncio.Event()

    @property
    def acked(self) -> list[bytes]:
        """Txids acknowledged, in order."""
        return [event.txid for event in self.events if isinstance(event, Acked)]

    @property
    def refused(self) -> list[bytes]:
        """Txids answered with an error reply, in order."""
        return [event.txid for event in self.events if isinstance(event, Refused)]

    @property
    def closed(self) -> Closed | None:
        """The end of the connection; None while it is open."""
        return next((event for event in self.events if isinstance(event, Closed)), None)

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._tls, server_hostname="localhost"
        )
        self._writer.write(self._conversation.connected())
        self._reading = asyncio.ensure_future(self._read())
        await self.until(lambda: any(isinstance(event, Opened | NotOpened) for event in self.events))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        close_frame = self._conversation.close()
        if close_frame and not self._reading.done():
            self._writer.write(close_frame)
        await asyncio.wait([self._reading], timeout=DEADLINE_S)
        self._reading.cancel()
        self._writer.close()

    def send(self, record_type: str, payload: bytes, txid: bytes) -> None:
        """Send a record."""
        now_s = time.monotonic()
        self._carry_out(self._conversation.issue(record_type, payload, now_s, int(time.time()), txid)[1])

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until a condition holds.

        :param reached: looked at after each event.
        :raises TimeoutError: it does not hold within ``DEADLINE_S``.
        """
        async with asyncio.timeout(DEADLINE_S):
            while not reached():
                self._news.clear()
                await self._news.wait()

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(65_536):
                output = self._conversation.received(data, time.monotonic())
                self._carry_out(output)
                if output.ends:
                    break
        except ConnectionError:
            pass  # an end like any other
        self._carry_out(Output(b"", self._conversation.disconnected("the connection has gone")))

    def _carry_out(self, output: Output) -> None:
        if output.data:
            self._writer.write(output.data)
        self.events += output.events
        self._news.set()


def _client_context(credential: Credential, authority_pem: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority_pem.decode())
    with tempfile.TemporaryDirectory() as folder:  # ``load_cert_chain`` reads files only
        file = Path(folder) / "vehicle.pem"
        file.touch(mode=0o600)
        file.write_bytes(credential.certificate_pem() + credential.key_pem())
        context.load_cert_chain(file)
    return context
