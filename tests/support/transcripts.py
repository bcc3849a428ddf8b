"""Plays the transcripts of a fleet-telemetry server against the whole gateway in memory."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

from cryptography.x509 import ObjectIdentifier
from OpenSSL import SSL

from fleetgw.adapters.codec.envelope import write_stream
from fleetgw.adapters.logs.json_text import to_json
from fleetgw.domain.errors import NotConnected
from tests.support.client_certificates import (
    CLIENT_AUTH,
    SERVER_AUTH,
    client_certificate,
    intermediate_authority,
    root_authority,
)
from tests.support.gateway_in_memory import VIN, GatewayInMemory
from tests.support.raw_vehicle import UPGRADE, RawClientTls, RawVehicle

if TYPE_CHECKING:
    from pathlib import Path

SECOND_VIN = "7SAYGDEE1PA123456"
_OID = ObjectIdentifier("1.3.6.1.4.1.49279.2.5.1")
_EXCLUDED = ObjectIdentifier("1.3.6.1.4.1.49279.2.5.1.1")

Json = Any  # whatever the vectors hold


class Certificates:
    """The client certificates that the vectors name."""

    def __init__(self) -> None:
        self.authority = authority = root_authority("TeslaMotors")
        other, by_usage = root_authority("Some Other CA"), root_authority("Tesla Motors Product Issuing CA")
        intermediate = intermediate_authority(authority, "Tesla Issuing CA")
        self.trusted = [authority, other, by_usage]
        chained = client_certificate(intermediate, VIN)
        self._tls = {
            "main": [client_certificate(authority, VIN)],
            "second": [client_certificate(authority, SECOND_VIN)],
            "dots": [client_certificate(authority, "a.b.c")],
            "short": [client_certificate(authority, "AB1")],
            "empty_cn": [client_certificate(authority, "")],
            "no_cn": [client_certificate(authority, None)],
            "other_issuer": [client_certificate(other, VIN)],
            "oid": [client_certificate(by_usage, VIN, [CLIENT_AUTH, _OID])],
            "oid_none": [client_certificate(by_usage, VIN)],
            "oid_excluded": [client_certificate(by_usage, VIN, [CLIENT_AUTH, _EXCLUDED])],
            "oid_no_clientauth": [client_certificate(by_usage, VIN, [_OID])],
            "server_only": [client_certificate(authority, VIN, [SERVER_AUTH])],
            "no_eku": [client_certificate(authority, VIN, [])],
            "untrusted": [client_certificate(root_authority("TeslaMotors"), VIN)],
            "expired": [client_certificate(authority, VIN, expired=True)],
            "chain": [chained, intermediate],
            "chain_without_intermediate": [chained],
        }

    def tls(self, name: str | None, step: Json) -> RawClientTls:
        """TLS of the client with that certificate, as a handshake's step wants it."""
        credential, *chain = self._tls[name] if name else (None,)
        version = getattr(SSL, step["version"].replace("TLSv", "TLS") + "_VERSION") if "version" in step else None
        return RawClientTls(credential, chain, version, [name.encode() for name in step.get("alpn_offered", ())])


