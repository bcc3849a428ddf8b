"""Every key has an answer to the question whether a reload applies it; each one that does is tried on a running gateway."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fleetgw.adapters.ingress.tls_context import TlsFiles
from fleetgw.adapters.settings.values import fields_of
from fleetgw.adapters.settings.wording import bare
from fleetgw.adapters.sinks.registry import built_in_sinks
from fleetgw.app.config.on_reload import OnReload, effect_of
from fleetgw.app.config.sections import Config
from fleetgw.app.pipeline.connected import RateLimit
from fleetgw.domain.identity import FixedClientType
from fleetgw.simulator.certificates import make_server
from tests.support.reload_case import ReloadCase
from tests.support.service_case import STATUS, ServiceReactor

if TYPE_CHECKING:
    from collections.abc import Iterator

    import msgspec


def keys(
    section: type[msgspec.Struct] = Config, path: str = "", around: OnReload = OnReload.RESTART
) -> Iterator[tuple[str, OnReload]]:
    """Every key that is no section, with the effect of a reload on it."""
    for field in fields_of(section):
        name, effect, kind = f"{path}{field.encode_name}", effect_of(field.type, around), bare(field.type)
        if hasattr(kind, "__struct_fields__"):
            yield from keys(kind, f"{name}.", effect)
        else:
            yield name, effect


APPLIED: dict[str, object] = {
    "records": {"V": ["logger"]},
    "reliable_ack_sources": {},
    "ack_policies": {"alerts": "memory"},
    "unrouted": "refuse",
    "rate_limit.enabled": False,
    "rate_limit.message_limit": 3,
    "rate_limit.message_interval_time": 5,
    "vins_signal_tracking_enabled": ["A"],
    "log_level": "debug",
    "limits.handshake_timeout_s": 1,
    "limits.message_timeout_s": 1,
    "limits.ping_after_s": 1,
    "limits.ping_timeout_s": 1,
    "limits.write_timeout_s": 1,
    "limits.max_message_bytes": 1234,
    "limits.max_frame_bytes": 1_234_567,
    "limits.max_connections": 12,
    "limits.max_connections_per_vehicle": 2,
    "limits.max_half_open": 5,
    "limits.max_half_open_per_address": 4,
    "limits.max_pending_reply_bytes": 1234,
    "limits.read_interval_ms": 3,
    "connectivity.debounce_s": 7,
    "deduplication.window_s": 7,
    "deduplication.max_records": 7,
    "drain.wait_s": 3,
    "drain.rate_per_s": 7,
    "health.sink_grace_s": 7,
    "identity.issuers": {"Own CA": "boat"},
    "operations.token": "another-token-of-an-operator",
    "operations.hosts": ["gw.example.com", "[FD00::5]"],
    "tls.ca_file": "other.ca",
    "tls.server_cert": "other.crt",
    "tls.server_key": "other.key",
}
"""Another value for each applied key."""

WITHOUT_EFFECT = {"$schema", "use_default_eng_ca"}
"""Applied keys that nothing uses."""


class KeyTests(ReloadCase):
    def base(self) -> dict[str, Any]:
        """A configuration from which every other value differs."""
        return {
            "port": 4443,
            "status_port": STATUS,
            "tls": {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"},
            "records": {"V": ["memory", "logger"], "alerts": ["memory"]},
            "reliable_ack_sources": {"V": "memory"},
            "rate_limit": {"enabled": True, "message_limit": 9, "message_interval_time": 9},
            "deduplication": {"window_s": 9, "max_records": 9},
        }

    def in_effect(self, key: str) -> object:
        """The value of a key in the parts that use it."""
        parts, limits, registry = self.parts, self.parts.vehicles.context.limits, self.parts.vehicles.registry
        gateway, files = parts.gateway, parts.tls.files
        section, _, name = key.partition(".")
        if key in ("limits.max_half_open", "limits.max_half_open_per_address"):
            half_open = registry._half_open
            return half_open.limit if key.endswith("open") else half_open.limit_per_address
        if key == "limits.max_message_bytes":
            of_sessions = gateway.sessions.max_message_bytes
            return limits.max_message_bytes, of_sessions == 1234 and gateway.sessions.codec is gateway.settings.codec
        if section == "limits":
            return getattr(limits, name), registry._limits is limits
        if section == "tls":
            return files
        routes = gateway.routes
        found = {kind: routes.find(kind.encode()) for kind in ("V", "alerts")}
        values: dict[str, object] = {
            "records": [found["V"] and [lane.sink.name for lane in found["V"].lanes], found["alerts"] is None],
            "reliable_ack_sources": found["V"] and found["V"].awaits is None,
            "ack_policies": found["alerts"] and found["alerts"].awaits is parts.lanes["memory"],
            "unrouted": gateway.sessions.unrouted.are_refused,
            "vins_signal_tracking_enabled": gateway.sessions.refusals.tracked_vins,
            "connectivity.debounce_s": gateway.sessions.connected.debounce_s,
            "identity.issuers": parts.vehicles.context.issuers.rules.get("Own CA"),
            "drain.wait_s": self.life.config.drain.wait_s,
            "drain.rate_per_s": self.life.config.drain.rate_per_s,
            "operations.token": parts.access.rules.token,
            "operations.hosts": parts.access.rules.hosts,
            "health.sink_grace_s": parts.health.sink_grace_s,
        }
        if section == "deduplication":
            acknowledged = gateway.sessions.acknowledged
            return acknowledged and getattr(acknowledged.window, name)
        if section == "rate_limit":
            return gateway.settings.rate_limit
        return values[key]

    def expected(self, key: str) -> object:
        """The answer of ``in_effect`` after the change."""
        section, _, _ = key.partition(".")
        folder = self.folder
        others = {
            "tls.ca_file": TlsFiles(folder / "other.ca", folder / "server.crt", folder / "server.key"),
            "tls.server_cert": TlsFiles(folder / "ca.crt", folder / "other.crt", folder / "server.key"),
            "tls.server_key": TlsFiles(folder / "ca.crt", folder / "server.crt", folder / "other.key"),
            "records": [["logger"], True],
            "reliable_ack_sources": True,
            "ack_policies": True,
            "unrouted": True,
            "vins_signal_tracking_enabled": {"A"},
            "identity.issuers": FixedClientType("boat"),
            "rate_limit.enabled": None,
            "rate_limit.message_limit": RateLimit(3, 9),
            "rate_limit.message_interval_time": RateLimit(9, 5),
            "operations.token": b"another-token-of-an-operator",
            "operations.hosts": {"gw.example.com", "fd00::5"},
            "limits.max_half_open": 5,
            "limits.max_half_open_per_address": 4,
        }
        if key in others:
            return others[key]
        return (APPLIED[key], True) if section == "limits" else APPLIED[key]

    def test_every_key_has_its_answer(self) -> None:
        found = dict(keys())
        applied = {key for key, effect in found.items() if effect is OnReload.APPLIED}
        self.assertEqual(applied, APPLIED.keys() | WITHOUT_EFFECT)
        sinks = {key for each in built_in_sinks().values() for key in (each.name, *each.further_keys)}
        of_new_sinks = {key.partition(".")[0] for key, effect in found.items() if effect is OnReload.NEW_SINKS}
        self.assertEqual(of_new_sinks, sinks | {"dispatchers", "delivery"})

    def test_each_applied_key_is_applied(self) -> None:
        (self.folder / "other.ca").write_bytes(self.authority.certificate_pem())
        (self.folder / "other.crt").write_bytes(self.server.certificate_pem())
        (self.folder / "other.key").write_bytes(self.server.key_pem())
        for key, value in APPLIED.items():
            if key == "log_level":  # LogLevelTests
                continue
            with self.subTest(key):
                base = self.base()
                self.reactor = ServiceReactor()
                self.start(**base)
                section, _, name = key.partition(".")
                changed = base | {section: {**base.get(section, {}), name: value} if name else value}
                if key == "records":
                    changed |= {"reliable_ack_sources": {}}
                expected = self.expected(key)
                self.assertNotEqual(self.in_effect(key), expected)
                self.log.entries.clear()
                self.assertEqual(self.reload(**changed), [None])
                self.assertEqual(self.in_effect(key), expected)
                self.assertNotIn("restart_needed", self.events())
                self.assertTrue(self.log.fields_of("configuration_reloaded")[0]["changed"])

    def test_other_certificate_files_are_for_new_connections(self) -> None:
        self.start()
        old = self.connected()
        now = datetime.now(UTC)
        (self.folder / "other.ca").write_bytes(make_server(self.authority, ["x"], now, 30).certificate_pem())
        tls = {"ca_file": "other.ca", "server_cert": "server.crt", "server_key": "server.key"}
        self.assertEqual(self.reload(tls=tls), [None])
        self.assertFalse(self.vehicle().connect(), "its authority is not in the new file")
        self.send(old, b"1")
        self.assertEqual(old.acked, [b"1"])
