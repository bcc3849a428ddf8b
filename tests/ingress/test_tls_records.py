"""``receive`` and ``send`` in Python and in C: one script has the same results."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import TestCase, mock

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from fleetgw.adapters.ingress import fast_frames, tls_records
from fleetgw.adapters.ingress.fast_frames import BYTES_AT_ONCE
from fleetgw.adapters.ingress.tls_records import (
    CLOSED,
    DECRYPTED_ALL,
    END_OF_TLS,
    INCOMPLETE,
    LOST,
    MORE_ENCRYPTED,
    NO_BYTES,
    RECORDS_AT_ONCE,
    choose,
    read_socket,
    receive_in_python,
    send_in_python,
    take,
)
from fleetgw.domain.records import Envelope
from tests.support.client_frames import frame_of, stream
from tests.support.connected_tls import Connected
from tests.support.deadline import DEADLINE_S
from tests.support.speedups import speedups

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

GARBAGE = b"\x17\x03\x03\x00\x20" + bytes(32)
OVERHEAD = 22
"""Bytes of a record of TLS 1.3 in addition to its plaintext."""
IN_PYTHON = choose(None)

_lib: Any = SSL._lib  # type: ignore[attr-defined]  # cffi, not typed


class RecordsInPythonTests(TestCase):
    functions = IN_PYTHON

    def setUp(self) -> None:
        self.connected = Connected(self.functions)

    def tearDown(self) -> None:
        self.assertEqual(_lib.ERR_peek_error(), 0, "an error is left for the next connection to trip over")

    def sockets(self) -> tuple[socket.socket, socket.socket]:
        """The gateway's socket, which does not block, and the vehicle's."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            vehicle = socket.create_connection(listener.getsockname())
            gateway, _ = listener.accept()
        gateway.setblocking(False)
        self.addCleanup(vehicle.close)
        self.addCleanup(gateway.close)
        return gateway, vehicle

    def wait(self, gateway: socket.socket, size: int = 1) -> None:
        """Wait for bytes, or the end, from loopback."""
        gateway.setblocking(True)
        with contextlib.suppress(ConnectionResetError):
            gateway.recv(size, socket.MSG_PEEK | socket.MSG_WAITALL)
        gateway.setblocking(False)

    # -- receive

    def test_a_message_in_a_record(self) -> None:
        envelope = fast_frames.split(frame_of(stream()), 0, 1000, 1000, Envelope)[0][0]
        for message, wanted in ((stream(), envelope), (b"other", b"other"), (b"", b"")):
            records = self.connected.encrypted(frame_of(message))
            self.assertEqual(self.connected.receive(records), (DECRYPTED_ALL, [wanted], b""))
        self.assertEqual(self.connected.receive(b""), (INCOMPLETE, [], b""))

    def test_bytes_of_a_socket(self) -> None:
        gateway, vehicle = self.sockets()
        self.assertEqual(self.connected.receive(gateway), (NO_BYTES, [], b""))
        for messages in ([b"one"], [b"two", b"three"]):
            records = self.connected.encrypted(*map(frame_of, messages))
            vehicle.sendall(records)
            self.wait(gateway, len(records))
            self.assertEqual(self.connected.receive(gateway), (DECRYPTED_ALL, messages, b""))
        vehicle.shutdown(socket.SHUT_WR)
        self.wait(gateway)
        self.assertEqual(self.connected.receive(gateway), (CLOSED, [], b""))
        self.assertEqual(read_socket(gateway), (CLOSED, b""))
        gateway.close()
        self.assertEqual(self.connected.receive(gateway), (LOST, [], b""))
        self.assertEqual(read_socket(gateway), (LOST, b""))

    def test_a_socket_that_the_peer_resets(self) -> None:
        gateway, vehicle = self.sockets()
        vehicle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        vehicle.close()
        while (result := self.connected.receive(gateway))[0] == NO_BYTES:
            pass
        self.assertEqual(result, (LOST, [], b""))

    def test_a_read_takes_no_more_than_64_kib(self) -> None:
        gateway, vehicle = self.sockets()
        records = self.connected.encrypted(*[b"x" * 16_384] * 5)
        vehicle.sendall(records)
        self.wait(gateway, len(records))
        received = b""
        for _ in range(2):
            status, messages, plaintext = self.connected.receive(gateway, -1)
            self.assertEqual(messages, [])
            received += plaintext
            if len(received) < 5 * 16_384:
                self.assertEqual((status, len(received)), (INCOMPLETE, 3 * 16_384))
        self.assertEqual((status, received), (DECRYPTED_ALL, b"x" * 5 * 16_384))

    def test_every_cut_of_two_records(self) -> None:
        """The size of a read does not tell whether it is one whole record: bytes may remain from before."""
        connected = self.connected
        end = len(connected.encrypted(frame_of(stream()), frame_of(b"second")))
        connected = Connected(self.functions)
        states = set()
        for cut in range(end):
            records = connected.encrypted(frame_of(stream()), frame_of(b"second"))
            first, second = connected.receive(records[:cut]), connected.receive(records[cut:])
            states.add((first[0], second[0]))
            self.assertEqual([type(message) for message in first[1] + second[1]], [Envelope, bytes])
            self.assertEqual((first[2], second[2]), (b"", b""))
        self.assertEqual(states, {(INCOMPLETE, DECRYPTED_ALL), (DECRYPTED_ALL, DECRYPTED_ALL)})

    def test_many_records(self) -> None:
        for count in (RECORDS_AT_ONCE, RECORDS_AT_ONCE + 1, 3 * RECORDS_AT_ONCE):
            results = [self.connected.receive(self.connected.encrypted(*[b"x"] * count), -1)]
            while results[-1][0] == MORE_ENCRYPTED:
                results.append(self.connected.receive(b"", -1))
            self.assertEqual(results[-1][0], DECRYPTED_ALL)
            sizes = [len(result[2]) for result in results]
            self.assertEqual(sum(sizes), count)
            self.assertEqual(set(sizes[:-1]) | {sizes[0]}, {RECORDS_AT_ONCE})

    def test_many_large_records(self) -> None:
        records = self.connected.encrypted(*[b"x" * 16_384] * 65)
        status, _, plaintext = self.connected.receive(records, -1)
        self.assertEqual((status, plaintext), (MORE_ENCRYPTED, b"x" * 16_384 * 64))
        self.assertEqual(self.connected.receive(b"", -1), (DECRYPTED_ALL, [], b"x" * 16_384))

    def test_plaintext_behind_the_messages(self) -> None:
        ping = b"\x89\x80mask"
        frame = frame_of(b"x" * 1000)
        for data, count in (
            (frame + ping + frame, 1),
            (ping, 0),
            (frame[:-1], 0),
            (frame * 30, 17),
            (frame_of(b"") * 100, 64),
            (frame_of(bytes(BYTES_AT_ONCE - 8)) + frame, 1),
            (frame_of(bytes(BYTES_AT_ONCE - 9)) + frame, 2),
        ):
            messages, position = fast_frames.split_frames(data, 0, BYTES_AT_ONCE, 1000, Envelope)
            self.assertEqual(len(messages), count)
            records = [data[at : at + 16_384] for at in range(0, len(data), 16_384)]
            result = self.connected.receive(self.connected.encrypted(*records))
            self.assertEqual(result, (DECRYPTED_ALL, messages, data[position:]))

    def test_the_limit_of_messages(self) -> None:
        frame = frame_of(stream())
        size = len(stream())
        for limit, wanted in ((size, Envelope), (size - 1, bytes)):
            _, (message,), _ = self.connected.receive(self.connected.encrypted(frame), limit)
            self.assertIs(type(message), wanted)
        self.assertEqual(self.connected.receive(self.connected.encrypted(frame), -1), (DECRYPTED_ALL, [], frame))

    def test_the_end_of_tls(self) -> None:
        records = self.connected.encrypted(frame_of(b"last"))
        self.connected.client.shutdown()
        close = take(self.connected.client._from_ssl)
        self.assertEqual(self.connected.receive(records + close), (END_OF_TLS, [b"last"], b""))
        self.assertEqual(self.connected.receive(b""), (END_OF_TLS, [], b""))
        with self.assertRaises(SSL.ZeroReturnError):
            self.connected.server.recv(1)

    def test_a_violation_of_tls(self) -> None:
        records = self.connected.encrypted(frame_of(b"last"))
        self.assertEqual(self.connected.receive(records + GARBAGE), (END_OF_TLS, [b"last"], b""))
        with self.assertRaises(SSL.Error):
            self.connected.server.recv(1)

    # -- send

    def take(self, vehicle: socket.socket, size: int) -> bytes:
        """Read ``size`` bytes from the vehicle's socket."""
        vehicle.settimeout(DEADLINE_S)
        taken = b""
        while len(taken) < size:
            taken += vehicle.recv(size - len(taken))
        return taken

    def test_a_socket_takes_all(self) -> None:
        gateway, vehicle = self.sockets()
        for data in (b"x", b"y" * 16_384, b"z"):
            self.assertEqual(self.connected.send(data, gateway), b"")
            self.assertEqual(self.connected.decrypted(self.take(vehicle, len(data) + OVERHEAD)), data)

    def test_no_socket(self) -> None:
        unsent = self.connected.send(b"reply")
        assert unsent is not None
        self.assertEqual(self.connected.decrypted(unsent), b"reply")

    def test_bytes_that_were_encrypted_before_leave_first(self) -> None:
        """More of them than the buffers hold."""
        before = [bytes([number]) * 16_384 for number in range(20)]
        gateway, vehicle = self.sockets()
        for target in (None, gateway):
            for data in before:
                self.connected.server.send(data)
            unsent = self.connected.send(b"reply", target)
            assert unsent is not None
            wanted = b"".join(before) + b"reply"
            sent = self.take(vehicle, len(wanted) + 21 * OVERHEAD - len(unsent))
            self.assertEqual(self.connected.decrypted(sent + unsent), wanted)

    def test_a_socket_takes_a_part(self) -> None:
        gateway, vehicle = self.sockets()
        gateway.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 5_000)
        wanted, unsent = b"", b""
        sizes: list[int] = []
        while not unsent:
            piece = bytes([len(sizes) % 256]) * 10_000
            result = self.connected.send(piece, gateway)
            assert result is not None
            wanted, unsent = wanted + piece, result
            sizes.append(len(piece) + OVERHEAD - len(unsent))
        sent = self.take(vehicle, sum(sizes))
        self.assertEqual(self.connected.decrypted(sent + unsent), wanted)

    def test_a_full_socket_takes_nothing(self) -> None:
        gateway, vehicle = socket.socketpair()
        self.addCleanup(gateway.close)
        self.addCleanup(vehicle.close)
        gateway.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                gateway.send(bytes(10_000))
        unsent = self.connected.send(b"reply", gateway)
        assert unsent is not None
        self.assertEqual(self.connected.decrypted(unsent), b"reply")

    def test_a_broken_or_closed_socket_takes_nothing(self) -> None:
        gateway, vehicle = self.sockets()
        vehicle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        vehicle.close()
        self.wait(gateway)
        received = b""
        for close in (lambda: None, gateway.close):
            close()
            unsent = self.connected.send(b"reply", gateway)
            assert unsent is not None
            received += self.connected.decrypted(unsent)
        self.assertEqual(received, b"replyreply")

    def small_writes(self) -> AbstractContextManager[object]:
        """OpenSSL as for a client that has asked for small records (RFC 6066, section 4): each call writes one of them."""
        write = _lib.SSL_write
        return mock.patch.object(tls_records, "_ssl_write", lambda ssl, data, size: write(ssl, data, min(size, 512)))

    def test_a_peer_that_asks_for_small_records(self) -> None:
        data = b"".join(b"%08d" % number for number in range(300))
        gateway, vehicle = self.sockets()
        for target in (None, gateway):
            with self.small_writes():
                unsent = self.connected.send(data, target)
            assert unsent is not None
            sent = self.take(vehicle, len(data) + 5 * OVERHEAD - len(unsent))
            self.assertEqual(self.connected.decrypted(sent + unsent), data)

    def test_data_that_openssl_does_not_take(self) -> None:
        connected = Connected(self.functions, handshake=False)
        gateway, _ = self.sockets()
        self.assertIsNone(connected.send(b"early", gateway))

    # -- handles

    def test_the_handles_of_an_ended_connection_are_refused(self) -> None:
        ssl, into_ssl, from_ssl = self.connected.ssl, self.connected.into_ssl, self.connected.from_ssl
        for one, other in ((None, into_ssl), (ssl, None)):
            with self.assertRaises(TypeError):
                self.functions.receive(b"", one, other, 1, Envelope)
        for one, other in ((None, from_ssl), (ssl, None)):
            with self.assertRaises(TypeError):
                self.functions.send(None, one, other, b"")


