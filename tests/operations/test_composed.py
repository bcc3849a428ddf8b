"""A composed gateway is observed: its health, certificates and folder are those of the configuration."""

from __future__ import annotations

import json

from twisted.web.server import Site

from fleetgw.adapters.codec.generated.gateway_status_pb2 import GatewayStatus
from fleetgw.app.operations.gateway_status import INTERVAL_S
from fleetgw.app.operations.kept_counts import KeptCounts
from fleetgw.app.operations.ticking import Ticking
from fleetgw.domain.health import Phase
from tests.support.gateway_in_memory import GatewayCase
from tests.support.http_connection import HttpConnection

ROUTES = {"V": ["memory"], "gateway_status": ["memory"]}


class ComposedTests(GatewayCase):
    def test_status_records_begin_once_the_gateway_serves(self) -> None:
        gateway = self.start(records=ROUTES)
        for monitor in gateway.parts.monitors:
            if isinstance(monitor, Ticking):
                monitor.start()
                self.addCleanup(monitor.stop)
        gateway.clock.advance(INTERVAL_S)
        gateway.clock.advance(1)
        self.assertEqual([*gateway.memory_sink().received], [])
        gateway.parts.health.phase = Phase.SERVING
        gateway.clock.advance(INTERVAL_S)
        gateway.clock.advance(1)
        (record,) = gateway.memory_sink().received
        status = GatewayStatus.FromString(record.payload)
        self.assertEqual((status.health.state, [sink.name for sink in status.sinks]), ("ok", ["memory"]))

    def test_the_overview_has_the_parts_of_the_gateway(self) -> None:
        gateway = self.start(records=ROUTES, status_port=8080)
        (listener,) = gateway.parts.pages
        site = listener.factory
        assert isinstance(site, Site)
        answer = HttpConnection(site).ask("GET", "/api/overview", Host="localhost")
        self.assertEqual(answer.code, 200, answer)
        view = json.loads(answer.body)
        self.assertEqual([each["name"] for each in view["sinks"]], ["memory"])
        self.assertEqual([each["name"] for each in view["certificates"]], ["tls.server_cert"])

    def test_signal_counts_go_to_the_folder(self) -> None:
        gateway = self.start(operations={"folder": "kept"})
        (counts,) = (monitor for monitor in gateway.parts.monitors if isinstance(monitor, KeptCounts))
        files = counts._files
        assert files is not None
        self.assertTrue(files.folder.path.endswith("/kept/signals"))
