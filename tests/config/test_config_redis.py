"""The section of the Redis sink, where it goes beyond the Go server's."""

from tests.support.config_case import ConfigCase

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

    def test_values_of_the_go_servers_files(self) -> None:
        zeros = {
            "pool_size": 0,
            "min_idle_conns": 0,
            "max_idle_conns": 0,
            "max_active_conns": 0,
            "read_timeout": 0,
            "write_timeout": -1,
            "pool_timeout": 0,
            "conn_max_idle_time": -1,
            "conn_max_lifetime": 0,
        }
        section = {**USUAL, "addrs": [":6379", "b:6379"], "pool": zeros, "publish_timeout": 0, "tls": {}}
        for name in (True, False, "redis.internal"):
            loaded = self.load(namespace="ns", records={"V": ["redis"]}, redis={**section, "override_tls_server_name": name})
            self.assertEqual(loaded.warnings, ())
            assert loaded.config.redis is not None
            self.assertIs(type(loaded.config.redis.override_tls_server_name), type(name))

    def test_numbers_that_mean_nothing(self) -> None:
        for key in ("pool_size", "min_idle_conns", "max_idle_conns", "max_active_conns"):
            self.assertEqual(
                self.problems(pool={key: -1}), [f"redis.pool.{key}: is -1; must be a whole number of at least 0"]
            )
        self.assertEqual(
            self.problems(publish_timeout=-1), ["redis.publish_timeout: is -1; must be a whole number of at least 0"]
        )
