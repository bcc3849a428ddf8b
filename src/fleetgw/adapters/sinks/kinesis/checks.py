"""Sense checks of the section ``kinesis``."""

import re

from fleetgw.adapters.settings.checking import SettingsCheck
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.adapters.sinks.kinesis.settings import Kinesis


def check_kinesis(kinesis: Kinesis, check: SettingsCheck) -> None:
    """Check that the endpoint is a URL, or counts as one."""
    endpoint = kinesis.override_host
    if not endpoint or re.fullmatch(r"https?://[^\s/]+.*", endpoint):
        return
    if re.fullmatch(r"[\w.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?", endpoint):
        what = f"has no scheme: it counts as {quoted(['https://' + endpoint])}, as in the Go server"
        check.warn("override_host", what, f"write {quoted(['http://' + endpoint])} for one without TLS")
    else:
        check.refuse("override_host", f"is {quoted([endpoint])}", 'must be a URL, such as "http://127.0.0.1:4566"')
