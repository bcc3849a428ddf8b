"""Any bytes at the status port: an answer or a closed connection, no exception, nothing left."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.monitoring.channel import REQUEST_TIMEOUT_S
from fleetgw.adapters.monitoring.pages import Access, Answer, Route
from fleetgw.adapters.monitoring.site import PageSite
from fleetgw.adapters.monitoring.streams import EVENTS, Stream
from tests.monitoring.test_pages import faults, refusals
from tests.support.http_connection import HttpConnection

LINES = st.one_of(
    st.sampled_from(
        [
            b"GET /status HTTP/1.1",
            b"POST /echo HTTP/1.1",
            b"HEAD /api/stream HTTP/1.0",
            b"GET /api/stream HTTP/1.1",
            b"GET http://evil.example/ HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"PRI * HTTP/2.0",
            b"Host: localhost",
            b"Host:",
            b"Origin: //[",
            b"Authorization: Bearer",
            b"Content-Length: 3",
            b"Content-Length: -3",
            b"Transfer-Encoding: chunked",
            b"Expect: 100-continue",
            b"Connection: upgrade, close",
            b"Cookie: =;;=",
            b" continued",
            b"ffffffffffffffff",
            b"3",
            b"0",
            b"",
        ]
    ),
    st.binary(max_size=40),
)


class AnyBytesTests(SynchronousTestCase):
    @settings(max_examples=300)
    @given(st.lists(LINES, max_size=30), st.lists(st.integers(1, 200), max_size=5))
    def test_any_bytes(self, lines: list[bytes], cuts: list[int]) -> None:
        clock = Clock()
        routes = [
            Route("/status", lambda _: Answer(b"ok"), Access.PROBE),
            Route("/echo", lambda request: Answer(request.body), Access.TOKEN, ("POST",)),
            Route("/api/stream", lambda _: Stream(EVENTS, lambda _reader: lambda: None), Access.OPERATOR),
        ]
        site = PageSite(routes, clock, refusals(), faults(), max_streams=1)
        connection = HttpConnection(site)
        text = b"\r\n".join(lines)
        for cut in [*cuts, len(text)]:
            if not connection.transport.disconnecting:  # else a socket is not read any more
                connection.protocol.dataReceived(text[:cut])
            text = text[cut:]
        self.assertEqual(self.flushLoggedErrors(), [])
        site.stopFactory()
        if not connection.transport.disconnecting:  # a request is not complete
            clock.advance(REQUEST_TIMEOUT_S)
        self.assertTrue(connection.transport.disconnecting)
        connection.close()
        self.assertEqual((len(site.connections), clock.getDelayedCalls()), (0, []))
