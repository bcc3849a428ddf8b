"""The meaning of gRPC's errors, the files of credentials, and the bounds of attributes."""

from pathlib import Path
from types import SimpleNamespace

import grpc
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.pubsub.publisher import ATTRIBUTE_BYTES, _meaning, publish_request
from fleetgw.adapters.sinks.pubsub.settings import credential_files
from fleetgw.adapters.sinks.support.request_errors import OperatorActionRequired, Unauthenticated, Unreachable
from fleetgw.testing.sink_doubles import make_record


def meaning_of(code: grpc.StatusCode, details: str) -> type:
    return type(_meaning(SimpleNamespace(code=lambda: code, details=lambda: details)))


class MeaningTests(SynchronousTestCase):
    def test_credentials(self) -> None:
        code = grpc.StatusCode
        plugin = "Getting metadata from plugin failed with error: ('invalid_grant: Invalid JWT Signature.')"
        self.assertEqual(meaning_of(code.UNAUTHENTICATED, "expired"), Unauthenticated)
        self.assertEqual(meaning_of(code.UNAVAILABLE, plugin), Unauthenticated)
        self.assertEqual(meaning_of(code.UNAVAILABLE, "connection refused"), Unreachable)
        self.assertEqual(meaning_of(code.PERMISSION_DENIED, "no"), OperatorActionRequired)

    def test_files(self) -> None:
        self.assertEqual(credential_files({"GOOGLE_APPLICATION_CREDENTIALS": "/k.json"}), [Path("/k.json")])
        self.assertEqual(credential_files({"PUBSUB_EMULATOR_HOST": "localhost:1"}), [])
        (default,) = credential_files({"CLOUDSDK_CONFIG": "/c"})
        self.assertEqual(default, Path("/c/application_default_credentials.json"))


class AttributeTests(SynchronousTestCase):
    def test_values_that_a_vehicle_chooses_fit_into_an_attribute(self) -> None:
        """A longer one would fail the request, with all other records in it."""
        record = make_record(txid="\udcff" * 1000, device_client_version="ä" * 4000)
        (message,) = publish_request("t", [record], ordering=False).messages
        for value in message.attributes.values():
            self.assertLessEqual(len(value.encode()), ATTRIBUTE_BYTES)
        self.assertEqual(message.attributes["device_client_version"], "ä" * (ATTRIBUTE_BYTES // 2))
