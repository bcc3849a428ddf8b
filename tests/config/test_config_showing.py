"""The effective configuration, the JSON Schema, and the documentation that is made from it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fleetgw.app.config import as_settings, effective_config, json_schema, render_effective, render_problems
from fleetgw.app.config.schema import with_reference
from fleetgw.domain.errors import Problem
from tests.support.config_case import ConfigCase

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
Node = dict[str, Any]  # a part of a JSON Schema


class EffectiveTests(ConfigCase):
    def test_secrets_are_masked_and_defaults_filled_in(self) -> None:
        secret = "hunter2"
        config = self.load(
            environ={"PW": secret},
            records={"V": ["kafka", "mine"]},
            namespace="n",
            kafka={
                "bootstrap.servers": "k:1",
                "sasl.password": secret,
                "ssl.key.password": secret,
                "sasl.oauthbearer.client.secret": secret,
                "client.id": {"env": "PW"},
            },
            redis={"password": secret},
            mqtt={"password": {"env": "PW"}},
            airbrake={"project_key": secret},
            dispatchers={
                "mine": {
                    "class": "tests.support.free_form_sink:SINK",
                    "settings": {"url": {"env": "PW"}, "password": secret, "n": 1},
                }
            },
        ).config
        shown: Any = effective_config(config)  # whatever JSON holds
        self.assertNotIn(secret, json.dumps(shown))
        self.assertNotIn(secret, render_effective(config))
        self.assertEqual(shown["kafka"]["sasl.password"], "********")
        self.assertEqual(shown["kafka"]["bootstrap.servers"], "k:1")
        self.assertEqual(
            shown["dispatchers"]["mine"],
            {"class": "tests.support.free_form_sink:SINK", "settings": {"url": "********", "password": "********", "n": 1}},
        )
        self.assertEqual(shown["limits"]["ping_after_s"], 25)
        self.assertEqual(shown["tls"]["ca_file"], f"{self.folder}/ca.crt")
        self.assertEqual(json.loads(render_effective(config)), shown)

    def test_secrets_in_settings_are_masked_in_any_form(self) -> None:
        given = {"api_tokens": ["a", {"b": "c"}], "password": 12345, "use_token": True, "plain": ["d", 5]}
        config = self.load(dispatchers={"mine": {"class": "tests.support.free_form_sink:SINK", "settings": given}}).config
        shown: Any = effective_config(config)  # whatever JSON holds
        masked = {
            "api_tokens": ["********", {"b": "********"}],
            "password": "********",
            "use_token": True,
            "plain": ["d", 5],
        }
        self.assertEqual(shown["dispatchers"]["mine"]["settings"], masked)
        self.assertEqual(config.dispatchers["mine"].settings, given)

    def test_the_shown_configuration_can_be_loaded_again(self) -> None:
        shown = effective_config(self.load(identity={"issuers": {"A": {"by_extended_key_usage": True}}}).config)
        loaded = self.load(json.dumps(shown))
        self.assertEqual(loaded.warnings, ())
        self.assertEqual(effective_config(loaded.config), shown)

    def test_a_sinks_settings_are_plain_and_in_clear(self) -> None:
        config = self.load(redis={"password": "pw", "tls": {"ca_file": "ca.crt"}}).config
        settings: Any = as_settings(config.redis)  # whatever JSON holds
        self.assertEqual((settings["password"], settings["tls"]), ("pw", {"ca_file": f"{self.folder}/ca.crt"}))
        self.assertEqual(as_settings(config.logger), {"verbose": False})
        self.assertEqual(as_settings(config.kafka), {})

    def test_each_problem_is_one_line_that_begins_with_the_path(self) -> None:
        problems = [Problem("a.b", "is\nwrong", "mend it"), Problem("", "is empty", "fill it")]
        warnings = [Problem("c", "is odd", "look at it")]
        self.assertEqual(
            render_problems(problems, warnings).splitlines(),
            ["a.b: error: is wrong; mend it", "(file): error: is empty; fill it", "c: warning: is odd; look at it"],
        )
        self.assertNotIn("\x1b", render_problems(problems, warnings))
        self.assertIn("\x1b[31merror\x1b[0m", render_problems(problems, warnings, colour=True))


class SchemaTests(ConfigCase):
    def properties(self, schema: Node) -> Iterator[tuple[str, Node]]:
        for name, definition in schema["$defs"].items():
            for key, node in definition.get("properties", {}).items():
                yield f"{name}.{key}", node

    def test_every_key_has_a_description_and_none_is_forgotten(self) -> None:
        schema = json_schema()
        self.assertEqual([path for path, node in self.properties(schema) if not node.get("description")], [])
        self.assertEqual(schema["$schema"], "https://json-schema.org/draft/2020-12/schema")
        json.dumps(schema)

    def test_unknown_keys_are_forbidden_in_every_section(self) -> None:
        definitions: Node = json_schema()["$defs"]  # type: ignore[assignment]  # a JSON object
        self.assertEqual([name for name, each in definitions.items() if each.get("additionalProperties") is not False], [])

    def test_comments_are_allowed_in_every_section(self) -> None:
        schema = json_schema()
        definitions: Node = schema["$defs"]  # type: ignore[assignment]  # a JSON object
        self.assertEqual([name for name, each in definitions.items() if list(each["patternProperties"]) != ["^(_|//)"]], [])
        self.assertIn("patternProperties", definitions["Config"]["properties"]["records"])
        self.assertEqual(json_schema(), schema)

    def test_a_secret_may_have_three_forms(self) -> None:
        nodes = dict(self.properties(json_schema()))
        for path in ("Redis.password", "Mqtt.password", "Airbrake.project_key", "Config.kafka"):
            with self.subTest(path):
                text = json.dumps(nodes[path])
                self.assertIn('"required": ["env"]', text)
                self.assertIn('"required": ["file"]', text)

    def test_the_documentation_has_the_current_tables(self) -> None:
        document = DOCUMENT.read_text("utf-8")
        self.assertEqual(document, with_reference(document), "run: python -m fleetgw.app.config docs/configuration.md")
        self.assertRaises(ValueError, with_reference, "no markers")

    def test_the_documentations_example_is_accepted(self) -> None:
        document = DOCUMENT.read_text("utf-8")
        example = document.split("```json\n")[1].split("```")[0].replace("/etc/fleetgw/tesla-ca.crt", "ca.crt")
        loaded = self.load(example.replace("/etc/fleetgw/", ""), {"KAFKA_PASSWORD": "x"})
        self.assertEqual(loaded.warnings, ())
