"""The section ``vehicles``: one source, whose keys fit it."""

from __future__ import annotations

from tests.support.config_case import ConfigCase

REDIS = {"address": "127.0.0.1:6379", "key": "fleet:vins"}


class AllowTests(ConfigCase):
    def refusals(self, **allow: object) -> list[str]:
        return self.refused(vehicles={"allow": allow})

    def test_each_source(self) -> None:
        for allow in (
            {"file": "vins.txt"},
            {"url": "https://fleet.example:8443/vins?fleet=7", "authorization": "Bearer x", "tls": {"ca_file": "ca.crt"}},
            {"redis": REDIS, "every_s": 5, "stale_s": 0},
        ):
            self.assertEqual(self.warned(vehicles={"allow": allow}), [])

    def test_exactly_one_source(self) -> None:
        (none,) = self.refusals()
        self.assertEqual(none, "vehicles.allow: names no source; give exactly one of file, url and redis")
        (two,) = self.refusals(file="vins.txt", redis=REDIS)
        self.assertIn("has file and redis", two)

    def test_a_url(self) -> None:
        for url in (
            "fleet.example/vins",
            "ftp://fleet.example",
            "https://user:secret@fleet.example/",
            "http://a b/",
            "http://ü.example",
            "http://[::1",
            "http://fleet.example:99999/",
            "http://fleet.example:0/",
        ):
            (problem,) = self.refusals(url=url)
            self.assertTrue(problem.startswith("vehicles.allow.url: "), problem)

    def test_keys_of_another_source(self) -> None:
        self.assertIn("vehicles.allow.authorization", self.refusals(file="vins.txt", authorization="Bearer x")[0])
        self.assertIn("vehicles.allow.redis.tls", self.refusals(redis=REDIS, tls={"ca_file": "ca.crt"})[0])

    def test_a_redis_set(self) -> None:
        self.assertIn("vehicles.allow.redis.key", self.refusals(redis={"address": "127.0.0.1:6379"})[0])
        self.assertIn("vehicles.allow.redis.key", self.refusals(redis=REDIS | {"key": ""})[0])
        self.assertIn("vehicles.allow.redis.address", self.refusals(redis=REDIS | {"address": "localhost"})[0])

    def test_an_interval_that_would_load_the_source(self) -> None:
        self.assertIn("vehicles.allow.every_s", self.refusals(redis=REDIS, every_s=0)[0])

    def test_missing_files_of_tls(self) -> None:
        (problem,) = self.refusals(url="https://fleet.example/vins", tls={"ca_file": "none.crt"})
        self.assertIn("vehicles.allow.tls.ca_file", problem)


class RateLimitTests(ConfigCase):
    def test_a_limit_that_is_off_is_off_whatever_else_the_section_says(self) -> None:
        for others in (
            {},
            {"message_limit": 0},
            {"message_limit": -5, "message_interval_time": -1},
            {"message_limit": 1, "message_interval_time": 3600},
        ):
            self.assertEqual(self.warned(rate_limit={"enabled": False, **others}), [])
