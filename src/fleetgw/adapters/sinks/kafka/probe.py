"""Checks of ``fleetgw doctor`` for Kafka: the way to the brokers, then the cluster's name, brokers and topics. Blocking.

The Kafka protocol does not tell a broker's version.
"""

from __future__ import annotations

import logging
import ssl
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetgw.adapters.diagnosis.blocking import BlockingProbe
from fleetgw.adapters.diagnosis.certificates import client_files_findings
from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.adapters.diagnosis.network import (
    TIMEOUT_S,
    check_alternatives,
    check_reachable,
    check_tls,
    guess_server,
)
from fleetgw.adapters.sinks.kafka.properties import bootstrap_servers, read_properties
from fleetgw.adapters.text.addresses import address, split_address

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from confluent_kafka import KafkaError
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.admin._metadata import ClusterMetadata

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import Finding, IDiagnosable

DEFAULT_PORT = 9092
METADATA_TIMEOUT_S = 5.0

_SILENT = logging.Logger("fleetgw.doctor.kafka", logging.CRITICAL + 1)
"""Discards librdkafka's log lines, which would disturb the printed table."""


def kafka_probe(context: SinkContext) -> IDiagnosable:
    """Make the probe for the doctor."""
    return BlockingProbe(lambda: look(context), context.reactor)


def look(context: SinkContext) -> Iterator[Finding]:
    """Check the bootstrap servers, then the cluster that they describe."""
    properties = read_properties(context.name, context.settings, context.log)
    tls = None
    if "ssl" in properties.get("security.protocol", "plaintext").lower():
        yield from _own_files(properties)
        try:
            tls = _tls(properties)
        except (OSError, ValueError) as error:
            yield will_not_work(
                f"the files of {context.name}.ssl.* cannot be used: {error}", "name PEM files that belong together"
            )
            return
    servers = bootstrap_servers(properties)
    places = [split_address(each.rpartition("://")[2], DEFAULT_PORT) for each in map(str.strip, servers.split(",")) if each]
    reached = yield from check_alternatives(places, partial(_look_at_server, tls))
    if not reached:
        return
    try:
        from confluent_kafka.admin import AdminClient  # noqa: F401  is it installed?
    except ImportError:
        yield worth_a_look("topics and credentials were not looked at", "pip install 'fleetgw[kafka]': the doctor needs it")
        return
    yield from _look_at_cluster(context, properties, reached)


def _look_at_server(tls: ssl.SSLContext | None, place: tuple[str, int]) -> Generator[Finding, None, bool]:
    if not (yield from check_reachable(*place)):
        return False
    return tls is None or (yield from check_tls(*place, tls, place[0]))


def _look_at_cluster(
    context: SinkContext, properties: Mapping[str, str], reached: list[tuple[str, int]]
) -> Iterator[Finding]:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    errors: list[KafkaError] = []
    try:
        configuration: dict[str, Any] = {**properties, "error_cb": errors.append}  # the library's type lacks callbacks
        admin = AdminClient(configuration, logger=_SILENT)
    except KafkaException as error:
        yield will_not_work(f"{context.name}: {error.args[0].str()}", "see librdkafka's CONFIGURATION.md for its properties")
        return
    metadata = _metadata(admin, errors)
    if metadata is None:
        yield _no_metadata(errors, properties, reached)
        return
    yield good(_who(properties))
    brokers = metadata.brokers
    count = "1 broker" if len(brokers) == 1 else f"{len(brokers)} brokers"
    yield good(f"cluster {metadata.cluster_id} of {count}")
    for broker in brokers.values():  # clients connect to the advertised addresses
        place = (str(broker.host), int(broker.port))
        if place not in reached:
            yield from _advertised(*place)
    yield from _topics(context, metadata, creates=_creates_topics(admin, next(iter(brokers), None)))


def _advertised(host: str, port: int) -> Iterator[Finding]:
    for finding in check_reachable(host, port):
        if finding.fix:
            what = f"the cluster calls one of its brokers {address(host, port)}, but {finding.what}"
            yield will_not_work(what, "correct advertised.listeners of that broker, or start it")
        else:
            yield finding