class RecordsInCTests(RecordsInPythonTests):
    def setUp(self) -> None:
        self.functions = choose(speedups())
        self.assertIs(self.functions.receive, speedups().receive)
        super().setUp()

    @contextlib.contextmanager
    def small_writes(self) -> Iterator[None]:
        ffi = SSL._ffi  # type: ignore[attr-defined]  # cffi, not typed
        write = ffi.callback("int(SSL *, void *, int)", lambda ssl, data, size: _lib.SSL_write(ssl, data, min(size, 512)))
        addresses = tls_records._addresses()
        addresses[[*tls_records._SIGNATURES].index("SSL_write")] = tls_records._address(write)
        speedups().use_openssl(*addresses)
        try:
            yield
        finally:
            choose(speedups())

    @settings(max_examples=30)
    @given(
        st.lists(
            st.one_of(
                st.builds(frame_of, st.one_of(st.just(stream()), st.binary(max_size=200))),
                st.binary(min_size=1, max_size=9),
                st.integers(1, 16_384).map(bytes),
                st.just(b"\x89\x80mask"),
            ),
            min_size=1,
            max_size=80,
        ),
        st.lists(st.integers(0, 20_000), max_size=6),
        st.sampled_from([-1, 0, 150, 1_000_000]),
        st.sampled_from([b"", GARBAGE, GARBAGE[:9]]),
    )
    def test_both_receive_alike(self, writes: list[bytes], cuts: list[int], limit: int, behind: bytes) -> None:
        outcomes = []
        for functions in (IN_PYTHON, self.functions):
            connected = Connected(functions)
            records = connected.encrypted(*writes) + behind
            results, at = [], 0
            for cut in (*cuts, len(records)):
                results.append(connected.receive(records[at : at + cut], limit))
                at += cut
            outcomes.append(results)
            _lib.ERR_clear_error()
        self.assertEqual(outcomes[1], outcomes[0])

    def test_the_address_0_is_refused(self) -> None:
        for one, other in ((0, self.connected.into_ssl), (self.connected.ssl, 0)):
            with self.assertRaises(ValueError):
                self.functions.receive(b"", one, other, 1, Envelope)
            with self.assertRaises(ValueError):
                self.functions.send(None, one, other, b"")
        with self.assertRaises(ValueError):
            speedups().use_openssl(1, 2, 3, 4, 5, 0)

    def test_wrong_arguments_change_no_reference(self) -> None:
        connected, thing = self.connected, object()
        source, data = connected.encrypted(b"x"), bytes(bytearray(b"reply"))
        watched = (source, data, thing, Envelope, self.functions)
        wrong = [
            (self.functions.receive, (source, connected.ssl, connected.into_ssl, 1)),
            (self.functions.receive, (thing, connected.ssl, connected.into_ssl, 1, Envelope)),
            (self.functions.receive, (source, thing, connected.into_ssl, 1, Envelope)),
            (self.functions.receive, (source, connected.ssl, connected.into_ssl, thing, Envelope)),
            (self.functions.receive, (source, connected.ssl, connected.into_ssl, 1, thing)),
            (self.functions.send, (None, connected.ssl, connected.from_ssl)),
            (self.functions.send, (thing, connected.ssl, connected.from_ssl, data)),
            (self.functions.send, (None, thing, connected.from_ssl, data)),
            (self.functions.send, (None, connected.ssl, connected.from_ssl, thing)),
        ]
        function: Any = None
        arguments: tuple[Any, ...] = ()
        counts = [sys.getrefcount(each) for each in watched]
        for function, arguments in wrong * 100:
            with self.assertRaises(TypeError):
                function(*arguments)
        function, arguments = None, ()
        self.assertEqual([sys.getrefcount(each) for each in watched], counts)
        self.assertEqual(take(connected.server._from_ssl), b"", "nothing is encrypted that is then forgotten")

    def test_openssl_must_be_given_first(self) -> None:
        code = "from fleetgw import _speedups as s; s.receive(b'', 1, 1, 1, tuple)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        self.assertIn("RuntimeError: use_openssl", done.stderr)


class ChoiceTests(TestCase):
    def test_without_the_extension(self) -> None:
        self.assertEqual(IN_PYTHON[:2], (receive_in_python, send_in_python))

    def test_another_version_of_cryptography(self) -> None:
        """The addresses cannot be had: frames are parsed in C all the same."""
        module = "cryptography.hazmat.bindings._rust"
        real = sys.modules[module]._openssl  # type: ignore[attr-defined]  # private
        lacking = SimpleNamespace(ffi=real.ffi, lib=SimpleNamespace())
        for binding in (SimpleNamespace(), SimpleNamespace(_openssl=lacking), SimpleNamespace(_openssl=SimpleNamespace())):
            with mock.patch.dict(sys.modules, {module: binding}):
                self.assertEqual(choose(speedups())[:2], (receive_in_python, send_in_python))
        for signature in ("int(*)(SSL *, void *, size_t)", "int(*)(NOT_SSL *, void *, int)"):
            with mock.patch.dict(tls_records._SIGNATURES, SSL_read=signature):
                self.assertEqual(choose(speedups())[:2], (receive_in_python, send_in_python))
