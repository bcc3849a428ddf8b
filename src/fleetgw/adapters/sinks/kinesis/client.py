"""Calls to Kinesis, and the outcomes that its answers and errors mean. All of it blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    SSOError,
)

from fleetgw.adapters.sinks.support.request_errors import (
    BatchRejected,
    Busy,
    Missing,
    OperatorActionRequired,
    Unauthenticated,
    Unreachable,
)
from fleetgw.domain.ports import RECEIPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.kinesis.settings import KinesisSettings
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

CONNECT_TIMEOUT_S = 5.0

_BUSY = frozenset(
    {
        "InternalFailure",
        "InternalFailureException",
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestTimeout",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

_REFUSED = frozenset({"413", "InvalidArgumentException", "SerializationException", "ValidationException"})


_UNAUTHENTICATED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""The credentials are not valid, or not any more. A session never reads a file again: that takes another session."""

_CREDENTIAL_ERRORS = (CredentialRetrievalError, PartialCredentialsError, SSOError)


class StreamClient(Protocol):
    """A connection to Kinesis; its methods may be called on several threads at once. They do not raise."""

    def put(self, stream: str, records: Sequence[Record]) -> Sequence[Outcome]:
        """Put records in one request; one outcome per record."""

    def fault(self, stream: str) -> DeliveryError | None:
        """Probe a stream; None where it is in order, or where the credentials do not allow a probe."""

    def close(self) -> None:
        """Close the connections."""


class BotoClient:
    """A client over boto3. Its retries are off: they would repeat whole requests, and break the order of a vehicle.

    :raises Unreachable: for a missing region or an invalid configuration.
    """

    def __init__(self, settings: KinesisSettings) -> None:
        timeout_s = settings.delivery_timeout_s
        config = Config(
            connect_timeout=min(CONNECT_TIMEOUT_S, timeout_s),
            read_timeout=timeout_s,
            max_pool_connections=settings.max_requests * len({*settings.streams.values()}) + 1,
            parameter_validation=False,  # for speed: Kinesis validates too
            retries={"mode": "standard", "total_max_attempts": 1},
            tcp_keepalive=True,
        )
        try:
            session = boto3.Session(region_name=settings.region)
            # Any: boto3 makes its clients' methods at run time
            self._client: Any = session.client("kinesis", endpoint_url=settings.endpoint_url, config=config)
        except NoRegionError as error:
            reason = "no AWS region: set AWS_REGION, or region in the AWS configuration file"
            raise Unreachable(reason) from error
        except (BotoCoreError, ValueError) as error:
            raise Unreachable(f"{type(error).__name__}: {error}") from error
        self._where = f"{self._client.meta.region_name} ({self._client.meta.endpoint_url})"

    def put(self, stream: str, records: Sequence[Record]) -> Sequence[Outcome]:
        """See ``StreamClient``."""
        entries = [{"Data": record.payload, "PartitionKey": record.vehicle.vin} for record in records]
        try:
            answers = self._client.put_records(StreamName=stream, Records=entries)["Records"]
        except Exception as error:  # of any kind: it becomes the records' outcome
            return [self._meaning(error)] * len(records)
        if len(answers) != len(records):
            return [Unreachable(f"{len(answers)} answers to {len(records)} records: no Kinesis is there")] * len(records)
        return [_outcome(answer) for answer in answers]

    def fault(self, stream: str) -> DeliveryError | None:
        """See ``StreamClient``."""
        try:
            status = self._client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"]
        except ClientError as error:
            return None if _code(error) == "AccessDeniedException" else self._meaning(error)
        except Exception as error:  # of any kind: it is the fault
            return self._meaning(error)
        return Missing(f"the stream is {status}") if status in ("CREATING", "DELETING") else None

    def close(self) -> None:
        """See ``StreamClient``."""
        self._client.close()

    def _meaning(self, error: Exception) -> DeliveryError:
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, ClientError):
            code = _code(error)
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in _BUSY or status >= 500:
                return Busy(reason)
            if code in _REFUSED or status == 413:
                return BatchRejected(reason)
            if code == "ResourceNotFoundException":
                return Missing(f"the stream does not exist in {self._where}: create it, or mend kinesis.streams")
            return Unauthenticated(reason) if code in _UNAUTHENTICATED else OperatorActionRequired(reason)
        if isinstance(error, _CREDENTIAL_ERRORS):
            return Unauthenticated(reason)
        if isinstance(error, NoCredentialsError):
            return Unauthenticated(
                "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"
            )
        return Unreachable(f"{self._where}: {reason}")


def _outcome(answer: dict[str, str]) -> Outcome:
    """The outcome of one record of a request that was not refused as a whole."""
    code = answer.get("ErrorCode")
    if code is None:
        return RECEIPT
    reason = f"{code}: {answer.get('ErrorMessage', '')}"
    return Busy(reason) if code in _BUSY else OperatorActionRequired(reason)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
