"""The settings that a reload replaces in a running gateway, as its parts take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from fleetgw.adapters.codec.codec import MAX_JSON_BYTES, RecordCodec
from fleetgw.adapters.ingress.limits import IngressLimits
from fleetgw.adapters.ingress.tls_context import TlsFiles
from fleetgw.adapters.monitoring.access import AccessRules
from fleetgw.app.config.routes import routes_of
from fleetgw.app.pipeline.connected import RateLimit
from fleetgw.app.pipeline.gateway import GatewaySettings
from fleetgw.app.service.descriptors import capacity, descriptor_limit, descriptors_for
from fleetgw.domain.deduplication import DeduplicationWindow
from fleetgw.domain.identity import DEFAULT_ISSUERS, ByExtendedKeyUsage, FixedClientType

if TYPE_CHECKING:
    from fleetgw.app.config.limits import Limits
    from fleetgw.app.config.sections import Config
    from fleetgw.domain.identity import IssuerTable
    from fleetgw.domain.ports import ILog


def spooled_otherwise(running: Config, read: Config) -> set[str]:
    """Record types for which the spool would need other sinks: it knows its sinks and their types from its start on.

    :param running: the configuration in effect.
    :param read: another one, for which the section ``spool`` stays as it is.
    """
    before, after = routes_of(running), routes_of(structs.replace(read, spool=running.spool))
    sinks = [{each: route.sinks for each, route in routes.items() if route.is_spooled} for routes in (before, after)]
    return {each for each in sinks[0] | sinks[1] if sinks[0].get(each) != sinks[1].get(each)}


def gateway_settings(config: Config) -> GatewaySettings:
    """The settings of the pipeline."""
    codec = RecordCodec(
        transmit_decoded_records=config.transmit_decoded_records,
        max_json_bytes=max(MAX_JSON_BYTES, 2 * config.limits.max_message_bytes),
    )
    limit, deduplication = config.rate_limit, config.deduplication
    return GatewaySettings(
        codec,
        config.limits.max_message_bytes,
        RateLimit(limit.message_limit, limit.message_interval_time) if limit.enabled else None,
        frozenset(config.vins_signal_tracking_enabled),
        config.unrouted == "refuse",
        config.connectivity.debounce_s,
        DeduplicationWindow(deduplication.window_s, deduplication.max_records) if deduplication.window_s else None,
    )


def tls_files(config: Config) -> TlsFiles:
    """The files of the vehicles' port."""
    return TlsFiles(config.tls.ca_file, config.tls.server_cert, config.tls.server_key)


def access_rules(config: Config) -> AccessRules:
    """The rules of the status port."""
    token, hosts = config.operations.token, config.operations.hosts
    return AccessRules(
        None if token is None else token.encode(), frozenset(each.lower().strip("[]").removesuffix(".") for each in hosts)
    )


def issuers(config: Config) -> IssuerTable:
    """The default issuers and those of ``identity.issuers``."""
    return DEFAULT_ISSUERS.extended(
        {
            issuer: FixedClientType(rule) if isinstance(rule, str) else ByExtendedKeyUsage()
            for issuer, rule in config.identity.issuers.items()
        }
    )


def ingress_limits(limits: Limits, log: ILog) -> IngressLimits:
    """Limits on vehicles; warns when the file descriptors do not allow ``limits.max_connections``."""
    descriptors = descriptor_limit()
    room = capacity(limits, descriptors)
    if limits.max_connections > room.connections:
        needed = descriptors_for(limits.max_connections, limits.max_half_open)
        reason = f"is {limits.max_connections}, but {descriptors} file descriptors leave room for {room.connections}"
        log.warn("configuration_warning", key="limits.max_connections", warning=f"{reason}; set LimitNOFILE={needed}")
    return IngressLimits(
        limits.handshake_timeout_s,
        limits.message_timeout_s,
        limits.ping_after_s,
        limits.ping_timeout_s,
        limits.write_timeout_s,
        limits.max_frame_bytes,
        limits.max_message_bytes,
        limits.max_pending_reply_bytes,
        room.connections,
        room.half_open,
        room.half_open_per_address,
        room.per_vehicle,
        limits.read_interval_ms,
    )
