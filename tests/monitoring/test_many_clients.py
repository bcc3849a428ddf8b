"""Many open pages, clients that do not read, and the end of the port, with the flow control of a real transport."""

from __future__ import annotations

import json
import re
from collections import deque

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.monitoring.channel import IDLE_TIMEOUT_S
from fleetgw.adapters.monitoring.pages import Access, Answer, Route
from fleetgw.adapters.monitoring.site import MAX_CONNECTIONS_PER_ADDRESS, MAX_STREAMS, PageSite
from fleetgw.adapters.monitoring.streams import BUFFER_BYTES, EVENTS, STALLED_S, Stream, StreamReader, Unsubscribe
from tests.monitoring.test_pages import faults, refusals
from tests.support.http_connection import HttpConnection

BODY = b"x" * 100_000
TRANSPORT_BYTES = 65_536


class SlowClient(HttpConnection):
    """A client whose transport asks its producer to pause, as a socket's does, until the client reads."""

    def __init__(self, site: PageSite) -> None:
        super().__init__(site)
        write = self.transport.write

        def write_and_pause(data: bytes) -> None:
            write(data)
            if self.waiting_bytes > TRANSPORT_BYTES:
                self.transport.producer.pauseProducing()

        self.transport.write = write_and_pause  # type: ignore[method-assign]
        self.transport.writeSequence = lambda parts: write_and_pause(b"".join(parts))  # type: ignore[method-assign]

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the client has not read."""
        return len(self.transport.value())

    def read(self) -> bytes:
        """Read all that waits."""
        data = self.transport.value()
        self.transport.clear()
        self.transport.producer.resumeProducing()
        return data


class ManyClientsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.readers: deque[StreamReader] = deque()
        self.left = 0
        self.rendered = 0
        routes = [
            Route("/status", lambda _: Answer(b"ok"), Access.PROBE),
            Route("/metrics", self.large, Access.PROBE),
            Route("/api/stream", lambda _: Stream(EVENTS, self.subscribe), Access.PROBE),
        ]
        self.site = PageSite(routes, self.clock, refusals(), faults(), max_streams=MAX_STREAMS)

    def large(self, _request: object) -> Answer:
        self.rendered += 1
        return Answer(BODY)

    def subscribe(self, reader: StreamReader) -> Unsubscribe:
        self.readers.append(reader)

        def unsubscribe() -> None:
            self.left += 1

        return unsubscribe


class OpenPagesTests(ManyClientsCase):
    def test_two_hundred_pages_of_one_address_that_connect_at_once(self) -> None:
        connections = [HttpConnection(self.site) for _ in range(200)]
        for connection in connections:
            connection.send("GET", "/api/stream", Host="localhost")
        self.assertEqual(len(self.readers), 200)
        for reader in self.readers:
            self.assertTrue(reader.write(b"event"))
        self.assertFalse(any(each.transport.disconnecting for each in connections))

    def test_one_page_too_many_is_told_so(self) -> None:
        for _ in range(MAX_STREAMS):
            HttpConnection(self.site).send("GET", "/api/stream")
        response = HttpConnection(self.site).ask("GET", "/api/stream")
        self.assertEqual(response.code, 503)
        self.assertEqual(
            json.loads(response.body),
            {
                "error": f"{MAX_STREAMS} pages and tools are open already",
                "fix": "close pages that are not needed, and ask again",
            },
        )
        self.readers[0].end()
        self.assertEqual(HttpConnection(self.site).ask("GET", "/api/stream").code, 200)

    def test_pages_too_many_take_no_place_of_probes(self) -> None:
        connections = [HttpConnection(self.site) for _ in range(MAX_STREAMS)]
        for connection in connections:
            connection.send("GET", "/api/stream")
        for _ in range(2 * MAX_CONNECTIONS_PER_ADDRESS):
            refused = HttpConnection(self.site)
            response = refused.ask("GET", "/api/stream")
            self.assertEqual((response.code, response.headers["Connection"]), (503, "close"))
            self.assertTrue(refused.transport.disconnecting)
            refused.close()
        self.assertEqual(HttpConnection(self.site).ask("GET", "/status").code, 200)
        self.assertFalse(any(each.transport.disconnecting for each in connections))

    def test_probes_and_scrapers_of_the_same_address_are_answered_meanwhile(self) -> None:
        for _ in range(MAX_STREAMS):
            HttpConnection(self.site).send("GET", "/api/stream")
        others = [HttpConnection(self.site) for _ in range(MAX_CONNECTIONS_PER_ADDRESS)]
        for other in others:
            self.assertEqual(other.ask("GET", "/status").code, 200)
            self.assertEqual(other.ask("GET", "/metrics").code, 200)
        with self.assertRaises(ConnectionRefusedError):
            HttpConnection(self.site)


class NotReadingTests(ManyClientsCase):
    def test_pipelined_requests_wait_for_the_client_to_read(self) -> None:
        """Answering them all would hold their bodies in memory: 40 bytes of request against 100 kB each."""
        client = SlowClient(self.site)
        client.protocol.dataReceived(b"GET /metrics HTTP/1.1\r\n\r\n" * 1000)
        self.assertEqual(self.rendered, 1)
        for asked in range(2, 12):
            self.assertLess(client.waiting_bytes, 2 * len(BODY))
            client.read()
            self.assertEqual(self.rendered, asked)

    def test_pipelined_requests_are_answered_in_order(self) -> None:
        client = SlowClient(self.site)
        paths = (b"/metrics", b"/nothing", b"/status")
        client.protocol.dataReceived(b"".join(b"GET %s HTTP/1.1\r\n\r\n" % path for path in paths))
        received = client.read() + client.read()
        self.assertEqual(re.findall(rb"HTTP/1\.1 (\d+)", received), [b"200", b"404", b"200"])

    def test_a_stream_holds_a_bounded_part_of_what_a_client_does_not_read(self) -> None:
        client = SlowClient(self.site)
        client.send("GET", "/api/stream")
        (reader,) = self.readers
        for _ in range(1000):
            reader.write(b"x" * 1024)
        self.assertLess(client.waiting_bytes, (TRANSPORT_BYTES + BUFFER_BYTES) * 1.1)
        self.assertGreater(reader.dropped, 600)
        client.read()
        self.assertTrue(reader.write(b"again"))
        self.clock.advance(STALLED_S)
        self.assertEqual(self.left, 0)

    def test_a_scraper_that_never_reads_is_cut(self) -> None:
        client = SlowClient(self.site)
        client.send("GET", "/metrics")
        self.clock.advance(IDLE_TIMEOUT_S)
        self.assertTrue(client.transport.disconnecting)
        self.assertFalse(client.transport.disconnected)
        self.clock.advance(15)
        self.assertTrue(client.transport.disconnected)
        self.assertEqual((len(self.site.connections), self.clock.getDelayedCalls()), (0, []))

    def test_an_idle_client_that_has_read_late_has_its_minute(self) -> None:
        client = SlowClient(self.site)
        client.send("GET", "/metrics")
        self.clock.advance(30)
        client.read()
        self.clock.advance(29)
        self.assertFalse(client.transport.disconnecting)


class EndTests(ManyClientsCase):
    def test_the_end_of_the_port_ends_streams_and_connections(self) -> None:
        stream, idle, never_used = (HttpConnection(self.site) for _ in range(3))
        stream.send("GET", "/api/stream")
        idle.ask("GET", "/status")
        self.site.stopFactory()
        self.assertEqual(stream.received().body, b"0\r\n\r\n")
        self.assertEqual(self.left, 1)
        self.assertTrue(all(each.transport.disconnecting for each in (stream, idle, never_used)))

    def test_a_response_under_way_is_completed(self) -> None:
        stalled = SlowClient(self.site)
        stalled.send("GET", "/metrics")
        self.site.stopFactory()
        self.assertIn(BODY, stalled.transport.value())
        self.assertTrue(stalled.transport.disconnecting)
