"""The section ``dead_letters``."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.values import Positive, Settings


class DeadLetters(Settings, frozen=True, kw_only=True):
    """Records that a sink refuses for good, stored durably with the reason. Without this section they go to the log."""

    path: Annotated[
        Path,
        Meta(
            description="The folder; made where it does not exist. One gateway uses it at a time.",
            extra={
                "in_words": "the path of a folder",
                "when_missing": "name a folder, such as /var/lib/fleetgw/dead-letters",
            },
        ),
    ]
    max_mib: Annotated[
        Positive, Meta(description="MiB of all sinks' dead letters together. Those that find no room go to the log.")
    ] = 256
