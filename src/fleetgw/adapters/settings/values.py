"""Base class of sections, and types of their values."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, ClassVar

from msgspec import Meta, Struct, structs
from msgspec.structs import FieldInfo

SECRET_FORMS = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {
                "env": {"type": "string", "description": "Name of an environment variable that holds the secret."}
            },
            "required": ["env"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"file": {"type": "string", "description": "A file that holds the secret; one line end is cut."}},
            "required": ["file"],
            "additionalProperties": False,
        },
    ]
}
"""JSON Schema of a secret."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of a section: each field is a key, ``Annotated`` with its type, range and description.

    It is the only place with the key's default and checks: the JSON Schema, the reference, the conversion of a file and its
    error messages derive from it.

    :cvar old_keys: keys in lower case that are accepted with a warning and have no effect, with the remedy for each.
    :cvar near_keys: names of other programs in lower case, with the key that is probably meant.
    """

    old_keys: ClassVar[Mapping[str, str]] = {}
    near_keys: ClassVar[Mapping[str, str]] = {}


@cache
def fields_of(section: type[Struct]) -> tuple[FieldInfo, ...]:
    """The fields of a section. Kept, as msgspec evaluates every annotation at each call."""
    return structs.fields(section)


OLD_RELIABLE_ACK = {"reliable_ack": 'use reliable_ack_sources, such as {"V": "kafka"}, and remove it'}
"""``old_keys`` of many sections."""

FREE_FORM = {"free_form": True}
"""Hint: an object without fixed names of members; secrets in it are recognised by their form or their name."""

ZERO_IS_LEFT_OUT = {"as_left_out": (0,)}
"""Hint: 0 means the same as a missing key."""


Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(ge=0)]
Pause = Annotated[float, Meta(ge=0.001)]
Positive = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1, extra={"in_words": "a whole number"})]
Natural = Annotated[int, Meta(ge=0)]
Nanoseconds = Annotated[int, Meta(ge=0)]
Setting = Annotated[object, Meta(extra_json_schema={"description": "Any JSON value; a secret may be named as everywhere."})]
