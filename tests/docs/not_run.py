"""Commands of the pages that cannot run in a test, each with the reason."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.docs.blocks import Command

NOT_RUN = {
    r"^make ": "a target of the checkout; the test below looks for it in the Makefile",
    r"^pip install 'fleetgw\[": "installs from an index; tests/packaging installs what is in the checkout",
    r"^pip install -e ": "changes the environment of the tests; tests/packaging does it in one of its own",
    r"^cd examples/writing-a-sink": "needs the example installed; tests/packaging runs it",
    r"^fleetgw fetch-ca ": "fetches from GitHub; tests/cli has a server in its place",
    r"^python examples/consumers/(kafka|kinesis|mqtt|pubsub|redis)": "needs the broker; tests/sinks run it against one",
    r"^(systemctl|certbot) ": "changes the machine",
    r"tesla|/api/1/": "asks Tesla, a proxy of Tesla's, or the operator's web server",
    r"journalctl ": "needs systemd's journal",
    r"^eval .*zsh": "is for zsh; tests/cli runs it there",
}
"""Commands that do not run here, by a regular expression, each with the reason."""


def reason_not_to_run(command: Command) -> str | None:
    """The reason for which a command does not run here; None when it runs."""
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, command.text)), None)
