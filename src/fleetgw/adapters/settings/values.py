"""The kinds of value that sections are made of."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.masking import is_secret_name as is_secret_name
from fleetgw.adapters.secrets import MASK as MASK
from fleetgw.adapters.secrets import Secret as Secret

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

ZERO_IS_LEFT_OUT = {"as_left_out": (0,)}
"""Hint: in the Go server 0 says what a key that is left out says."""

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(ge=0)]
Pause = Annotated[float, Meta(ge=0.001)]
Positive = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1, extra={"in_words": "a whole number"})]
Natural = Annotated[int, Meta(ge=0)]
