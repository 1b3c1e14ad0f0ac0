"""What this process says of itself holds no secret."""

from __future__ import annotations

import logging

import pytest

from penstock.execution.secrets.known import KnownSecrets


def test_what_was_resolved_and_what_is_our_own_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_DATABASE_URL", "postgresql://ann:s3cr3t@db/x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
    monkeypatch.setenv("SOME_TOKEN", "of somebody else")
    known = KnownSecrets()
    assert known.mask("s3cr3t aws-secret of somebody else hunter2") == "*** *** of somebody else hunter2"
    known.add((b"hunter2",))
    assert known.mask("hunter2") == "***"


def test_a_log_record_is_masked_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    known = KnownSecrets()
    known.add((b"hunter2",))
    logger = logging.getLogger("penstock.test_known")
    logger.addFilter(known)
    try:
        raise ValueError("it is hunter2")
    except ValueError:
        logger.exception("failed with %s", "hunter2")
    assert "failed with ***" in caplog.text and "ValueError: it is ***" in caplog.text
    assert "hunter2" not in caplog.text
