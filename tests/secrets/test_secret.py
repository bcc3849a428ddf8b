"""Secrets in files: from the configuration to a sink, and read again after the file was replaced."""

from fleetgw.adapters.secrets.secret import SecretFile, UnusableSecretFile, secret_files, with_secrets_read_again
from fleetgw.app.config import effective_config
from fleetgw.app.config.sinks import settings_of
from tests.support.config_case import ConfigCase


class SecretFileTests(ConfigCase):
    def write(self, name: str, content: str) -> None:
        (self.folder / name).write_text(content)

    def settings(self) -> dict[str, object]:
        """Settings of two sinks: a section with fixed keys, and a free-form one."""
        self.write("redis", "first\n")
        self.write("token", "t1")
        config = self.load(
            records={"V": ["mine"]},
            redis={"password": {"file": "redis"}},
            kafka={"bootstrap.servers": "k:9092", "sasl.password": {"file": "redis"}},
            dispatchers={
                "mine": {
                    "class": "tests.support.free_form_sink:SINK",
                    "settings": {"list": [{"deep": {"file": "token"}}], "user": "u"},
                }
            },
        ).config
        self.assertNotIn("first", str(effective_config(config)))
        return {name: settings_of(name, config) for name in ("redis", "kafka", "mine")}

    def test_a_sink_gets_the_text_and_its_file(self) -> None:
        settings = self.settings()
        found = {str(secret): secret.path.name for secret in secret_files(settings)}
        self.assertEqual(found, {"first": "redis", "t1": "token"})
        self.assertNotIn("first", repr(settings))

    def test_read_again(self) -> None:
        settings = self.settings()
        self.write("redis", "second\r\n")
        self.write("token", "t2\n")
        again = with_secrets_read_again(settings)
        self.assertEqual(
            (again["redis"]["password"], again["kafka"]["sasl.password"], again["mine"]["list"][0]["deep"]),
            ("second", "second", "t2"),
        )
        self.assertEqual(again["mine"]["user"], "u")
        self.assertEqual({str(secret) for secret in secret_files(settings)}, {"first", "t1"}, "the old ones were changed")
        self.write("redis", "third")
        self.assertEqual(again["redis"]["password"].read_again(), "third")

    def test_a_file_that_cannot_be_used(self) -> None:
        settings = self.settings()
        for content, what in ((b"", "is empty"), (b"\n", "is empty"), (b"\xff", "cannot be read: not UTF-8")):
            (self.folder / "token").write_bytes(content)
            with self.assertRaisesRegex(UnusableSecretFile, f"token {what}"):
                with_secrets_read_again(settings)
        (self.folder / "token").unlink()
        with self.assertRaisesRegex(UnusableSecretFile, "token cannot be read: no such file"):
            with_secrets_read_again(settings)

    def test_read(self) -> None:
        self.write("redis", "two\nlines\n")
        secret = SecretFile.read(self.folder / "redis")
        self.assertEqual(secret, "two\nlines")
        self.assertEqual(secret.path, self.folder / "redis")
