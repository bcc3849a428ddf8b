"""The section ``kafka``: librdkafka's own property names, so its members have no fixed names."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from fleetgw.adapters.settings.values import FREE_FORM, SECRET_FORMS

KafkaValue = Annotated[
    object,
    Meta(
        extra_json_schema={"anyOf": [{"type": "number"}, {"type": "boolean"}, *SECRET_FORMS["anyOf"]]},
        extra={"in_words": "text, a number, true or false, or a secret"},
    ),
]

KafkaProperties = Annotated[dict[str, KafkaValue], Meta(extra=FREE_FORM)]

Client = Literal["confluent-kafka", "kafka-python"]

KafkaClient = Annotated[
    Client | None,
    Meta(description="The library that the sink `kafka` uses; default: `confluent-kafka` when installed."),
]


def as_text(value: str | float) -> str:
    """A property's value in librdkafka's form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, int | float) else value


def confirms_nothing(properties: Mapping[str, object]) -> bool:
    """Whether ``acks`` is 0: brokers confirm no record."""
    return any(properties.get(name) in (0, "0") for name in ("acks", "request.required.acks"))
