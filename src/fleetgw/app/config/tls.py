"""The section ``tls``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from fleetgw.adapters.settings.values import Settings


class Tls(Settings, frozen=True, kw_only=True):
    """TLS of the port that vehicles connect to: version 1.2 or later, client certificates required."""

    near_keys: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("ca", "ca_cert", "ca_certs", "ca_bundle", "client_ca", "client_ca_file", "client_cas", "root_ca"), "ca_file"
        ),
        **dict.fromkeys(("cert", "cert_file", "certificate", "crt", "tls_cert"), "server_cert"),
        **dict.fromkeys(("key", "key_file", "private_key", "tls_key"), "server_key"),
    }

    ca_file: Annotated[
        Path,
        Meta(
            description="PEM file of the authorities that sign vehicles' certificates (Tesla's: `fleetgw fetch-ca FILE`).",
            extra={
                "when_missing": "get Tesla's authorities with `fleetgw fetch-ca FILE` and name that FILE: none are built in"
            },
        ),
    ]
    server_cert: Annotated[Path, Meta(description="PEM file of our certificate, followed by its intermediates.")]
    server_key: Annotated[Path, Meta(description="PEM file of our certificate's private key, not encrypted.")]
