"""Settings that an environment variable wins over."""

from collections.abc import Mapping
from typing import TypeVar

from msgspec import structs

from fleetgw.adapters.secrets.secret import Secret
from fleetgw.adapters.settings.values import Settings
from fleetgw.adapters.settings.wording import hint

S = TypeVar("S", bound=Settings)


def with_environment(section: S, environ: Mapping[str, str]) -> S:
    """Put in the secrets that the environment gives: they win over the file's, as in the Go server.

    A secret's annotation has the variable's name as the hint ``environment``; the sections below are looked through too.
    """
    changes: dict[str, object] = {}
    for field in structs.fields(type(section)):
        value = getattr(section, field.name)
        if isinstance(value, Settings):
            changes[field.name] = with_environment(value, environ)
        elif text := environ.get(hint(field.type, "environment") or "", ""):
            changes[field.name] = Secret(text)
    return structs.replace(section, **changes)
