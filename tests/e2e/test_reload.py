"""SIGHUP to a gateway process while a fleet sends records. The ids that each side writes down are the oracle."""

import json
import signal

from tests.e2e.test_fleet import Fleet, FleetCase
from tests.support.gateway_process import GatewayProcess, write_config

VEHICLES = 40

WRITTEN_SINK = """
from fleetgw.adapters.sinks.sink_type import SinkType
from fleetgw.domain.ports import RECEIPT
from fleetgw.sinkapi import LifecycleSink

class Sink(LifecycleSink):
    def open(self):
        self.file = open(f"{self.name}.txids", "a", buffering=1)
        self.destination.ready()
    def deliver(self, dispatch):
        self.file.write("".join(f"{record.txid.decode()}\\n" for record in dispatch.batch))
        # a while later, as a broker does
        self._context.reactor.callLater(0.03, self.settle_all, dispatch, [RECEIPT] * len(dispatch.batch))
    def close(self):
        self.file.close()

TYPE = SinkType(name="written", settings=dict[str, object], make=Sink)
"""


class ReloadTests(FleetCase):
    def setUp(self) -> None:
        super().setUp()
        (self.folder / "written_sink.py").write_text(WRITTEN_SINK)
        self.environ = {"PYTHONPATH": str(self.folder)}

    def routed_to(self, *sinks: str, **changes: object) -> dict[str, object]:
        """Routes V to these sinks, of which ``one`` and ``two`` write txids down; the first one's confirmation is acked."""
        written = {name: {"class": "written_sink:TYPE"} for name in sinks if name != "logger"}
        source = {} if sinks[0] == "logger" else {"V": sinks[0]}
        return {"records": {"V": [*sinks]}, "reliable_ack_sources": source, "dispatchers": written} | changes

    def reload(self, gateway: GatewayProcess, **changes: object) -> dict[str, object]:
        """Write the configuration, send SIGHUP, and wait for the reload; its event."""
        write_config(self.folder, **changes)
        count = len(gateway.events("configuration_reloaded")) + 1
        gateway.signal(signal.SIGHUP)
        return gateway.wait_for("configuration_reloaded", count)

    def txids(self, sink: str) -> set[str]:
        """The txids that a sink has written down."""
        file = self.folder / f"{sink}.txids"
        return set(file.read_text().split()) if file.exists() else set()

    def test_routes_that_change_under_load_lose_nothing_and_close_no_connection(self) -> None:
        with GatewayProcess(self.folder, self.environ, **self.routed_to("one")) as gateway:
            load = ("--vehicles", str(VEHICLES), "--rate", "1000", "--count", "6000", "--resend-after", "60")
            with Fleet(self.folder, gateway.port, *load) as fleet:
                gateway.wait_for("socket_connected", VEHICLES)
                for names in ("two", "one two", "one", "logger", "two", "one"):
                    self.reload(gateway, **self.routed_to(*names.split()))
                    if names == "logger":
                        gateway.wait_for("record_payload")
                    else:
                        gateway.wait_for_output("\n", self.folder / f"{names.split()[0]}.txids")
                self.assertIsNone(fleet.process.poll(), "the fleet has sent while routes changed")
                self.assertEqual(gateway.events("socket_disconnected"), [])
                counts = fleet.report()
            self.assertEqual((counts["issued"], counts["acked"], counts["refused"]), (6000, 6000, 0))
            gateway.wait_for("sink_stopped", 2)
            self.assertEqual(gateway.stop(), 0, gateway.output())
            taken = self.txids("one") | self.txids("two") | self.logged(gateway).keys()
            self.assertEqual(taken, fleet.ids("acked"))
            self.assertEqual(len(gateway.events("socket_connected")), VEHICLES)
            self.assertEqual(gateway.events("stopped_server")[0]["undelivered_records"], 0)
            self.assertNotIn("Traceback", gateway.output())

    def test_spooled_types_keep_their_sinks_and_lose_nothing(self) -> None:
        written = {name: {"class": "written_sink:TYPE"} for name in ("one", "two")}
        base = {"spool": {"path": str(self.folder / "spool")}, "dispatchers": written, "records": {"V": ["one"]}}
        with GatewayProcess(self.folder, self.environ, **base | {"ack_policies": {"V": "spooled"}}) as gateway:
            load = ("--vehicles", "10", "--rate", "1000", "--count", "2000", "--resend-after", "60")
            with Fleet(self.folder, gateway.port, *load) as fleet:
                gateway.wait_for("socket_connected", 10)
                self.reload(gateway, **base | {"ack_policies": {"V": "spooled and one"}})
                self.assertEqual(gateway.events("restart_needed"), [], "the policy may change")
                self.reload(
                    gateway,
                    **base | {"ack_policies": {"V": "spooled and one"}, "records": {"V": ["one", "two"], "alerts": ["two"]}},
                )
                counts = fleet.report()
            (kept,) = gateway.events("restart_needed")
            self.assertEqual(kept["changed"], {"records.V": '["one"] -> ["one", "two"]'})
            self.assertEqual((counts["issued"], counts["acked"]), (2000, 2000))
            self.assertEqual(gateway.stop(), 0, gateway.output())
            self.assertEqual(self.txids("one"), fleet.ids("issued"))
            self.assertNotIn("Traceback", gateway.output())

    def test_files_that_cannot_be_used_change_nothing_and_the_next_one_is_taken(self) -> None:
        with GatewayProcess(self.folder) as gateway:
            gateway.wait_for("server_listening")
            config = self.folder / "config.json"
            whole = config.read_text()
            for count, content in enumerate((whole[:-30], whole.replace('"logger"', '"loger"'), None), 1):
                if content is None:
                    config.unlink()
                else:
                    config.write_text(content)
                gateway.signal(signal.SIGHUP)
                gateway.wait_for("configuration_not_reloaded", count)
            self.assertEqual(gateway.events("configuration_reloaded"), [])
            changed = self.reload(gateway, unrouted="refuse")["changed"]
            self.assertEqual(changed, {"unrouted": '"accept" -> "refuse"'})
            self.assertEqual(gateway.stop(), 0, gateway.output())

    def test_many_signals_in_a_row_and_the_last_file_counts(self) -> None:
        with GatewayProcess(self.folder) as gateway:
            gateway.wait_for("server_listening")
            for level in ["warn", "error"] * 20:
                write_config(self.folder, log_level=level)
                gateway.signal(signal.SIGHUP)
            write_config(self.folder, unrouted="refuse")
            gateway.signal(signal.SIGHUP)
            gateway.wait_for_output("refuse")
            gateway.signal(signal.SIGHUP)
            self.assertEqual(gateway.stop(), 0, gateway.output())
            self.assertEqual(len(gateway.events("stopped_server")), 1, "the level is info")
            self.assertNotIn("Traceback", gateway.output())

    def test_relative_paths_start_where_the_process_was_started(self) -> None:
        (self.folder / "elsewhere").mkdir()
        tls = json.loads(write_config(self.folder).read_text())["tls"]
        relative = {key: path.removeprefix(f"{self.folder}/") for key, path in tls.items()}
        with GatewayProcess(self.folder, options=("--pidfile=", "--rundir=elsewhere"), tls=relative) as gateway:
            gateway.wait_for("server_listening")
            self.assertEqual(self.reload(gateway, tls=relative)["changed"], {})
            self.assertEqual(gateway.stop(), 0, gateway.output())

    def test_secrets_are_not_in_the_log(self) -> None:
        with GatewayProcess(self.folder, self.environ, **self.routed_to("one")) as gateway:
            gateway.wait_for("server_listening")
            section = {"one": {"class": "written_sink:TYPE", "settings": {"api_token": "hush"}}}
            self.reload(gateway, **self.routed_to("one", dispatchers=section))
            kept = gateway.wait_for("restart_needed")["changed"]
            self.assertEqual(json.dumps(kept).count("********"), 1)
            self.assertEqual(gateway.stop(), 0)
            self.assertNotIn("hush", gateway.output())
