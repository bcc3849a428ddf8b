"""The section ``operations``, and its checks."""

import re
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.secrets.secret import Secret
from fleetgw.adapters.settings.findings import Findings
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.adapters.settings.values import Settings
from fleetgw.app.config.folders import check_folder
from fleetgw.app.config.on_reload import RESTART

MIN_TOKEN_CHARACTERS = 16

_TOKEN = re.compile(r"[!-~]+")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]", re.IGNORECASE)


class Operations(Settings, frozen=True, kw_only=True):
    """Access of operators to the status port: to the page, and to the API of the tools."""

    token: Annotated[
        Secret | None,
        Meta(
            description="Token, at least 16 characters, for everything that shows a VIN or a value of a vehicle; without "
            "one, none of that is shown.",
        ),
    ] = None
    hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Names or addresses of this gateway, without port, under which browsers and tools of other machines "
            "may ask. Without any, only this machine may. The status port has no TLS: put a proxy before it.",
        ),
    ] = ()
    folder: Annotated[
        Path | None,
        Meta(
            description="Folder in which traces, signal counts and the last answer of the allow list "
            "survive a restart; without one, memory alone has them.",
            extra=RESTART | {"in_words": "the path of a folder"},
        ),
    ] = None


def check_operations(operations: Operations, findings: Findings) -> None:
    """The token is strong enough and fits a header, the hosts are names, and the folder may be used."""
    token = operations.token
    if token is not None and len(token) < MIN_TOKEN_CHARACTERS:
        fix = f"must have at least {MIN_TOKEN_CHARACTERS} characters, such as those that openssl rand -hex 16 prints"
        findings.refuse("operations.token", f"has {len(token)} characters", fix)
    elif token is not None and not _TOKEN.fullmatch(token):
        fix = "must consist of letters, digits and punctuation of ASCII"
        findings.refuse("operations.token", "has characters that no HTTP header can carry", fix)
    for index, host in enumerate(operations.hosts):
        if not _HOST.fullmatch(host):
            fix = 'must be a name or an address alone, such as "gw.example.com", "10.0.0.5" or "[fd00::5]"'
            findings.refuse(f"operations.hosts[{index}]", f"is {quoted([host])}", fix)
    if operations.folder is not None:
        check_folder(operations.folder, "operations.folder", findings)
