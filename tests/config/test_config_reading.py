"""Conversion of text to typed values: errors, their texts, and sources of secrets."""

from pathlib import Path
from typing import Any

from fleetgw.app.config import Secret, load_config
from fleetgw.domain.errors import ConfigurationError
from tests.support.config_case import ConfigCase


class ReadingTests(ConfigCase):
    def test_the_smallest_configuration_has_the_documented_defaults(self) -> None:
        loaded = self.load()
        config = loaded.config
        self.assertEqual(loaded.warnings, ())
        self.assertEqual(config.tls.ca_file, self.folder / "ca.crt")
        self.assertEqual(config.records, {"V": ("logger",)})
        self.assertEqual(
            (config.limits.handshake_timeout_s, config.limits.max_message_bytes, config.limits.max_frame_bytes),
            (10, 1_000_000, 4_194_304),
        )
        self.assertEqual(
            (config.delivery.queue_records, config.delivery.gather_ms, config.rate_limit.enabled), (100_000, 5, False)
        )
        self.assertFalse(loaded.suppress_tls_handshake_errors)

    def test_every_problem_is_found_at_once(self) -> None:
        problems = self.refused(
            port="443",
            prt=1,
            tls={"ca_file": "ca.crt", "server_cert": "none.crt", "server_key": 5},
            records={"V": "logger", "x": []},
        )
        self.assertEqual(
            problems,
            [
                'prt: is not a key of the configuration; did you mean "port"?',
                'port: is "443" (text); must be a whole number from 0 to 65535: write it without the quotes',
                "tls.server_key: is 5; must be the path of a file",
                'records.V: is "logger" (text); must be a list of text: write ["logger"]',
            ],
        )

    def test_problems_of_meaning_are_found_at_once(self) -> None:
        problems = self.refused(
            tls={"ca_file": "none.crt", "server_cert": "server.crt", "server_key": "server.key"},
            records={"V": ["kafak"], "x": []},
            reliable_ack_sources={"V": "logger"},
            status_port=4443,
            rate_limit={"enabled": True},
        )
        self.assertEqual(
            [problem.split(":")[0] for problem in problems],
            [
                "status_port",
                "tls.ca_file",
                "records.V[0]",
                "records.x",
                "reliable_ack_sources.V",
                "rate_limit.message_limit",
            ],
        )

    def test_text_that_is_no_json_object_is_refused_with_the_position(self) -> None:
        cases: dict[str | bytes, str] = {
            "": "(file): is empty; must be a JSON object",
            '{"a": 1} more': "(file): something follows the JSON object at line 1, column 10; "
            "remove what follows its closing brace",
            '{\n"a": 1,}': "(file): is not JSON at line 2, column 8: Expecting property name enclosed in double quotes; "
            "correct it there or just before",
            '{"a": 1, // c\n "b": 2}': "(file): holds a comment at line 1, column 10; JSON has no comments: remove it",
            b"\xff{}": "(file): is not UTF-8 (byte 0); save the file as UTF-8",
            b"\xef\xbb\xbf{}": "(file): begins with a byte order mark; save the file as UTF-8 without one",
            "null": '(file): is not a JSON object; must begin with "{" and end with "}"',
            "[" * 100_000: "(file): is nested too deeply; see the reference for the sections there are",
            '{"port": Infinity}': "(file): holds Infinity, which is not JSON; write a number",
            '{"port": 1e999}': "(file): holds 1e999, which no number type can hold; write a smaller one",
            '{"port": ' + "9" * 5000 + "}": "(file): holds a number with thousands of digits; write a smaller one",
            r'{"host": "\ud800"}': r"(file): holds half of a surrogate pair (\ud800 to \udfff); write the character itself",
        }
        for text, expected in cases.items():
            with self.subTest(text=text[:20]):
                self.assertEqual(self.refused(text), [expected])

    def test_numbers_beyond_64_bits_are_values_like_others(self) -> None:
        big = 10**400
        problems = self.refused(
            port=big, limits={"ping_after_s": big, "max_connections": 2**70}, rate_limit={"message_limit": -big}
        )
        self.assertEqual(
            [problem.split(":")[0] for problem in problems], ["port", "rate_limit.message_limit", "limits.ping_after_s"]
        )

    def test_a_key_that_is_there_twice_is_refused_where_it_is(self) -> None:
        text = (
            self.text()
            .replace('"V": ["logger"]', '"V": ["logger"], "V": ["logger"]')
            .replace('{"port"', '{"port": 1, "port"')
        )
        self.assertEqual(
            self.refused(text),
            ["port: is there more than once; keep one of them", "records.V: is there more than once; keep one of them"],
        )

    def test_a_key_in_another_case_counts_with_a_warning(self) -> None:
        loaded = self.load(Namespace="ns")
        self.assertEqual(loaded.config.namespace, "ns")
        self.assertEqual(list(map(str, loaded.warnings)), ['Namespace: is not written as the key is; write "namespace"'])
        self.assertEqual(self.refused(PORT=4444), ['PORT: is the same key as "port"; keep one of them'])

    def test_null_counts_as_left_out_with_a_warning(self) -> None:
        self.assertEqual(self.warned(monitoring=None)[0].split(";")[0], "monitoring: is null, which counts as left out")
        self.assertEqual(self.refused(port=None), ["port: is missing; must be a whole number from 0 to 65535"])

    def test_a_missing_ca_file_has_its_source_as_the_remedy(self) -> None:
        for tls in ({}, {"ca_file": ""}, {"ca_file": None}):
            problems = self.refused(tls={"server_cert": "server.crt", "server_key": "server.key"} | tls)
            self.assertEqual(len(problems), 1)
            self.assertIn("fleetgw fetch-ca FILE", problems[0])

    def test_other_names_of_log_levels(self) -> None:
        for given, expected in {"WARNING": "warn", "Info": "info", "panic": "error", "trace": "trace"}.items():
            self.assertEqual(self.load(log_level=given).config.log_level, expected)

    def test_a_file_is_read_and_paths_start_from_the_working_directory(self) -> None:
        file = self.folder / "config.json"
        file.write_text(self.text(tls={"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"}))
        with self.assertRaises(ConfigurationError) as caught:
            load_config(file, {})
        self.assertIn(f"{Path.cwd()}/ca.crt cannot be read", str(caught.exception))
        with self.assertRaises(ConfigurationError) as caught:
            load_config(self.folder / "none.json", {})
        self.assertIn("cannot be read: no such file or directory", str(caught.exception))

    def test_the_environments_flag(self) -> None:
        name = "SUPPRESS_TLS_HANDSHAKE_ERROR_LOGGING"
        self.assertTrue(self.load(environ={name: "1"}).suppress_tls_handshake_errors)
        self.assertFalse(self.load(environ={name: "F"}).suppress_tls_handshake_errors)
        self.assertEqual(
            self.refused(environ={name: "maybe"}),
            [f'{name}: the environment variable is "maybe"; set it to true or false, or not at all'],
        )

    def test_the_choice_of_the_hot_path(self) -> None:
        for value in ("0", "1"):
            self.load(environ={"FLEETGW_SPEEDUPS": value})
        for value in ("off", ""):
            self.assertEqual(
                self.refused(environ={"FLEETGW_SPEEDUPS": value}),
                [f'FLEETGW_SPEEDUPS: the environment variable is "{value}"; set it to 0 or 1, or not at all'],
            )


