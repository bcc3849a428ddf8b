import contextlib
import hashlib
import shutil
import tempfile
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from unittest import TestCase, mock

from fleetgw.cli import ca_bundle
from fleetgw.simulator.certificates import make_authority
from tests.support.command_line import run

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ONE, TWO, THREE = (make_authority(NOW, 10, name).certificate_pem() for name in ("One CA", "Two CA", "Three CA"))
KNOWN = ONE + TWO
CHANGED = TWO + THREE


class Site(BaseHTTPRequestHandler):
    """Serves a few paths on loopback."""

    def do_GET(self):
        match self.path:
            case "/bundle":
                self.answer(200, KNOWN)
            case "/moved":
                self.answer(302, b"", location="/bundle")
            case "/away":
                self.answer(302, b"", location="http://telemetry.example.com/bundle")
            case "/file":
                self.answer(302, b"", location="file:///etc/hostname")
            case "/huge":
                self.answer(200, bytes(ca_bundle.SIZE_LIMIT_BYTES + 1))
            case _:
                self.answer(404, b"no such file")

    def answer(self, status, content, location=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content)

    def log_message(self, *arguments):
        """Say nothing."""


class BundleCase(TestCase):
    """A folder, and ``KNOWN`` in the place of the production bundle."""

    def setUp(self):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        self.file = folder / "ca.crt"
        self.local = folder / "local.crt"
        bundle = ca_bundle.PublishedBundle("https://example.com/known", hashlib.sha256(KNOWN).hexdigest())
        patch = mock.patch.object(ca_bundle, "_PRODUCTION", bundle)
        patch.start()
        self.addCleanup(patch.stop)


class FetchCaTests(BundleCase):
    def fetch(self, content, *arguments):
        self.local.write_bytes(content)
        return run("fetch-ca", self.file, "--from", self.local, *arguments)

    def test_known_content_is_written(self):
        status, out, err = self.fetch(KNOWN)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(self.file.read_bytes(), KNOWN)
        self.assertIn("wrote 2 certificates", out)
        self.assertIn("CN=One CA", out)
        self.assertIn("valid 2026-11-22 to 2026-12-03", out)
        self.assertEqual(sorted(file.name for file in self.file.parent.iterdir()), ["ca.crt", "local.crt"])

    def test_unknown_content_is_explained_and_not_written(self):
        self.fetch(KNOWN)
        status, out, err = self.fetch(CHANGED)
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(self.file.read_bytes(), KNOWN)
        digest = hashlib.sha256(CHANGED).hexdigest()
        for pattern in (
            f"fetched SHA-256: {digest}",
            "against the previous file:",
            r"added:   .*CN=Three CA",
            r"removed: .*CN=One CA",
            r"kept:    .*CN=Two CA",
            f"--accept {digest}",
        ):
            self.assertRegex(err, pattern)

    def test_names_of_certificates_do_not_execute_in_the_terminal(self):
        status, out, err = self.fetch(make_authority(NOW, 10, "a\x1b[2Jb").certificate_pem())
        self.assertEqual((status, out), (1, ""))
        self.assertIn("CN=a\ufffd[2Jb, valid", err)

    def test_unknown_content_without_a_previous_file(self):
        status, _, err = self.fetch(CHANGED)
        self.assertEqual(status, 1)
        self.assertFalse(self.file.exists())
        self.assertIn("against no previous file:", err)
        self.assertEqual((err.count("added:"), err.count("removed:")), (2, 0))

    def test_accept(self):
        digest = hashlib.sha256(CHANGED).hexdigest()
        status, _, err = self.fetch(CHANGED, "--accept", "00" * 32)
        self.assertEqual(status, 1)
        self.assertIn("--accept names another content", err)
        self.assertFalse(self.file.exists())
        status, out, _ = self.fetch(CHANGED, "--accept", digest.upper())
        self.assertEqual(status, 0)
        self.assertIn("accepted by --accept", out)
        self.assertEqual(self.file.read_bytes(), CHANGED)

    def test_content_that_is_no_bundle(self):
        for content in (b"", b"<html>not here</html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
            with self.subTest(content):
                status, _, err = self.fetch(content, "--accept", hashlib.sha256(content).hexdigest())
                self.assertEqual(status, 1)
                self.assertIn("no PEM certificates", err)
                self.assertFalse(self.file.exists())

    def test_a_local_file_that_is_missing(self):
        status, _, err = run("fetch-ca", self.file, "--from", self.local)
        self.assertEqual(status, 1)
        self.assertIn("local.crt", err)

    def test_engineering_is_another_bundle(self):
        status, _, err = self.fetch(KNOWN, "--eng")
        self.assertEqual(status, 1)
        self.assertIn("eng_ca.crt", err)


class AppendTests(BundleCase):
    """An authority of one's own stays; Tesla's are added."""

    def append(self, *arguments):
        self.local.write_bytes(KNOWN)
        return run("fetch-ca", self.file, "--from", self.local, "--append", *arguments)

    def test_existing_content_is_kept_byte_for_byte(self):
        own = b"# ours\r\n" + THREE.replace(b"\n", b"\r\n").rstrip()
        self.file.write_bytes(own)
        self.file.chmod(0o640)
        status, out, err = self.append()
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(self.file.read_bytes(), own + b"\n" + KNOWN)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o640)
        self.assertIn(f"added 2 to {self.file}, which keeps its 1 certificate:", out)
        self.assertIn("CN=One CA", out)
        self.assertEqual(sorted(file.name for file in self.file.parent.iterdir()), ["ca.crt", "local.crt"])

    def test_twice_is_once(self):
        self.file.write_bytes(THREE)
        self.append()
        before, inode = self.file.read_bytes(), self.file.stat().st_ino
        status, out, _ = self.append()
        self.assertEqual((status, self.file.read_bytes(), self.file.stat().st_ino), (0, before, inode))
        self.assertIn("has all of them already, among 3 certificates: nothing was written", out)

    def test_only_missing_authorities_are_added(self):
        self.file.write_bytes(TWO + THREE)
        _, out, _ = self.append()
        self.assertEqual(self.file.read_bytes(), TWO + THREE + ONE)
        self.assertIn("added 1 to", out)

    def test_a_file_that_is_not_there_or_empty(self):
        for content in (None, b"", b"\n"):
            with self.subTest(content=content):
                self.file.unlink(missing_ok=True)
                if content is not None:
                    self.file.write_bytes(content)
                self.assertEqual(self.append()[0], 0)
                self.assertEqual(self.file.read_bytes(), (content or b"") + KNOWN)

    def test_a_block_that_cannot_be_read_stays(self):
        own = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + THREE
        self.file.write_bytes(own)
        status, out, _ = self.append()
        self.assertEqual((status, self.file.read_bytes()), (0, own + KNOWN))
        self.assertIn("blocks that cannot be read as certificates: 1;", out)

    def test_another_kind_of_file_is_left_alone(self):
        for own in (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"{}"):
            with self.subTest(own=own):
                self.file.write_bytes(own)
                status, out, err = self.append()
                self.assertEqual((status, out, self.file.read_bytes()), (1, "", own))
                self.assertIn("holds no certificate", err)

    def test_a_link_stays_a_link(self):
        target = self.file.with_name("target.crt")
        target.write_bytes(THREE)
        self.file.symlink_to(target)
        self.assertEqual(self.append()[0], 0)
        self.assertTrue(self.file.is_symlink())
        self.assertEqual(target.read_bytes(), THREE + KNOWN)

    def test_unknown_content_is_not_appended(self):
        self.file.write_bytes(THREE)
        self.local.write_bytes(CHANGED)
        status, _, err = run("fetch-ca", self.file, "--from", self.local, "--append")
        self.assertEqual((status, self.file.read_bytes()), (1, THREE))
        self.assertNotIn("removed:", err)


