"""The sources of the allow list: a file, and an HTTP endpoint over a real socket."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from fleetgw.adapters.allow_list import entries
from fleetgw.adapters.allow_list.file import AllowListFile
from fleetgw.adapters.allow_list.http_endpoint import AllowListEndpoint
from fleetgw.adapters.certificates.server_tls import ServerTls
from fleetgw.adapters.http_client import client as http_client
from fleetgw.adapters.http_client.client import HttpClient
from fleetgw.adapters.secrets.secret import SecretFile
from fleetgw.domain.errors import UnusableAllowList
from fleetgw.testing.real_reactor import the_reactor
from tests.support.allow_list_contract import FIRST, SECOND, AllowListContract
from tests.support.deadline import DEADLINE_S

if TYPE_CHECKING:
    from twisted.web.server import Request

    from fleetgw.domain.ports import IAllowListSource


def temporary_folder(test: TestCase) -> Path:
    folder = tempfile.TemporaryDirectory()
    test.addCleanup(folder.cleanup)
    return Path(folder.name)


class EntriesTests(SynchronousTestCase):
    def refusal(self, content: bytes) -> str:
        return str(self.assertRaises(UnusableAllowList, entries.from_text, content))

    def test_lines_with_comments_and_blanks(self) -> None:
        text = f"# the fleet\n\n  {FIRST}  # Anna's\r\n{SECOND}\n{FIRST}\n".encode("utf-8-sig")
        self.assertEqual(entries.from_text(text), {FIRST, SECOND})

    def test_json_in_both_forms(self) -> None:
        for given in ([FIRST, SECOND], {"vins": [FIRST, SECOND], "page": 1}):
            self.assertEqual(entries.from_text(json.dumps(given).encode()), {FIRST, SECOND})
        self.assertEqual(entries.from_text(b" []"), frozenset())

    def test_a_text_without_an_entry_may_be_half_written(self) -> None:
        for content in (b"", b"\n\n", b"# nobody yet\n"):
            self.assertIn("names no vehicle", self.refusal(content))

    def test_garbage_names_the_entry(self) -> None:
        for content, named in (
            (b"<html>\n<p>502 Bad Gateway</p>", "entry 1 is '<html>'"),
            (f"{FIRST}\nanother vehicle".encode(), "entry 2 is 'another vehicle'"),
            (b"A" * 129, "129 characters"),
            (b'["A", ""]', "entry 2 is ''"),
            (b'["A", 7]', "must be a JSON array"),
            (b'{"cars": []}', "must be a JSON array"),
            (b'{"vins": ["A"', "must be a JSON array"),
            (b"\xff\xfe", "UTF-8"),
            (b'["\\u001b[31m"]', "\\x1b"),
        ):
            self.assertIn(named, self.refusal(content))

    def test_the_number_of_entries_is_bounded(self) -> None:
        self.patch(entries, "MAX_VEHICLES", 2)
        self.assertEqual(len(entries.from_text(b"A\nB")), 2)
        self.assertIn("more than 2", self.refusal(b"A\nB\nC"))


class FileTests(AllowListContract, TestCase):
    def setUp(self) -> None:
        self.path = temporary_folder(self) / "vins.txt"
        self.stamp = 1_000_000_000

    def make(self) -> IAllowListSource:
        return AllowListFile(self.path, the_reactor())

    def write(self, text: str) -> None:
        self.path.write_text(text)
        self.stamp += 1
        os.utime(self.path, ns=(self.stamp, self.stamp))

    async def put(self, *vehicles: str) -> None:
        self.write("\n".join(vehicles))

    async def put_garbage(self) -> None:
        self.write("404 page not found")

    async def take_away(self) -> None:
        self.path.unlink()

    async def test_an_unchanged_file_is_not_read(self) -> None:
        source = self.make()
        await self.put(FIRST)
        await self.read(source)
        self.assertIsNone(await self.read(source))

    async def test_a_file_may_be_as_large_as_the_longest_list(self) -> None:
        size_bytes = entries.MAX_VEHICLES * (len(FIRST) + 1)
        self.write("#" * (size_bytes - len(FIRST) - 1) + "\n" + FIRST)
        self.assertEqual(await self.read(self.make()), {FIRST})

    async def test_a_pipe_and_a_folder_are_no_files(self) -> None:
        source = self.make()
        os.mkfifo(self.path)
        self.assertIn("pipe", await self.refusal(source))
        self.path.unlink()
        self.path.mkdir()
        self.assertIn("directory", await self.refusal(source))


class Endpoint(Resource):
    """Answers with a body; counts requests.

    :ivar headers: those of the last request.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.body, self.code, self.etag, self.requests = b"", 200, b"", 0
        self.headers: dict[bytes, list[bytes]] = {}
        self.hangs = self.is_away = False

    def render_GET(self, request: Request) -> bytes | int:
        self.requests += 1
        self.headers = dict(request.requestHeaders.getAllRawHeaders())
        if self.is_away:
            request.channel.forceAbortClient()
            return NOT_DONE_YET
        if self.hangs:
            request.write(b"[")
            return NOT_DONE_YET
        if self.etag and request.setETag(self.etag):
            return b""
        request.setResponseCode(self.code)
        return self.body


