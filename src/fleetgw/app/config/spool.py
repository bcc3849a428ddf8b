"""The section ``spool``, and its checks."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from fleetgw.adapters.settings.findings import Findings
from fleetgw.adapters.settings.values import Positive, Seconds, Settings
from fleetgw.app.config.folders import check_folder


class Spool(Settings, frozen=True, kw_only=True):
    """The durable queue on disk: the policy `spooled` acknowledges a record once it is there."""

    path: Annotated[
        Path,
        Meta(
            description="Folder of the spool, for one process alone; made where there is none.",
            extra={"in_words": "the path of a folder", "when_missing": "name a folder, such as /var/lib/fleetgw/spool"},
        ),
    ]
    max_mib: Annotated[Positive, Meta(description="MiB that the files of the spool may take.")] = 1024
    max_age_s: Annotated[
        Seconds, Meta(description="Seconds that a record is kept; older ones are lost to sinks that lack them; 0: no limit.")
    ] = 0
    file_mib: Annotated[
        Positive, Meta(description="MiB of one file; at most a quarter of `max_mib` is used. Files are removed as a whole.")
    ] = 64
    when_full: Annotated[
        Literal["refuse", "drop_oldest"],
        Meta(
            description="`refuse`: nothing more is stored nor acknowledged, vehicles are the buffer; `drop_oldest`: "
            "the oldest file is removed, and its records are lost to sinks that lack them."
        ),
    ] = "refuse"
    always: Annotated[
        bool,
        Meta(
            description="Spool records of every type, without waiting for the disk where the policy does not name `spooled`."
        ),
    ] = False


def check_spool(spool: Spool, findings: Findings) -> None:
    """The sizes fit each other, and the folder may be used as far as that can be told without opening it."""
    if spool.max_mib < spool.file_mib:
        findings.refuse(
            "spool.max_mib", f"is {spool.max_mib}, less than one file", f"must be at least spool.file_mib, {spool.file_mib}"
        )
    check_folder(spool.path, "spool.path", findings)
