"""Reasons why an address cannot be listened on, with their remedies."""

import errno
import os
import socket
import tempfile
from pathlib import Path
from unittest import TestCase
from unittest.mock import patch

from fleetgw.app.config.listeners import ListeningAddress
from fleetgw.app.doctor.host import _port_finding
from fleetgw.app.service import listening_errors
from fleetgw.app.service.listening_errors import explain
from fleetgw.domain.ports import Verdict


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class ExplainTests(TestCase):
    def test_each_error_has_a_text_of_its_own(self) -> None:
        for port, number, what, fix in (
            (443, errno.EADDRINUSE, "is taken", "ss -ltnp 'sport = :443'"),
            (443, errno.EACCES, "is a port below 1024", "CAP_NET_BIND_SERVICE"),
            (443, errno.EPERM, "no right", "choose a port from 1024 on"),
            (8443, errno.EACCES, "is forbidden to this process", "SELinux"),
            (8443, errno.EADDRNOTAVAIL, "is no address of this machine", "name an address of this machine"),
            (8443, errno.EAFNOSUPPORT, "IPv6", "IPv4"),
            (8443, errno.EMFILE, "no file descriptor", "LimitNOFILE"),
            (8443, errno.ENOMEM, "cannot be listened on", "free port"),
        ):
            with self.subTest(port=port, number=number), patch.object(listening_errors, "unprivileged_from", lambda: 1024):
                reason = explain(port, error(number))
                self.assertIn(what, reason.what)
                self.assertIn(os.strerror(number), reason.what)
                self.assertIn(fix, reason.fix)

    def test_the_remedy_of_a_missing_permission_is_no_free_port(self) -> None:
        with patch.object(listening_errors, "unprivileged_from", lambda: 1024):
            self.assertNotIn("free", explain(443, error(errno.EACCES)).fix)

    def test_a_name_that_cannot_be_resolved(self) -> None:
        reason = explain(443, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        self.assertIn("cannot be resolved (Name or service not known)", reason.what)

    def test_the_first_unprivileged_port_is_the_kernels(self) -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            patch.object(listening_errors, "_UNPRIVILEGED_FROM", Path(folder, "x")),
        ):
            self.assertEqual(listening_errors.unprivileged_from(), 1024)
            Path(folder, "x").write_text("80\n")
            self.assertEqual(listening_errors.unprivileged_from(), 80)
            self.assertIn("SELinux", explain(443, error(errno.EACCES)).fix)


class DoctorTests(TestCase):
    def test_the_doctor_gives_the_same_reason(self) -> None:
        with (
            patch.object(listening_errors, "unprivileged_from", lambda: 1024),
            patch.object(socket.socket, "bind", side_effect=error(errno.EACCES)),
        ):
            finding = _port_finding(ListeningAddress("port", "127.0.0.1", 443), running=False)
        self.assertEqual(finding.verdict, Verdict.WILL_NOT_WORK)
        self.assertRegex(finding.what, "^port 127.0.0.1:443 is a port below 1024")
        self.assertIn("CAP_NET_BIND_SERVICE", finding.fix)
