"""The section ``tls`` of a sink that connects to a server."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.values import Settings


class ClientTls(Settings, frozen=True, kw_only=True):
    """TLS towards a server that we are a client of."""

    ca_file: Annotated[Path | None, Meta(description="PEM file of the authorities that the server is verified with.")] = None
    server_cert: Annotated[Path | None, Meta(description="PEM file of our own (client) certificate.")] = None
    server_key: Annotated[Path | None, Meta(description="PEM file of that certificate's private key.")] = None

    @property
    def files(self) -> list[Path]:
        """The files that are given."""
        return [file for file in (self.ca_file, self.server_cert, self.server_key) if file]