def _metadata(admin: AdminClient, errors: list[KafkaError]) -> ClusterMetadata | None:
    """The cluster's metadata; None when there is no answer in time, or the credentials are refused."""
    from confluent_kafka import KafkaError, KafkaException

    deadline_s = time.monotonic() + METADATA_TIMEOUT_S
    while time.monotonic() < deadline_s:
        try:
            return admin.list_topics(timeout=1)
        except KafkaException:
            admin.poll(0)
            if any(error.code() == KafkaError._AUTHENTICATION for error in errors):
                return None
    return None


def _no_metadata(errors: list[KafkaError], properties: Mapping[str, str], reached: list[tuple[str, int]]) -> Finding:
    from confluent_kafka import KafkaError

    for error in errors:
        if error.code() == KafkaError._AUTHENTICATION:
            what = f"refused: {error.str()} ({_who(properties)})"
            return will_not_work(what, "correct sasl.username and sasl.password, or sasl.mechanism")
    reasons = (error.str() for error in errors if any(address(*place) in error.str() for place in reached))
    reason = next(reasons, "no answer")
    guess = guess_server(*reached[0])
    fix = "name the port of a Kafka broker, and its security.protocol (plaintext, ssl, sasl_plaintext, sasl_ssl)"
    return will_not_work(f"{address(*reached[0])} does not answer as Kafka: {reason}; {guess}", fix)


def _topics(context: SinkContext, metadata: ClusterMetadata, *, creates: bool | None) -> Iterator[Finding]:
    servers = ",".join(f"{broker.host}:{broker.port}" for broker in metadata.brokers.values())
    for kind in context.record_types:
        name = context.destination(kind)
        topic = metadata.topics.get(name)
        if topic is not None and topic.error is None:
            leaderless = sum(partition.leader < 0 for partition in topic.partitions.values())
            what = f"topic {name}: {len(topic.partitions)} partitions"
            if leaderless:
                yield will_not_work(f"{what}, {leaderless} of them without a leader", "start the brokers that have them")
            else:
                yield good(what)
        elif topic is not None:
            yield will_not_work(f"topic {name}: {topic.error}", "see the broker's log")
        elif creates:
            what = f"topic {name} is not there yet; the broker makes it at the first record, with its default partitions"
            yield worth_a_look(what, f"create it with the partitions that you want: {_create(name, servers)}")
        else:
            yield will_not_work(
                f"topic {name} is not there, or this user may not see it", f"create it: {_create(name, servers)}"
            )


def _create(topic: str, servers: str) -> str:
    return f"kafka-topics.sh --bootstrap-server {servers} --create --topic {topic} --partitions 12"


def _creates_topics(admin: AdminClient, broker: int | None) -> bool | None:
    """Whether the broker creates missing topics; None where it does not tell."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin._config import ConfigResource

    if broker is None:
        return None
    try:
        (answer,) = admin.describe_configs(
            [ConfigResource(ConfigResource.Type.BROKER, str(broker))], request_timeout=TIMEOUT_S
        ).values()
        return bool(answer.result(TIMEOUT_S)["auto.create.topics.enable"].value == "true")
    except (KafkaException, TimeoutError, KeyError):
        return None


def _who(properties: Mapping[str, str]) -> str:
    protocol = properties.get("security.protocol", "plaintext").lower()
    user = properties.get("sasl.username")
    if protocol.startswith("sasl"):
        mechanism = properties.get("sasl.mechanisms") or properties.get("sasl.mechanism", "GSSAPI")
        return f"{protocol}, {mechanism}" + (f" as {user}" if user else "")
    certificate = " with a client certificate" if "ssl.certificate.location" in properties else ""
    return f"{protocol}{certificate}, without SASL credentials"


def _own_files(properties: Mapping[str, str]) -> Iterator[Finding]:
    names = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
    authorities, certificate, key = (Path(properties[name]) if properties.get(name) else None for name in names)
    return client_files_findings(authorities, certificate, None if "ssl.key.password" in properties else key)


def _tls(properties: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=properties.get("ssl.ca.location"), cadata=properties.get("ssl.ca.pem"))
    if certificate := properties.get("ssl.certificate.location"):
        context.load_cert_chain(certificate, properties.get("ssl.key.location"), properties.get("ssl.key.password"))
    if properties.get("ssl.endpoint.identification.algorithm") == "none":
        context.check_hostname = False
    if properties.get("enable.ssl.certificate.verification") == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
