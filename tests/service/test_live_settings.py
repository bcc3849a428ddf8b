"""Settings that a reload replaces, and those that the spool keeps."""

from fleetgw.app.service.live_settings import spooled_otherwise
from tests.support.config_case import ConfigCase


class SpooledOtherwiseTests(ConfigCase):
    def test_types_that_the_spool_has_other_sinks_for_need_a_restart(self) -> None:
        common = {
            "namespace": "n",
            "kafka": {"bootstrap.servers": "k:9092"},
            "redis": {"addrs": ["r:1"], "publish_vin_topics": True},
        }
        spool = {"path": str(self.folder / "spool")}
        sinks = {"V": ["kafka", "redis"], "alerts": ["kafka"], "errors": ["kafka"]}

        def changed(records: object, policies: object, **keys: object) -> set[str]:
            running = {"records": sinks, "ack_policies": {"V": "spooled", "alerts": "kafka"}, "spool": spool}
            configs = [
                self.load(**common | each).config  # type: ignore[arg-type]  # a text stands for the whole file
                for each in (running, {"records": records, "ack_policies": policies, "spool": spool} | keys)
            ]
            return spooled_otherwise(*configs)

        self.assertEqual(changed(sinks, {"V": "spooled"}), set())
        self.assertEqual(changed(sinks, {"V": "spooled and redis", "errors": "kafka"}), set())
        self.assertEqual(changed(sinks | {"alerts": ["redis"]}, {"V": "spooled"}), set())
        self.assertEqual(changed(sinks, {"V": "spooled", "alerts": "spooled"}), {"alerts"})
        self.assertEqual(changed(sinks, {"V": "kafka"}), {"V"})
        self.assertEqual(changed(sinks | {"V": ["kafka"]}, {"V": "spooled"}), {"V"})
        self.assertEqual(changed({"alerts": ["kafka"]}, {}), {"V"})
        self.assertEqual(changed(sinks, {"V": "spooled"}, spool=spool | {"always": True}), set(), "the section stays")
