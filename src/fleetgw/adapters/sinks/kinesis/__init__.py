"""Amazon Kinesis Data Streams: PutRecords."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import IDispatcher


def kinesis_sink(context: SinkContext) -> IDispatcher:
    """Make the Kinesis sink.

    :raises ConfigurationError: boto3 is not installed, or ``context.settings`` cannot work.
    """
    try:
        from fleetgw.adapters.sinks.kinesis.sink import KinesisSink
    except ImportError as error:
        what = f"a client library is not installed: {error}"
        raise ConfigurationError([Problem(context.name, what, "pip install 'fleetgw[kinesis]'")]) from error
    return KinesisSink(context)
