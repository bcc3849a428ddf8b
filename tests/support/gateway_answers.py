"""Answers of a gateway under ``/api``, for a stub in its place."""

from __future__ import annotations

from typing import Any

NOW_MS = 1_795_800_000_000
"""The present of the answers, in epoch milliseconds."""

VIN, OTHER_VIN = "5YJ3E1EA7KF000001", "5YJ3E1EA7KF000002"

Answer = dict[str, Any]
"""JSON of any shape."""


def vehicle(vin: str = VIN, **changes: object) -> Answer:
    """A vehicle that is online."""
    return {
        "vin": vin,
        "online": True,
        "connections": 1,
        "online_since_ms": NOW_MS - 8_040_000,
        "offline_since_ms": None,
        "client_version": "1.2.0",
        "network": "wifi",
        "address": "10.0.0.8",
        "last_record_ms": NOW_MS - 3000,
        "records": 1204,
        "signals_today": 18_220,
        **changes,
    }


def left(vin: str = OTHER_VIN, **changes: object) -> Answer:
    """A vehicle that has left."""
    gone: Answer = {"online": False, "connections": 0, "online_since_ms": None, "offline_since_ms": NOW_MS - 840_000}
    return vehicle(vin, **{**gone, "last_record_ms": NOW_MS - 841_000, "network": None, **changes})


def vehicles() -> Answer:
    """Answer of ``/api/vehicles``: two online, one that has left, not in order."""
    third = vehicle("5YJ3E1EA7KF000003", connections=2, network="cellular", last_record_ms=None, records=0)
    return {"vehicles": [vehicle(), left(), third], "total": 3}


def signals() -> Answer:
    """Answer of ``/api/signals``."""
    days = [f"2026-11-{day}" for day in range(20, 28)]
    return {
        "since_ms": NOW_MS - 7 * 86_400_000,
        "days": days,
        "total": {"V": 2_000_000, "alerts": 120},
        "vehicles": [
            {"vin": VIN, "today": 18_220, "total": 1_200_000, "per_day": dict.fromkeys(days, 150_000)},
            {"vin": OTHER_VIN, "today": 0, "total": 300_120, "per_day": {days[0]: 300_120}},
        ],
        "others": 500_000,
    }


def record(**changes: object) -> Answer:
    """A line of ``/api/tap``."""
    data = {
        "Vin": VIN,
        "CreatedAt": "2026-11-27T16:00:00Z",
        "IsResend": False,
        "VehicleSpeed": 61.400001525878906,
        "Gear": "ShiftStateD",
        "Location": {"latitude": 37.4137, "longitude": -122.14},
        "Locked": True,
    }
    return {"at_ms": NOW_MS, "vin": VIN, "type": "V", "txid": "t-1", "data": data, **changes}


def _sink(name: str, **changes: object) -> Answer:
    return {
        "name": name,
        "state": "ready",
        "reason": None,
        "fix": None,
        "since_ms": NOW_MS - 8_040_000,
        "types": ["V"],
        "held": 12,
        "capacity": 10_000,
        "delivered_total": 1_203_800,
        "delivered_per_s": 399.6,
        "retried_total": 0,
        "dead_letters_total": 0,
        **changes,
    }


def _queue(record_type: str, sink: str, **changes: int) -> Answer:
    zeros = dict.fromkeys(("dead_letters", "unheard", "given_up", "spooled", "refused", "lost"), 0)
    return {"type": record_type, "sink": sink, "taken": 1_203_812, "delivered": 1_203_800, "held": 12, **zeros, **changes}


def overview() -> Answer:
    """Answer of ``/api/overview``: Kafka does not take records."""
    return {
        "version": "0.1.0",
        "hot_path": "C",
        "host": "gateway-1",
        "now_ms": NOW_MS,
        "uptime_s": 8040.0,
        "health": {"state": "degraded", "reasons": ["kafka: not ready: broker-1:9092: Connection refused"]},
        "vehicles": {"connected": 9_998, "connections": 10_000, "paused": 3},
        "records": [
            {
                "type": "V",
                "received_total": 1_204_331,
                "acked_total": 1_204_100,
                "received_per_s": 402.4,
                "acked_per_s": 400.2,
                "signals_total": 9_634_648,
            },
            {
                "type": "alerts",
                "received_total": 1_210,
                "acked_total": 1_210,
                "received_per_s": 0.4,
                "acked_per_s": 0.4,
                "signals_total": 1_210,
            },
        ],
        "ack_latency_ms": {"p50": 1.2, "p90": 3.4, "p99": 18.0, "window_s": 60},
        "sinks": [
            _sink(
                "kafka",
                state="not_ready",
                reason="broker-1:9092: Connection refused",
                fix="start the broker, or correct kafka.bootstrap.servers",
                since_ms=NOW_MS - 95_000,
                held=7_400,
                delivered_per_s=0.0,
                retried_total=431,
            ),
            _sink("redis", types=["V", "alerts"], dead_letters_total=2),
        ],
        "spool": {"size_bytes": 734_003_200, "max_bytes": 10_737_418_240, "seconds_until_full": 8_100.0, "unread": 91_220},
        "ledger": {
            "balanced": True,
            "lost": 0,
            "problems": [],
            "from_vehicles": [
                {"type": "V", "received": 1_204_331, "acked": 1_204_100, "duplicates": 4, "unacked": 8, "awaiting": 219},
                {"type": "alerts", "received": 1_210, "acked": 1_210, "duplicates": 0, "unacked": 0, "awaiting": 0},
            ],
            "to_sinks": [_queue("V", "kafka", held=7400, spooled=91_220), _queue("V", "redis", dead_letters=2)],
        },
        "refusals": {"connections": {"full_address": 2}, "handshakes": {"expired": 41, "unknown_ca": 7}},
        "certificates": [
            {
                "name": "tls.server_cert",
                "subject": "CN=gw.example.com",
                "issuer": "CN=R11",
                "not_before_ms": NOW_MS - 70 * 86_400_000,
                "not_after_ms": NOW_MS + 19 * 86_400_000,
                "state": "expires_soon",
                "days_left": 19,
            }
        ],
        "history": {
            "interval_s": 5,
            "received_per_s": [400 + 60 * (index % 7) for index in range(120)],
            "acked_per_s": [398 + 60 * (index % 7) for index in range(120)],
            "vehicles": [9_000 + 8 * index for index in range(120)],
        },
    }