class PublishedTests(TestCase):
    def test_urls_and_digests(self):
        for engineering, name, digest in ((False, "prod_ca.crt", "c572d41d"), (True, "eng_ca.crt", "6b9d2839")):
            bundle = ca_bundle.published(engineering=engineering)
            with self.subTest(name):
                self.assertTrue(bundle.url.startswith("https://") and bundle.url.endswith("/" + name))
                self.assertEqual((bundle.sha256[:8], len(bundle.sha256)), (digest, 64))


class DownloadTests(BundleCase):
    def setUp(self):
        super().setUp()
        server = HTTPServer(("127.0.0.1", 0), Site)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        self.site = f"http://127.0.0.1:{server.server_port}"

    def test_download(self):
        for path in ("/bundle", "/moved"):
            with self.subTest(path):
                self.file.unlink(missing_ok=True)
                status, _, err = run("fetch-ca", self.file, "--url", self.site + path)
                self.assertEqual((status, err), (0, ""))
                self.assertEqual(self.file.read_bytes(), KNOWN)

    def test_downloads_that_do_not_come(self):
        for path, why in (
            ("/missing", "404"),
            ("/huge", "larger than"),
            ("/away", "https"),
            ("/file", "file:///etc/hostname"),
        ):
            with self.subTest(path):
                status, _, err = run("fetch-ca", self.file, "--url", self.site + path)
                self.assertEqual(status, 1)
                self.assertIn(why, err)
                self.assertFalse(self.file.exists())

    def test_only_https_beyond_this_machine(self):
        for url in ("http://example.com/ca.crt", "file:///etc/hostname", "ftp://localhost/x", "prod_ca.crt"):
            with self.subTest(url):
                status, _, err = run("fetch-ca", self.file, "--url", url)
                self.assertEqual(status, 1)
                self.assertIn("https", err)
