"""What becomes of a task when an attempt of it has ended."""

from __future__ import annotations

from dataclasses import replace

from penstock.execution.manifest import Outcome, OutputManifest
from penstock.model import Reason, State, TaskRun, Values
from penstock.planner.ledger import Ledger
from penstock.planner.settle import is_cut_short, may_retry

_HASTY_LOSSES = 3
"""So many lost attempts of a task are made again at once."""


def after_attempt(
    ledger: Ledger, record: TaskRun, manifest: OutputManifest, outputs: Values, now: float, retry: bool | None
) -> TaskRun:
    """The record after an attempt: ended, or PENDING again (for a retry, or the attempt was lost).

    `outputs` are those of a success, `now` is in seconds since the epoch. `retry` is what a scheduler that
    retries by itself will do about a failure; None where the task's own policy counts.
    """
    # A pod's times are whole seconds: it may seem to have ended before its task started.
    now = max(manifest.ended_at or now, record.started_at or 0.0)
    base = replace(record, reason=manifest.reason, error=manifest.error, ended_at=now, retry_at=None)
    match manifest.outcome:
        case Outcome.SUCCEEDED:
            return replace(base, state=State.SUCCEEDED, reason=None, outputs=outputs)
        case Outcome.CANCELED if ledger.canceled:
            return replace(base, state=State.CANCELED, reason=Reason.CANCELED)
        case Outcome.CANCELED | Outcome.LOST:
            # Nobody canceled the run: an engine that gave up stopped it, or somebody deleted its pod.
            if ledger.canceled:
                return replace(base, state=State.CANCELED, reason=Reason.LOST, ended_at=None)
            pause = _pause_after_loss(record.attempts - record.retries) if retry is None else 0.0
            retry_at = now + pause if pause else None
            return replace(base, state=State.PENDING, reason=Reason.LOST, ended_at=None, retry_at=retry_at)
        case Outcome.FAILED:
            return _failed(ledger, base, now, retry)


def _failed(ledger: Ledger, base: TaskRun, now: float, retry: bool | None) -> TaskRun:
    failures = base.retries + 1
    if retry is None:
        delay = may_retry(ledger, base.path, failures)
    else:
        delay = 0.0 if retry and not ledger.canceled else None
    if delay is not None:
        due = now + delay if retry is None else None
        return replace(base, state=State.PENDING, retries=failures, retry_at=due, ended_at=None)
    if is_cut_short(ledger, base.path, failures):
        return replace(base, state=State.CANCELED, reason=Reason.CANCELED)
    return replace(base, state=State.FAILED)


def _pause_after_loss(losses: int) -> float:
    """Seconds until a lost attempt is made again: where all are lost, that does not go on in haste."""
    return 0.0 if losses <= _HASTY_LOSSES else min(60.0, 5.0 * 2.0 ** (losses - _HASTY_LOSSES - 1))