class EndpointTests(AllowListContract, TestCase):
    def setUp(self) -> None:
        self.patch(http_client, "REQUEST_TIMEOUT_S", DEADLINE_S)
        self.endpoint = Endpoint()
        port = the_reactor().listenTCP(0, Site(self.endpoint), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.number = port.getHost().port
        self.endpoint.code = 503

    def make(self, max_bytes: int = entries.MAX_BYTES, **options: Any) -> AllowListEndpoint:
        reactor = the_reactor()
        client = HttpClient(reactor, ServerTls(), max_bytes)
        return AllowListEndpoint(f"http://127.0.0.1:{self.number}/vins", client, reactor, 30.0, **options)

    async def put(self, *vehicles: str) -> None:
        self.endpoint.body, self.endpoint.code, self.endpoint.is_away = json.dumps(vehicles).encode(), 200, False

    async def put_garbage(self) -> None:
        self.endpoint.body, self.endpoint.code = b"<html>hello</html>", 200

    async def take_away(self) -> None:
        self.endpoint.is_away = True  # the port stays ours: another process might take its number

    async def test_the_same_body_is_no_change(self) -> None:
        source = self.make()
        await self.put(FIRST)
        await self.read(source)
        self.assertIsNone(await self.read(source))

    async def test_an_etag_spares_the_body(self) -> None:
        source = self.make()
        await self.put(FIRST)
        self.endpoint.etag = b'"1"'
        self.assertEqual(await self.read(source), {FIRST})
        self.assertIsNone(await self.read(source))
        self.assertEqual(self.endpoint.headers[b"If-None-Match"], [b'"1"'])
        await self.put(SECOND)
        self.endpoint.etag = b'"2"'
        self.assertEqual(await self.read(source), {SECOND})

    async def test_the_etag_of_garbage_is_not_kept(self) -> None:
        source = self.make()
        await self.put_garbage()
        self.endpoint.etag = b'"1"'
        await self.refusal(source)
        self.assertIn("JSON", await self.refusal(source), "no 304")

    async def test_a_status_other_than_200_is_named(self) -> None:
        source = self.make()
        await self.put(FIRST)
        for code in (204, 301, 401, 404, 500):
            self.endpoint.code = code
            self.assertIn(str(code), await self.refusal(source))

    async def test_an_empty_body_is_no_list(self) -> None:
        await self.put(FIRST)
        self.endpoint.body = b""
        self.assertIn("JSON", await self.refusal(self.make()))

    async def test_a_body_without_an_end(self) -> None:
        await self.put(*[f"{number:017}" for number in range(100)])
        self.assertIn("sent more than 1000 bytes", await self.refusal(self.make(1000)))

    async def test_the_authorization_is_read_for_each_request(self) -> None:
        file = temporary_folder(self) / "authorization"
        file.write_text("Bearer one\n")
        source = self.make(authorization=SecretFile.read(file))
        await self.put(FIRST)
        await self.read(source)
        self.assertEqual(self.endpoint.headers[b"Authorization"], [b"Bearer one"])
        file.write_text("Bearer two\n")
        await self.read(source)
        self.assertEqual(self.endpoint.headers[b"Authorization"], [b"Bearer two"])
        file.unlink()
        self.assertIn("cannot be read", await self.refusal(source))

    async def test_cancelling_ends_the_request(self) -> None:
        source = self.make()
        self.endpoint.hangs = True
        reading: Deferred[Any] = source.read()
        while not self.endpoint.requests:
            await _turn()
        reading.cancel()
        with self.assertRaises(CancelledError):
            await reading


def _turn() -> Deferred[None]:
    turn: Deferred[None] = Deferred()
    the_reactor().callLater(0, turn.callback, None)
    return turn
