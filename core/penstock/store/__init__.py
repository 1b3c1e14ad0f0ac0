"""The record of everything: what ran, what runs, what came of it.

    store = Store.open("sqlite:///path/to/penstock.db")
    with store.transaction():                       # one commit; every method joins it, all or nothing
        version_id = store.pipelines.save(pipeline)
        run = store.runs.create(new_id(), version_id=version_id, name="…", arguments={…})

    namespaces   ensure, list
    experiments  ensure, get, list
    pipelines    save -> version id, document, version, versions, get, list
    runs         create, get, find (what a person types), list, many, transition, reopen -> generation,
                 request_cancel, cancel_requested, store_away, delete
    leases       claim -> token, take_over -> token, renew, release: which engine drives a run
    tasks        load, page, find, get, children, record, reopen, remove, history
    attempts     claim, describe, finish, get, live, list
    launches     started, waits, sight, open, count, forget: attempts that nobody waits for
    agenda       put, get, wake, begin, extend, settle, fail, late, remove: runs that workers drive
    leaders      claim, holder, resign: what one process at a time does
    executions   record -> id (with artifacts and lineage edges), get, list
    artifacts    register, get, many, list, find_identical, mark_deleted, pin, unpin, pins
    cache        find: hits, newest first; hold
    lineage      upstream, downstream, stale
    removals     choose, weigh, mark, purge, contents, finish: the way of a run out of the record
    outbox       add, claim_batch, mark_delivered, mark_failed; of a standing message also offer, waiting,
                 take, keep, hand_back

Preparing a task is one transaction of `tasks.record` and `attempts.claim`; publishing is one of
`attempts.finish`, `executions.record` and `tasks.record`. State changes are compare-and-set (`transitions`):
a forbidden one raises IllegalTransitionError and records nothing. A `token` that was overtaken raises
LeaseError.

`Store` is loaded on first use, since SQLAlchemy takes its time; the records and `new_id` cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.store.ids import new_id
from penstock.store.records import (
    ArtifactRecord,
    ArtifactState,
    AttemptRecord,
    CachedOutputs,
    Direction,
    Edge,
    ExecutionRecord,
    ExecutionState,
    ExperimentRecord,
    Footprint,
    HistoryRecord,
    Lineage,
    Message,
    PipelineRecord,
    Purged,
    Removal,
    Rule,
    RunRecord,
    StorageState,
    Verdicts,
    VersionRecord,
    WaitingMessage,
)
from penstock.store.transitions import AttemptState

if TYPE_CHECKING:
    from penstock.store.store import Store

__all__ = [
    "ArtifactRecord",
    "ArtifactState",
    "AttemptRecord",
    "AttemptState",
    "CachedOutputs",
    "Direction",
    "Edge",
    "ExecutionRecord",
    "ExecutionState",
    "ExperimentRecord",
    "Footprint",
    "HistoryRecord",
    "Lineage",
    "Message",
    "PipelineRecord",
    "Purged",
    "Removal",
    "Rule",
    "RunRecord",
    "StorageState",
    "Store",
    "Verdicts",
    "VersionRecord",
    "WaitingMessage",
    "new_id",
]


def __getattr__(name: str) -> object:
    if name == "Store":
        from penstock.store.store import Store

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
