"""A double of the gateway's service for operators: the page and the gateway's answers, in states that a test chooses."""

from __future__ import annotations

import json
import math
import mimetypes
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import fleetgw.adapters.monitoring

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(fleetgw.adapters.monitoring.__file__).parent / "page"
TOKEN = "a-token-of-the-tests"  # noqa: S105  protects nothing
CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
DAY_MS = 86_400_000
HISTORY = 600


def now_ms() -> int:
    """The time now."""
    return int(time.time() * 1000)


def vin_of(number: int) -> str:
    """VIN of a vehicle by its number."""
    return f"5YJ3E1EA7MF{number:06}"


class MadeUpFleet:
    """Made-up figures of a fleet; a test changes the attributes."""

    def __init__(self, vehicles: int = 10) -> None:
        self.began = time.time()
        self.vehicles = [self.vehicle(number) for number in range(vehicles)]
        self.sink_failure = ""
        self.route: str | None = None
        self.handshakes = {"expired": 3, "unknown_authority": 1}
        self.connections = {"full_address": 12}
        self.refusals: list[dict[str, Any]] = []
        self.spool: dict[str, Any] | None = {
            "size_bytes": 42_000_000,
            "max_bytes": 1_073_741_824,
            "seconds_until_full": None,
            "unread": 0,
        }

    def fail_sink(self, reason: str = "broker 127.0.0.1:9092: connection refused") -> None:
        """Let one sink be down for a reason, while the spool fills."""
        self.sink_failure = reason
        self.spool = {
            "size_bytes": 842_000_000,
            "max_bytes": 1_073_741_824,
            "seconds_until_full": 5_400,
            "unread": 230_112,
        }

    def vehicle(self, number: int) -> dict[str, Any]:
        """An item of /api/vehicles."""
        return {
            "vin": vin_of(number),
            "online": number % 7 != 6,
            "connections": 1 if number % 7 != 6 else 0,
            "online_since_ms": now_ms() - 1_000_000 - number * 60_000,
            "offline_since_ms": now_ms() - 300_000 if number % 7 == 6 else None,
            "client_version": "1.0.0",
            "network": "wifi" if number % 2 else "cellular",
            "address": f"127.0.0.{number % 200 + 1}",
            "last_record_ms": now_ms() - number * 700,
            "records": 12_400 - number * 31,
            "signals_today": 98_000 - number * 7100 % 97_000,
        }

    def overview(self) -> dict[str, Any]:
        """The answer of /api/overview."""
        turn = time.time() - self.began
        connected = sum(vehicle["online"] for vehicle in self.vehicles)
        pace = [
            0.0 if not connected else 30 + 6 * math.sin((turn + at) / 40) + 2 * math.sin((turn + at) / 7)
            for at in range(HISTORY)
        ]
        records = [
            {
                "type": name,
                "received_total": int((200_000 + 30 * turn) * share),
                "acked_total": int((200_000 + 30 * turn) * share),
                "received_per_s": pace[-1] * share,
                "acked_per_s": pace[-1] * share,
                "signals_total": int(1_500_000 * share),
            }
            for name, share in (("V", 0.8), ("alerts", 0.15), ("errors", 0.05))
        ]
        return {
            "version": "0.1.0",
            "hot_path": "C",
            "host": "gw-1.example.com",
            "now_ms": now_ms(),
            "uptime_s": 183_000 + turn,
            "health": {"state": "degraded", "reasons": ["the sink kafka is not ready: its records wait in the spool"]}
            if self.sink_failure
            else {"state": "ok", "reasons": []},
            "vehicles": {"connected": connected, "connections": connected, "paused": 0},
            "records": records if self.vehicles else [],
            "ack_latency_ms": {"p50": 0.0, "p90": 4.8, "p99": 11.4, "window_s": 60}
            if self.vehicles
            else {"p50": None, "p90": None, "p99": None, "window_s": 60},
            "sinks": [
                self.sink("kafka", ["V", "alerts"], self.sink_failure),
                self.sink("sqlite", ["V", "alerts", "errors"]),
            ],
            "spool": self.spool,
            "ledger": {
                "balanced": True,
                "lost": 0,
                "problems": [],
                "from_vehicles": [
                    {"type": "V", "received": 160_000, "acked": 159_990, "duplicates": 12, "unacked": 0, "awaiting": 10}
                ],
                "to_sinks": [
                    {
                        "type": "V",
                        "sink": "kafka",
                        "taken": 160_000,
                        "delivered": 159_990,
                        "dead_letters": 0,
                        "unheard": 0,
                        "given_up": 0,
                        "held": 10,
                        "spooled": 0,
                        "refused": 0,
                        "lost": 0,
                    }
                ],
            },
            "refusals": {"connections": self.connections, "handshakes": self.handshakes},
            "certificates": [
                {
                    "name": "server",
                    "subject": "CN=gw-1.example.com",
                    "issuer": "CN=Example CA",
                    "not_before_ms": now_ms() - 90 * DAY_MS,
                    "not_after_ms": now_ms() + 64 * DAY_MS,
                    "state": "ok",
                    "days_left": 64,
                    **dict.fromkeys(("since_ms", "reason", "fix")),
                },
                {
                    "name": "vehicles' authority",
                    "subject": "CN=Fleet CA",
                    "issuer": "CN=Fleet CA",
                    "not_before_ms": now_ms() - 900 * DAY_MS,
                    "not_after_ms": now_ms() + 12 * DAY_MS,
                    "state": "expires_soon",
                    "days_left": 12,
                    **dict.fromkeys(("since_ms", "reason", "fix")),
                },
            ],
            "history": {
                "interval_s": 1,
                "received_per_s": pace,
                "acked_per_s": pace,
                "vehicles": [connected] * HISTORY,
            },
            "history_by_type": {
                "interval_s": 5,
                "types": {
                    name: {
                        "received_per_s": [share * at for at in pace[::5]],
                        "acked_per_s": [share * at for at in pace[::5]],
                    }
                    for name, share in (("V", 0.8), ("alerts", 0.15), ("errors", 0.05))
                },
            },
        }

    def sink(self, name: str, types: list[str], failure: str = "") -> dict[str, Any]:
        """A sink of the overview; not ready where it has a failure."""
        return {
            "name": name,
            "state": "not_ready" if failure else "ready",
            "reason": failure,
            "fix": "Check that the broker runs and that bootstrap.servers names it." if failure else "",
            "since_ms": now_ms() - 192_000,
            "types": types,
            "held": 4_112 if failure else 12,
            "capacity": 5_000,
            "delivered_total": 9_199_800,
            "delivered_per_s": 0 if failure else 28.4,
            "retried_total": 31 if failure else 0,
            "dead_letters_total": 0,
        }

    def details(self, vin: str) -> dict[str, Any] | None:
        """The answer of /api/vehicles/{vin}; None when there is no such vehicle."""
        for vehicle in self.vehicles:
            if vehicle["vin"] == vin:
                turn = time.time() - self.began
                names = ("VehicleSpeed", "Soc", "Odometer", "InsideTemp", "OutsideTemp", "PackVoltage", "PackCurrent")
                values = [
                    {
                        "name": name,
                        "value": 40 + index * 3 + 9 * math.sin(turn / 9 + index),
                        "at_ms": now_ms() - 400 * index,
                        "history": [
                            [now_ms() - (60 - at) * 1000, 40 + 9 * math.sin((turn + at) / 9 + index)] for at in range(60)
                        ],
                    }
                    for index, name in enumerate(names)
                ]
                values += [
                    {"name": "Gear", "value": "ShiftStateD", "at_ms": now_ms(), "history": []},
                    {"name": "RouteLine", "value": self.route, "at_ms": now_ms(), "history": []},
                    {
                        "name": "DetailedChargeState",
                        "value": "DetailedChargeStateDisconnected",
                        "at_ms": now_ms(),
                        "history": [],
                    },
                    {
                        "name": "Location",
                        "value": {"latitude": 37.41234, "longitude": -122.14567},
                        "at_ms": now_ms(),
                        "history": [],
                    },
                    {
                        "name": "DoorState",
                        "value": {"DriverFront": False, "PassengerFront": True},
                        "at_ms": now_ms(),
                        "history": [],
                    },
                ]
                days = [{"day": f"2026-11-{day:02}", "signals": 90_000 + day * 997 % 30_000} for day in range(20, 28)]
                return vehicle | {
                    "values": values,
                    "signals_per_day": days,
                    "records_by_type": {"V": 9_980, "alerts": 1_800, "errors": 600},
                }
        return None

    def signals(self, top: int) -> dict[str, Any]:
        """The answer of /api/signals."""
        days = [f"2026-11-{day:02}" for day in range(20, 28)]
        vehicles = [
            {
                "vin": v["vin"],
                "today": v["signals_today"],
                "total": v["signals_today"] * 8,
                "per_day": dict.fromkeys(days, v["signals_today"]),
            }
            for v in sorted(self.vehicles, key=lambda v: -v["signals_today"])[:top]
        ]
        return {
            "since_ms": now_ms() - 8 * DAY_MS,
            "days": days,
            "total": {"V": 4_400_000, "alerts": 12_000},
            "vehicles": vehicles,
            "others": 0,
        }


