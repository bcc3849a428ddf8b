"""The section ``identity``."""

from typing import Annotated, Literal

from msgspec import Meta

from fleetgw.adapters.settings.values import Settings


class ByExtendedKeyUsage(Settings, frozen=True, kw_only=True):
    """The client type follows from the certificate's extended key usages, as for the default issuers."""

    by_extended_key_usage: Annotated[Literal[True], Meta(description="Always `true`.")]


class Identity(Settings, frozen=True, kw_only=True):
    """Issuers of vehicles' certificates."""

    issuers: Annotated[
        dict[str, str | ByExtendedKeyUsage],
        Meta(
            description='Issuer common name to client type, or to `{"by_extended_key_usage": true}`; added to the defaults.'
        ),
    ] = {}
