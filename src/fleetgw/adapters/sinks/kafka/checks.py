"""Checks the ``kafka`` section, with librdkafka's own checks of names and values."""

import re
from collections.abc import Mapping
from typing import TypeGuard

from fleetgw.adapters.secrets.secret import Secret
from fleetgw.adapters.settings.checking import SettingsCheck
from fleetgw.adapters.settings.findings import member
from fleetgw.adapters.settings.spelling import did_you_mean, quoted
from fleetgw.adapters.settings.surroundings import Surroundings
from fleetgw.adapters.settings.wording import shown
from fleetgw.adapters.sinks.kafka.settings import as_text

BROKERS = ("bootstrap.servers", "metadata.broker.list", "test.mock.num.brokers")

COMMON_PROPERTIES = frozenset(
    {
        *BROKERS,
        *("acks", "request.required.acks", "retries", "message.send.max.retries", "retry.backoff.ms", "enable.idempotence"),
        *(
            "compression.type",
            "compression.codec",
            "linger.ms",
            "queue.buffering.max.ms",
            "batch.size",
            "batch.num.messages",
        ),
        *("queue.buffering.max.messages", "queue.buffering.max.kbytes", "message.max.bytes", "message.timeout.ms"),
        *("delivery.timeout.ms", "request.timeout.ms", "socket.timeout.ms", "max.in.flight", "metadata.max.age.ms"),
        *("reconnect.backoff.ms", "reconnect.backoff.max.ms", "connections.max.idle.ms", "socket.keepalive.enable"),
        *("security.protocol", "ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.key.password"),
        *(
            "sasl.mechanism",
            "sasl.mechanisms",
            "sasl.username",
            "sasl.password",
            "client.id",
            "statistics.interval.ms",
            "debug",
        ),
    }
)
"""Suggestions for a misspelled name."""

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")  # Kafka's own rule for topic names
_PROBE = "fleetgw.probe"
_NOT_PROBED = frozenset({"plugin.library.paths"})  # naming it would load the libraries


def check_kafka(settings: Mapping[str, object], check: SettingsCheck) -> None:
    """Check that values are plain, brokers are named and files exist, and that librdkafka accepts names and values."""
    _check_topics(check)
    if not settings.keys() & set(BROKERS):
        check.refuse("", "names no brokers", 'add "bootstrap.servers", such as "kafka-1:9092,kafka-2:9092"')
    plain: dict[str, str | float] = {}
    for name, value in settings.items():
        path = check.at_property(name)
        if not _is_plain(value):
            fix = f"write {quoted([','.join(value)])}" if _is_texts(value) else "must be text, a number, true or false"
            check.findings.refuse(path, f"is {shown(value)}", fix)
        elif name.startswith("go."):
            check.findings.warn(path, "belongs to the Go client: it has no effect here", "remove it")
        else:
            plain[name] = value
            if isinstance(value, float) and not value.is_integer():
                check.findings.warn(path, f"is {value}: the fraction is cut off", f"write {int(value)}")
            if name.endswith(".location") and isinstance(value, str) and not _exists(value, name, check.surroundings):
                check.findings.refuse(path, f"{value} does not exist", "name a file that does")
    if check.further.get("kafka_client") != "kafka-python":
        for name, fault in librdkafka_faults(plain).items():
            fix = "see librdkafka's list of properties, the section for producers"
            unknown = fault.startswith("No such")
            check.findings.refuse(
                check.at_property(name), fault, did_you_mean(name, COMMON_PROPERTIES, fix) if unknown else fix
            )


def _check_topics(check: SettingsCheck) -> None:
    for record_type in check.record_types:
        if not _TOPIC.fullmatch(topic := f"{check.namespace}_{record_type}"):
            check.findings.refuse(
                member("records", record_type),
                f"its Kafka topic would be {quoted([topic])}",
                "namespace and type may hold letters, digits, dots, dashes and underscores, together at most 248 characters",
            )


def librdkafka_faults(settings: Mapping[str, str | float]) -> dict[str, str]:
    """The faults that librdkafka finds in each property alone: property name -> fault.

    Empty where confluent-kafka is not installed: then the sink reports them when it starts. Makes no client and no
    connection: each configuration also names a property that does not exist, which librdkafka refuses after it has
    accepted the real one.
    """
    try:
        from confluent_kafka import KafkaException, Producer  # the client of an optional extra
    except ImportError:
        return {}
    faults = {}
    for name in settings.keys() - _NOT_PROBED:
        try:
            Producer({name: as_text(settings[name]), _PROBE: ""})
        except KafkaException as error:
            if _PROBE not in (fault := error.args[0].str().strip()):
                faults[name] = fault
        except (TypeError, ValueError) as error:
            faults[name] = str(error)
    return dict(sorted(faults.items()))


def _is_plain(value: object) -> TypeGuard[str | int | float]:
    return isinstance(value, str | int | float)


def _is_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) and not isinstance(each, Secret) for each in value)


def _exists(value: str, name: str, surroundings: Surroundings) -> bool:
    return (name == "ssl.ca.location" and value == "probe") or (surroundings.base_dir / value).exists()
