"""The section of the Redis sink, where it goes beyond the Go server's."""

from fleetgw.testing.config_case import ConfigCase

USUAL = {"addrs": ["127.0.0.1:6379"], "publish_vin_topics": True}


class RedisTests(ConfigCase):
    def problems(self, **more: object) -> list[str]:
        return self.refused(records={"V": ["redis"]}, redis={**USUAL, **more})

    def test_sentinel_without_a_master(self) -> None:
        self.assertEqual(
            self.problems(sentinel={}), ["redis.sentinel.master_name: is missing; name the master as the sentinels do"]
        )

    def test_sentinel_of_a_cluster(self) -> None:
        self.assertEqual(
            self.problems(sentinel={"master_name": "m"}, cluster_mode=True),
            ["redis.sentinel: a cluster has no sentinels; remove it, or redis.cluster_mode"],
        )

    def test_worth_a_warning(self) -> None:
        warnings = self.load(
            records={"V": ["redis"]}, redis={**USUAL, "cluster_mode": True, "db": 2, "override_tls_server_name": "name"}
        ).warnings
        paths = {warning.path for warning in warnings}
        self.assertLessEqual({"redis.db", "redis.override_tls_server_name"}, paths)
