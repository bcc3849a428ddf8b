"""The hot path that runs, as operators read it in the log, the metrics, the doctor's report and ``--version``."""

from fleetgw.adapters.ingress.tls_records import receive, receive_in_python
from fleetgw.adapters.speedups import REASON, SPEEDUPS


def language(*, extension: bool, tls: bool) -> str:
    """The language of the hot path.

    :param extension: whether the extension is in use.
    :param tls: whether it calls OpenSSL.
    """
    if not extension:
        return "Python"
    return "C" if tls else "C, without TLS"


HOT_PATH = language(extension=SPEEDUPS is not None, tls=receive is not receive_in_python)
"""The language of the hot path in this process."""

DESCRIPTION = f"{HOT_PATH} ({REASON})" if REASON else HOT_PATH
"""The same with the reason for which it is not C."""
