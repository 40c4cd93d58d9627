# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts by mail, against a real mail server: what arrives, and that verify calls no refusal a delivery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alerts import serve
from ansible_collections.twisterlab.platform.plugins.module_utils import _monitoring as monitoring
from mailserver import Mailbox, certificate, listening

PASSWORD = """a b!c#d$e%f&g'h"i\\j`k@/:{{x}}"""  # noqa: S105 - of a server that lives for a second


def proven(start: Any, folder: Path, given: dict[str, Any], seconds: float, **more: Any) -> str:
    """The state of the only way of an alert."""
    mail = {"email_to": "a@lab.example, b@lab.example", "smtp_host": "127.0.0.1", **given}
    server = serve(start, folder, mail, **more)
    (check,) = monitoring.route(server, server.metrics, seconds, "lab")
    assert check.name == "alert route email"
    return check.state


def test_mail_arrives_at_everybody_without_an_account(start: Any, tmp_path: Path) -> None:
    mailbox = Mailbox()
    with listening(mailbox) as port:
        assert proven(start, tmp_path, {"smtp_port": port, "smtp_tls": False}, 30) == "ok"
    (recipients, message), *_ = mailbox.got
    assert recipients == ["a@lab.example", "b@lab.example"]
    assert message["From"] == "alertmanager@lab.example"
    assert message["Subject"] == f"[FIRING] {monitoring.ALERT} in lab"
    body = message.get_body(("html",))
    assert body is not None
    assert "nothing is wrong" in body.get_content()


def test_mail_arrives_with_an_account_and_the_password_travels_encrypted(start: Any, tmp_path: Path) -> None:
    mailbox, files = Mailbox(), certificate(tmp_path)
    given = {"smtp_user": "alerts", "email_from": "lab@lab.example"}
    with listening(mailbox, files, ("alerts", PASSWORD)) as port:
        state = proven(
            start, tmp_path, {**given, "smtp_port": port}, 30, trusted=files[0], alertmanager_smtp_password=PASSWORD
        )
    assert state == "ok"
    assert mailbox.got[0][1]["From"] == "lab@lab.example"


def test_mail_that_is_put_off_arrives_later(start: Any, tmp_path: Path) -> None:
    mailbox = Mailbox(greylists=2)
    with listening(mailbox) as port:
        assert proven(start, tmp_path, {"smtp_port": port, "smtp_tls": False}, 60) == "ok"
    assert mailbox.got


@pytest.mark.parametrize("fault", ["relay denied", "wrong password", "no STARTTLS", "unknown certificate"])
def test_a_server_that_refuses_took_nothing(fault: str, start: Any, tmp_path: Path) -> None:
    mailbox = Mailbox("554 5.7.1 Relay access denied" if fault == "relay denied" else "")
    files = certificate(tmp_path)
    account = ("alerts", PASSWORD) if fault == "wrong password" else ("", "")
    with listening(mailbox, None if fault == "no STARTTLS" else files, account) as port:
        given = {"smtp_port": port, "smtp_user": account[0]}
        trusted = None if fault == "unknown certificate" else files[0]
        assert proven(start, tmp_path, given, 6, trusted=trusted, alertmanager_smtp_password="another") == "failed"
    assert not mailbox.got
