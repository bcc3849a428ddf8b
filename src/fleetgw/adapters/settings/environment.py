"""Settings that environment variables override."""

from collections.abc import Mapping
from typing import TypeVar

from msgspec import structs

from fleetgw.adapters.secrets.secret import Secret
from fleetgw.adapters.settings.values import Settings, fields_of
from fleetgw.adapters.settings.wording import hint

S = TypeVar("S", bound=Settings)


def with_environment(section: S, environ: Mapping[str, str]) -> S:
    """Replace secrets by those of environment variables, which override the file as in the Go server.

    The hint ``environment`` in a secret's annotation names its variable. Nested sections are included.
    """
    changes: dict[str, object] = {}
    for field in fields_of(type(section)):
        value = getattr(section, field.name)
        if isinstance(value, Settings):
            changes[field.name] = with_environment(value, environ)
        elif text := environ.get(hint(field.type, "environment") or "", ""):
            changes[field.name] = Secret(text)
    return structs.replace(section, **changes)