class SecretTests(ConfigCase):
    def test_a_secret_may_be_text_or_in_the_environment_or_in_a_file(self) -> None:
        (self.folder / "pw").write_text("from file\r\n")
        for given, expected in (("text", "text"), ({"env": "PW"}, "from env"), ({"file": "pw"}, "from file")):
            config = self.load(environ={"PW": "from env"}, redis={"password": given}, mqtt={"password": given}).config
            assert config.redis is not None
            assert config.mqtt is not None
            self.assertEqual((config.redis.password, config.mqtt.password), (expected, expected))
            self.assertIsInstance(config.redis.password, Secret)
            self.assertNotIn(expected, repr(config.redis))

    def test_the_environment_wins_over_the_file(self) -> None:
        environ = {"REDIS_PASSWORD": "r", "AIRBRAKE_PROJECT_KEY": "a"}
        config = self.load(environ=environ, redis={"password": "x"}, airbrake={"project_key": "x"}).config
        assert config.redis is not None
        assert config.airbrake is not None
        self.assertEqual((config.redis.password, config.airbrake.project_key), ("r", "a"))
        self.assertIsNone(self.load(environ=environ).config.redis)

    def test_a_secret_that_is_not_there_is_refused(self) -> None:
        (self.folder / "empty").write_text("\n")
        cases: dict[str, tuple[object, str]] = {
            "unset": ({"env": "NONE"}, "environment variable NONE is not set; set it, or name another one"),
            "no file": (
                {"file": "none"},
                "none cannot be read: no such file or directory; name a text file that holds the secret",
            ),
            "empty": ({"file": "empty"}, "empty is empty; write the secret into it"),
            "number": (5, 'is no secret; must be text, {"env": "NAME"} or {"file": "path"}'),
            "both": ({"env": "A", "file": "b"}, 'is no secret; must be text, {"env": "NAME"} or {"file": "path"}'),
        }
        for name, (given, expected) in cases.items():
            with self.subTest(name):
                self.assertEqual(self.refused(redis={"password": given}), [f"redis.password: {expected}"])

    def test_secrets_in_kafka_and_in_settings(self) -> None:
        config = self.load(
            environ={"PW": "from env"},
            records={"V": ["kafka", "mine"]},
            namespace="ns",
            kafka={
                "bootstrap.servers": "k:9092",
                "sasl.password": {"env": "PW"},
                "ssl.key.password": "x",
                "client.id": {"env": "PW"},
            },
            dispatchers={
                "mine": {
                    "class": "tests.support.free_form_sink:SINK",
                    "settings": {"url": "u", "list": [{"env": "PW"}], "deep": {"api_token": "t"}},
                }
            },
        ).config
        assert config.kafka is not None
        self.assertEqual(config.kafka["sasl.password"], "from env")
        self.assertEqual(
            {name for name, value in config.kafka.items() if isinstance(value, Secret)},
            {"sasl.password", "ssl.key.password", "client.id"},
        )
        settings: Any = config.dispatchers["mine"].settings  # whatever JSON holds
        self.assertEqual(settings, {"url": "u", "list": ["from env"], "deep": {"api_token": "t"}})
        self.assertIsInstance(settings["list"][0], Secret)
        self.assertIsInstance(settings["deep"]["api_token"], Secret)
        self.assertNotIsInstance(settings["url"], Secret)

    def test_a_missing_secret_in_settings_has_its_path(self) -> None:
        problems = self.refused(
            kafka={"sasl.password": {"env": "NONE"}},
            dispatchers={"m": {"class": "tests.support.free_form_sink:SINK", "settings": {"k": [{"env": "N"}]}}},
        )
        self.assertEqual(
            [problem.split(": ")[0] for problem in problems], ["dispatchers.m.settings.k[0]", 'kafka["sasl.password"]']
        )

    def test_a_whole_section_is_no_secret(self) -> None:
        with self.subTest("kafka"):
            (problem,) = self.refused(environ={"PW": "x"}, kafka={"env": "PW"}, records={"V": ["logger"]})
            self.assertRegex(problem, "^kafka: is one secret; must be an object")
        with self.subTest("settings"):
            (problem,) = self.refused(
                environ={"PW": "x"},
                dispatchers={"m": {"class": "tests.support.free_form_sink:SINK", "settings": {"env": "PW"}}},
            )
            self.assertRegex(problem, "^dispatchers.m.settings: is one secret; must be an object")
