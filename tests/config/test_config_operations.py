"""The section ``operations``."""

from tests.support.config_case import ConfigCase


class OperationsTests(ConfigCase):
    def test_tokens_and_hosts(self) -> None:
        (self.folder / "token").write_text("0123456789abcdef\n")
        hosts = ["gw.example.com", "10.0.0.5", "[fd00::5]", "localhost"]
        for token in ("0123456789abcdef", {"file": "token"}, {"env": "TOKEN"}):
            with self.subTest(token=token):
                loaded = self.load(
                    None,
                    {"TOKEN": "0123456789abcdef"},
                    status_port=8080,
                    operations={"token": token, "hosts": hosts, "folder": "operations"},
                )
                operations = loaded.config.operations
                self.assertEqual((operations.token, [*operations.hosts]), ("0123456789abcdef", hosts))
                self.assertEqual(operations.folder, self.folder / "operations")
                self.assertEqual(loaded.warnings, ())

    def test_a_weak_token(self) -> None:
        (problem,) = self.refused(status_port=8080, operations={"token": "0123456789abcde"})
        self.assertRegex(problem, "^operations.token: has 15 characters; must have at least 16 characters")

    def test_a_token_that_no_header_can_carry(self) -> None:
        for token in ("0123456789 abcdef", "0123456789abcd\u00e9f", "0123456789\nabcdef"):
            with self.subTest(token):
                (problem,) = self.refused(status_port=8080, operations={"token": token})
                self.assertRegex(problem, "^operations.token: has characters that no HTTP header can carry")
                self.assertNotIn(token, problem)

    def test_hosts_that_are_none(self) -> None:
        for host in ("", "https://gw.example.com", "gw.example.com:8080", "*", "gw.example.com/", "fd00::5", " gw"):
            with self.subTest(host):
                (problem,) = self.refused(status_port=8080, operations={"hosts": ["gw", host]})
                self.assertRegex(problem, r"^operations.hosts\[1\]: is .*; must be a name or an address alone")

    def test_a_folder_that_is_a_file(self) -> None:
        (problem,) = self.refused(status_port=8080, operations={"folder": "ca.crt"})
        self.assertRegex(problem, "^operations.folder: ")
