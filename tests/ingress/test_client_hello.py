"""The ClientHello, for people: as clients write it, in pieces, and damaged."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from fleetgw.adapters.ingress.client_hello import MAX_HELLO_BYTES, MAX_PROTOCOLS, ClientHello, HelloReader, NoClientHello
from fleetgw.adapters.ingress.tls_records import take

if TYPE_CHECKING:
    from types import FrameType


def hello(version: int | None = None, name: bytes = b"", protocols: tuple[bytes, ...] = ()) -> bytes:
    """The first bytes of a client of OpenSSL."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if version is not None:
        context.set_max_proto_version(version)
    if protocols:
        context.set_alpn_protos([*protocols])
    client: Any = SSL.Connection(context, None)
    client.set_connect_state()
    if name:
        client.set_tlsext_host_name(name)
    with contextlib.suppress(SSL.WantReadError):
        client.do_handshake()
    return bytes(take(client._from_ssl))


FULL = hello(name=b"gw.example.com", protocols=(b"h2", b"http/1.1"))


def in_records(data: bytes, size: int) -> bytes:
    """The same message in records of so many bytes."""
    message = data[5:]
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(data[:3] + len(part).to_bytes(2, "big") + part for part in parts)


def read_client_hello(data: bytes) -> ClientHello | None:
    """Read the first bytes of a connection that come at once."""
    return HelloReader().read(data)


def calls_of_read(reader: HelloReader, data: bytes) -> int:
    """The number of calls that a read makes."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        reader.read(data)
    finally:
        sys.setprofile(before)
    return calls


class HelloTests(TestCase):
    def test_what_a_client_offers(self) -> None:
        read = read_client_hello(FULL)
        assert read is not None
        self.assertEqual((read.versions, read.server_name), (("TLS 1.3", "TLS 1.2"), "gw.example.com"))
        self.assertEqual(read.protocols, ("h2", "http/1.1"))
        self.assertGreater(read.ciphers, 3)
        older = read_client_hello(hello(SSL.TLS1_2_VERSION))
        assert older is not None
        self.assertEqual((older.versions, older.server_name, older.protocols), (("TLS 1.2",), "", ()))

    def test_pieces(self) -> None:
        for size in (1, 100, 1000):
            self.assertEqual(read_client_hello(in_records(FULL, size)), read_client_hello(FULL))
        for end in range(len(FULL)):
            self.assertIsNone(read_client_hello(FULL[:end]), end)

    def test_single_bytes(self) -> None:
        reader = HelloReader()
        *first, last = (bytes([each]) for each in in_records(FULL, 7))
        self.assertEqual([reader.read(each) for each in first], [None] * len(first))
        self.assertEqual(reader.read(last), read_client_hello(FULL))

    def test_a_read_costs_the_same_however_much_has_come_before(self) -> None:
        reader = HelloReader()
        endless = in_records(b"\x16\x03\x01\x00\x00" + b"\x01\x00\x3f\x00" + bytes(2000), 1)
        head, early, later, late = endless[:24], endless[24:30], endless[30:-6], endless[-6:]
        reader.read(head)
        calls = calls_of_read(reader, early)
        reader.read(later)
        self.assertEqual(calls_of_read(reader, late), calls)

    def test_many_protocols(self) -> None:
        many = read_client_hello(hello(protocols=tuple(b"p%d" % number for number in range(500))))
        assert many is not None
        self.assertEqual(len(many.protocols), MAX_PROTOCOLS)

    def test_what_is_no_hello(self) -> None:
        for data in (b"GET / HTTP/1.1", b"\x15\x03\x01\x00\x02\x02\x28", b"\x16\x03\x01\x00\x04\x02\x00\x00\x00"):
            with self.assertRaises(NoClientHello):
                read_client_hello(data)
        with self.assertRaises(NoClientHello):
            read_client_hello(b"\x16\x03\x01\xff\xff\x01\xff\xff\xff" + bytes(MAX_HELLO_BYTES))

    @given(st.integers(5, len(FULL) - 1), st.binary(max_size=8))
    def test_damage(self, position: int, damage: bytes) -> None:
        with contextlib.suppress(NoClientHello):
            read_client_hello(FULL[:position] + damage + FULL[position + len(damage) :])

    @given(st.binary(max_size=300))
    def test_anything(self, data: bytes) -> None:
        with contextlib.suppress(NoClientHello):
            read_client_hello(data)
        with contextlib.suppress(NoClientHello):
            read_client_hello(b"\x16\x03\x01" + len(data).to_bytes(2, "big") + data)
