"""Streams: readers that read, that do not, and that leave."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from fleetgw.adapters.monitoring.pages import Access, Route
from fleetgw.adapters.monitoring.site import MAX_STREAMS, PageSite
from fleetgw.adapters.monitoring.streams import BUFFER_BYTES, EVENTS, STALLED_S, Stream, StreamReader, Unsubscribe
from fleetgw.domain.ports import IStreamReader
from fleetgw.testing.sink_doubles import ReadableMetrics
from tests.monitoring.test_pages import faults, refusals
from tests.support.http_connection import HttpConnection


class StreamCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = ReadableMetrics()
        self.readers: list[StreamReader] = []
        self.left: list[StreamReader] = []
        route = Route("/api/stream", lambda _: Stream(EVENTS, self.subscribe), Access.PROBE)
        self.site = PageSite([route], self.clock, refusals(), faults(metrics=self.metrics), max_streams=MAX_STREAMS)
        self.connection = HttpConnection(self.site)

    def subscribe(self, reader: StreamReader) -> Unsubscribe:
        self.readers.append(reader)
        return lambda: self.left.append(reader)

    def begin(self, version: str = "HTTP/1.1") -> StreamReader:
        self.connection.send("GET", "/api/stream", version=version)
        return self.readers[-1]


class ReaderTests(StreamCase):
    def test_headers_come_before_the_first_chunk(self) -> None:
        self.begin()
        response = self.connection.received()
        self.assertEqual((response.code, response.body), (200, b""))
        self.assertEqual(response.headers["Content-Type"], "text/event-stream; charset=utf-8")

    def test_chunks(self) -> None:
        reader = self.begin()
        verifyObject(IStreamReader, reader)
        self.assertTrue(reader.write(b"one"))
        self.assertTrue(reader.write(b"three"))
        self.assertEqual(self.connection.received().body, b"3\r\none\r\n5\r\nthree\r\n")

    def test_the_source_ends_the_stream(self) -> None:
        reader = self.begin()
        reader.write(b"last")
        reader.end()
        self.assertEqual(self.connection.received().body, b"4\r\nlast\r\n0\r\n\r\n")
        self.assertEqual(self.left, [reader])
        self.assertFalse(reader.write(b"more"))
        reader.end()
        self.assertEqual(self.connection.ask("GET", "/nothing").code, 404, "the connection serves on")

    def test_a_source_that_ends_while_it_is_subscribed_to(self) -> None:
        def subscribe(reader: StreamReader) -> Unsubscribe:
            reader.end()
            return lambda: self.left.append(reader)

        self.site = PageSite(
            [Route("/", lambda _: Stream(EVENTS, subscribe), Access.PROBE)], self.clock, refusals(), faults(), max_streams=1
        )
        self.assertEqual(HttpConnection(self.site).ask("GET", "/").body, b"0\r\n\r\n")
        self.assertEqual(len(self.left), 1)

    def test_a_source_that_fails(self) -> None:
        def subscribe(_reader: StreamReader) -> Unsubscribe:
            raise RuntimeError("secret")

        routes = [Route("/", lambda _: Stream(EVENTS, subscribe), Access.PROBE)]
        site = PageSite(routes, self.clock, refusals(), faults(), max_streams=1)
        for _ in range(2):
            self.assertEqual(HttpConnection(site).ask("GET", "/").body, b"0\r\n\r\n")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_the_client_leaves(self) -> None:
        reader = self.begin()
        self.connection.close()
        self.assertEqual(self.left, [reader])
        self.assertFalse(reader.write(b"more"))
        reader.end()
        self.assertEqual(self.left, [reader])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_of_http_1_0_reads_until_the_end_of_the_connection(self) -> None:
        reader = self.begin("HTTP/1.0")
        reader.write(b"one")
        self.assertEqual(self.connection.received().body, b"one")
        reader.end()
        self.assertTrue(self.connection.transport.disconnecting)

    def test_head_begins_no_stream(self) -> None:
        response = self.connection.ask("HEAD", "/api/stream")
        self.assertEqual((response.code, response.headers["Content-Type"]), (200, "text/event-stream; charset=utf-8"))
        self.assertEqual(self.readers, [])

    def test_a_stream_has_no_timeout(self) -> None:
        reader = self.begin()
        self.clock.advance(3600)
        self.assertTrue(reader.write(b"x"))
        self.assertFalse(self.connection.transport.disconnecting)

    def test_a_stream_behind_another_request_in_the_same_packet_has_no_timeout_either(self) -> None:
        requests = b"GET /nothing HTTP/1.1\r\n\r\nGET /api/stream HTTP/1.1\r\n\r\n"
        self.connection.protocol.dataReceived(requests)
        self.connection.protocol.dataReceived(b"GET /nothing")
        self.clock.advance(3600)
        self.assertFalse(self.connection.transport.disconnecting)
        self.assertTrue(self.readers[0].write(b"x"))

    def test_a_request_after_the_one_of_a_stream_waits_for_its_end(self) -> None:
        reader = self.begin()
        self.connection.send("GET", "/nothing")
        self.assertNotIn(b"404", self.connection.transport.value())
        reader.end()
        self.assertIn(b"404", self.connection.transport.value())


class SlowReaderTests(StreamCase):
    def dropped(self) -> float:
        return self.metrics.value("stream_chunks_dropped_total", "status")

    def stall(self) -> StreamReader:
        """Begin a stream whose transport's buffer is full."""
        reader = self.begin()
        self.connection.transport.producer.pauseProducing()
        return reader

    def test_the_buffer_is_bounded(self) -> None:
        reader = self.stall()
        chunk = b"x" * 1024
        taken = [reader.write(chunk) for _ in range(1000)]
        self.assertEqual(taken.count(True), BUFFER_BYTES // 1024)
        self.assertEqual((self.dropped(), reader.dropped), (1000 - BUFFER_BYTES // 1024,) * 2)
        self.assertLess(len(self.connection.transport.value()), BUFFER_BYTES * 1.1)

    def test_a_reader_that_reads_again_gets_what_comes_then(self) -> None:
        reader = self.stall()
        while reader.write(b"x" * 1024):
            pass
        self.clock.advance(STALLED_S - 1)
        self.connection.transport.producer.resumeProducing()
        self.clock.advance(2 * STALLED_S)
        self.assertTrue(reader.write(b"again"))
        self.assertEqual(self.left, [])
        self.connection.transport.producer.pauseProducing()
        self.assertTrue(reader.write(b"x" * BUFFER_BYTES))

    def test_a_reader_that_leaves_while_its_buffer_is_full(self) -> None:
        reader = self.stall()
        self.connection.close()
        self.assertEqual((self.left, self.clock.getDelayedCalls()), ([reader], []))

    def test_a_reader_that_takes_nothing_is_closed(self) -> None:
        reader = self.stall()
        self.clock.advance(STALLED_S - 1)
        self.assertEqual(self.left, [])
        self.clock.advance(1)
        self.assertEqual(self.left, [reader])
        self.assertTrue(self.connection.transport.disconnected)
        self.assertEqual(self.clock.getDelayedCalls(), [])