EXPIRED = {
    "at_ms": now_ms() - 12_000,
    "kind": "handshake",
    "reason": "expired",
    "text": "The vehicle's certificate expired 9 days ago.",
    "fix": "Have the vehicle renew its certificate; until then it cannot connect.",
    "address": "127.0.0.9",
    "vin": "5YJ3E1EA7MF000077",
    "issuer": "CN=Fleet CA",
    "not_after_ms": now_ms() - 9 * DAY_MS,
}

NOT_ALLOWED = EXPIRED | {
    "at_ms": now_ms() - 300_000,
    "kind": "vehicle",
    "reason": "not_allowed",
    "text": "The VIN is not on the list of vehicles that may connect.",
    "fix": "Add it to the file of vehicles.allow; the gateway notices by itself.",
    "vin": "5YJ3E1EA7MF000078",
    "issuer": None,
    "not_after_ms": None,
}


class DoubleGateway:
    """Serves on a port of its own until ``stop``; may be started again on the same port."""

    def __init__(self, fleet: MadeUpFleet, port: int = 0) -> None:
        self.fleet = fleet
        self.silent = False
        self.refused_host = False
        self.garbage = False
        self.streams = 0
        self._stopping = threading.Event()
        self._counting = threading.Lock()
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                double._answer(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_of_a_client_that_has_left: object) -> None:
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End all streams and close the port."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = parts.path.strip("/").split("/")
        if path[0] != "api":
            return self._file(request, parts.path.strip("/") or "index.html")
        if self.refused_host:
            return self._json(
                request,
                {"error": "The name gw.example.com is not one of this gateway's.", "fix": "Add it to operations.hosts."},
                403,
            )
        if path[1] == "overview":
            return self._stream(request, self.fleet.overview)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json(
                request, {"error": "The token is not the one of operations.token.", "fix": "Copy it again."}, 401
            )
        match path[1:]:
            case ["vehicles"]:
                found = [v for v in self.fleet.vehicles if query.get("search", "").upper() in v["vin"]]
                return self._json(request, {"vehicles": found[: int(query.get("limit", 100))], "total": len(found)})
            case ["vehicles", vin, "stream"] if self.fleet.details(unquote(vin)):
                return self._stream(request, lambda: self.fleet.details(unquote(vin)))
            case ["signals"]:
                return self._json(request, self.fleet.signals(int(query.get("top", 20))))
            case ["refusals"]:
                return self._json(request, {"refusals": self.fleet.refusals})
            case ["tap"]:
                return self._stream(request, self._tapped, b"%b\n", b"application/x-ndjson", 0.05)
        return self._json(request, {"error": "This vehicle has not connected since the gateway started.", "fix": ""}, 404)

    def _tapped(self) -> dict[str, Any]:
        number = int(time.time() * 20) % max(1, len(self.fleet.vehicles))
        data = {"VehicleSpeed": 61.4, "Soc": 71, "Gear": "D", "Location": {"latitude": 37.4, "longitude": -122.1}}
        return {"at_ms": now_ms(), "vin": self.fleet.vehicles[number]["vin"], "type": "V", "txid": "1", "data": data}

    def _file(self, request: BaseHTTPRequestHandler, name: str) -> None:
        file = PAGE / name
        if not file.is_file():
            return self._send(request, b"404 page not found\n", b"text/plain", 404)
        return self._send(request, file.read_bytes(), (mimetypes.guess_type(name)[0] or "text/plain").encode())

    def _json(self, request: BaseHTTPRequestHandler, value: object, code: int = 200) -> None:
        self._send(request, b"<html>" if self.garbage else json.dumps(value).encode(), b"application/json", code)

    def _send(self, request: BaseHTTPRequestHandler, body: bytes, content_type: bytes, code: int = 200) -> None:
        request.send_response(code)
        request.send_header("Content-Type", content_type.decode())
        request.send_header("Content-Length", str(len(body)))
        request.send_header("Content-Security-Policy", CSP)
        request.end_headers()
        request.wfile.write(body)

    def _stream(
        self,
        request: BaseHTTPRequestHandler,
        value: Callable[[], object],
        form: bytes = b"data: %b\n\n",
        content_type: bytes = b"text/event-stream",
        pause_s: float = 1,
    ) -> None:
        request.send_response(200)
        request.send_header("Content-Type", content_type.decode())
        request.end_headers()
        with self._counting:
            self.streams += 1
        try:
            while True:
                if not self.silent:
                    request.wfile.write(form % json.dumps(value()).encode())
                if self._stopping.wait(pause_s):
                    return
        except OSError:
            pass
        finally:
            with self._counting:
                self.streams -= 1