class Player:
    """Plays a case's steps; returns the gateway's replies in the form of the vectors."""

    def __init__(self, certificates: Certificates, folder: Path, case: Json, server: Json) -> None:
        """Start the server: ``server`` is its configuration in the vectors; ``folder`` takes certificate files."""
        self._certificates = certificates
        self._case = case
        sinks = {"zmq": "memory", "kafka": "memory"}
        routes = server.get("records", {}).items()
        records = {kind: [sinks.get(name, name) for name in names] for kind, names in routes}
        sources = {kind: sinks.get(name, name) for kind, name in server.get("reliable_ack_sources", {}).items()}
        config = {key: server[key] for key in ("transmit_decoded_records", "rate_limit", "logger") if key in server}
        if case["server"] == "reliable-kafka-down":
            config["delivery"] = {"retry_initial_s": 60, "retry_max_s": 60}
        self.gateway = GatewayInMemory(
            folder, certificates.authority, certificates.trusted, records=records, reliable_ack_sources=sources, **config
        )
        if case["server"] == "reliable-kafka-down":
            self.gateway.memory_sink().verdict = lambda _record: NotConnected("down")
        self.vehicle: RawVehicle | None = None
        self.others: dict[str, RawVehicle] = {}
        self._unsent = b""

    def play(self) -> Json:
        """Play all steps; the result has ``steps``, ``end`` and ``log``.

        :raises AssertionError: a step is unknown, or a connection is left.
        """
        steps = [self._step(step) for step in self._case["steps"]]
        self._flush()
        end = self._end()
        for vehicle in (self.vehicle, *self.others.values()):
            if vehicle is not None and vehicle.lost is None:
                vehicle.close()
        self.gateway.clock.advance(1)
        log = [{"msg": event, **fields} for _, event, fields in self.gateway.log.entries]
        self.gateway.close()
        if self.gateway.vehicles.connections:
            raise AssertionError("a connection is left")
        return {"steps": steps, "end": end, "log": [json.loads(to_json(line)) for line in log]}

    def _step(self, step: Json) -> Json:
        match step:
            case {"tls": _}:
                return self._shake_hands(step)
            case {"open": _, "send_http": request}:
                for name, certificate in (("first", "main"), ("second", "second")):
                    self.others[name] = vehicle = self.gateway.connect(self._certificates.tls(certificate, {}))
                    vehicle.link.pump()
                    vehicle.exchange(request.encode())
                return step
            case {"send_on": name, "send_frame": frame}:
                self.others[name].send(bytes.fromhex(frame))
                self.gateway.clock.advance(0.1)
                for other in self.others.values():
                    other.link.pump()
                seen = {f"recv_on_{other}": frames(self.others[other].take()) for other in self.others}
                return step | {key: value for key, value in seen.items() if key in step}
            case {"close": name}:
                self.others[name].close()
                return step
            case {"send_http": request}:
                if "plain_tcp_to" in self._case:
                    self.vehicle = self.gateway.connect(None)
                elif self.vehicle is None:
                    self._shake_hands({})
                self._unsent += request.encode()
                self._flush()
            case {"send_hex": str(content)}:
                self._unsent += bytes.fromhex(content)
            case {"send_hex": {"what": what}}:
                filler = b"x" * int(re.findall(r"of (\d+) bytes", what)[0])
                self._unsent += UPGRADE[:-2] + b"X-Big: " + filler + b"\r\n\r\n"
            case {"send_frame": frame}:
                if self.vehicle is not None and self.vehicle.received.startswith(b"HTTP/"):
                    self.vehicle.take()  # a response that the vectors leave out
                self._unsent += bytes.fromhex(frame)
            case {"send_frame_made": what}:
                self._unsent += made(what)
            case {"recv_http": _}:
                return {"recv_http": response(self._received())}
            case {"recv_frames": _}:
                return {"recv_frames": frames(self._received())}
            case {"recv_hex": _}:
                return step | {"recv_hex": self._received().hex()}
            case {"not_sent": _}:
                return step if self._is_over() else {"not_sent": "connection was still open"}
            case {"signal_to_server": "SIGHUP"}:
                self.gateway.tls.reload()
            case {"signal_to_server": _}:
                self.gateway.vehicles.close_all("the gateway is stopping")
            case _:
                raise AssertionError(f"unknown step {step}")
        return step

    def _shake_hands(self, step: Json) -> Json:
        self.vehicle = self.gateway.connect(self._certificates.tls(self._case["client_cert"], step))
        self.vehicle.link.pump()
        tls: Any = self.vehicle.link.client.protocol
        result = step | {"tls": "handshake done" if tls._handshakeDone else alert(self.vehicle)}
        if "alpn_offered" in step:
            connection = tls.getHandle()
            chosen = connection.get_alpn_proto_negotiated().decode() if connection is not None else ""
            result["alpn_selected"] = chosen or None
        return result

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, b""
        if self.vehicle is not None:
            if unsent and self.vehicle.lost is None:
                self.vehicle.send(unsent)
            self.gateway.clock.advance(0.1)
            self.vehicle.link.pump()

    def _received(self) -> bytes:
        self._flush()
        return self.vehicle.take() if self.vehicle is not None else b""

    def _is_over(self) -> bool:
        self._flush()
        return self.vehicle is None or self.vehicle.lost is not None

    def _end(self) -> str:
        if "first" in self.others:
            return "closed by the client"
        if self.vehicle is None or self.vehicle.lost is None:
            return "still open"
        return f"tls: {alert(self.vehicle)}" if self.vehicle.lost.check(SSL.Error) else "closed"


def alert(vehicle: RawVehicle) -> str:
    """OpenSSL's name of the alert that ended the connection: of those that SSL 3 had, newer releases say so no more."""
    if vehicle.lost is None or not vehicle.lost.check(SSL.Error):
        return "no alert"
    return (
        str(cast("SSL.Error", vehicle.lost.value).args[0][-1][-1]).removeprefix("ssl/").replace("tls alert", "sslv3 alert")
    )


def made(what: str) -> bytes:
    """A frame that the vectors describe in words."""
    (size,) = map(int, re.findall(r"(\d+) (?:zero )?bytes", what))
    if "fragment" in what:
        return (b"\x02" if "first" in what else b"\x80") + b"\xff" + size.to_bytes(8, "big") + bytes(4) + bytes(size)
    around = len(_custom_record(bytes(4))) - 4
    message = _custom_record(bytes(size - around))
    if len(message) != size:
        raise AssertionError(f"{len(message)} bytes instead of {size}")
    return b"\x82\xff" + size.to_bytes(8, "big") + bytes(4) + message


def _custom_record(payload: bytes) -> bytes:
    return write_stream(
        txid=b"761007a3-c4e7-42aa-8f6a-55a67e842552",
        topic=b"custom",
        sender_id=f"vehicle_device.{VIN}".encode(),
        payload=payload,
        created_at_s=0,
        device_type=b"vehicle_device",
        device_id=VIN.encode(),
    )


def frames(received: bytes) -> list[str]:
    """A server's frames in hex."""
    found = []
    while received:
        size = received[1]
        head = 2
        if size > 125:
            head = 4 if size == 126 else 10
            size = int.from_bytes(received[2:head], "big")
        found.append(received[: head + size].hex())
        received = received[head + size :]
    return found


def response(received: bytes) -> Json:
    """An HTTP response as the vectors write it."""
    if not received:
        return None
    head, _, body = received.decode().partition("\r\n\r\n")
    status_line, *lines = head.split("\r\n")
    headers = [line.split(": ", 1) for line in lines]
    return {
        "status_line": status_line,
        "headers": [[name, "<date>" if name == "Date" else value] for name, value in headers],
        "body": body,
    }
