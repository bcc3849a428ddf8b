"""The section ``spool``, and the policies that need it."""

from tests.support.config_case import ConfigCase

KAFKA = {"kafka": {"bootstrap.servers": "k:9092"}, "namespace": "n", "records": {"V": ["kafka"]}}


class SpoolTests(ConfigCase):
    def with_spool(self, **keys: object) -> dict[str, object]:
        spool = {"path": str(self.folder / "spool")} | keys
        return {**KAFKA, "ack_policies": {"V": "spooled"}, "spool": spool}

    def test_defaults(self) -> None:
        spool = self.load(**self.with_spool()).config.spool
        assert spool is not None
        limits = (spool.max_mib, spool.max_age_s, spool.file_mib, spool.when_full, spool.always)
        self.assertEqual(limits, (1024, 0, 64, "refuse", False))
        self.assertEqual(self.warned(**self.with_spool()), [])
        self.assertFalse((self.folder / "spool").exists(), "a check makes nothing")

    def test_a_policy_needs_the_spool(self) -> None:
        for policy in ("spooled", "kafka or spooled"):
            with self.subTest(policy):
                (problem,) = self.refused(**KAFKA, ack_policies={"V": policy})
                self.assertEqual(
                    problem,
                    "ack_policies.V: waits for the spool, which is not configured; "
                    'add the section "spool" with its path, as in {"path": "/var/lib/fleetgw/spool"}',
                )
        (problem,) = self.refused(**KAFKA, ack_policies={"V": "spoled"})
        self.assertIn('did you mean "spooled"?', problem)

    def test_a_spool_that_nothing_uses_is_a_warning(self) -> None:
        unused = self.with_spool() | {"ack_policies": {"V": "kafka"}}
        (warning,) = self.warned(**unused)
        self.assertEqual(
            warning,
            "spool: is configured, but nothing is spooled; "
            'name "spooled" in ack_policies, set spool.always, or remove the section',
        )
        self.assertEqual(self.warned(**self.with_spool(always=True) | {"ack_policies": {}}), [])

    def test_bad_values(self) -> None:
        (self.folder / "file").write_text("")
        place = f"{self.folder}/"
        for keys, expected in (
            ({"path": f"{place}file"}, 'spool.path: is "file", and file is a file; name a folder'),
            ({"path": f"{place}file/below"}, 'spool.path: is "file/below", and file is a file; name a folder'),
            ({"max_mib": 32}, "spool.max_mib: is 32, less than one file; must be at least spool.file_mib, 64"),
            ({"when_full": "block"}, 'spool.when_full: is "block" (text); must be one of "refuse", "drop_oldest"'),
        ):
            with self.subTest(keys):
                (problem,) = self.refused(**self.with_spool(**keys))
                self.assertIn(expected, problem)
        (problem,) = self.refused(**self.with_spool() | {"spool": {}})
        self.assertIn("spool.path: is missing", problem)
