"""Retention: runs leave with all that only they need: records, what they made, logs; environments by age."""

from __future__ import annotations

import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from penstock.artifacts import ArtifactError, ArtifactStore, path_of, scheme_of
from penstock.errors import PenstockError
from penstock.execution.environments.cache import CachedEnvironment
from penstock.execution.failpoints import failpoint
from penstock.execution.process.attempt_folder import AttemptFolder
from penstock.execution.provenance import spellings
from penstock.execution.session import place_of_run
from penstock.execution.workspace import Workspace
from penstock.model import State
from penstock.store import Footprint, Removal, Rule

PAGE = 1000
"""Task records, or contents, between two commits."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go: `runs`, newest first, and `environments`. `kept` says why others of the rule stay."""

    runs: tuple[Footprint, ...]
    kept: Mapping[str, str] = field(default_factory=dict[str, str])
    environments: tuple[CachedEnvironment, ...] = ()


@dataclass(slots=True)
class Removed:
    """What is gone, with its recorded bytes; `kept` says why others stay. The content of `failed` could not
    be deleted yet, that of `shared` not wholly: other runs imported some.
    """

    runs: int = 0
    tasks: int = 0
    artifacts: int = 0
    size: int = 0
    environments: int = 0
    kept: dict[str, str] = field(default_factory=dict[str, str])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    shared: list[str] = field(default_factory=list[str])


class Retention:
    """`tell` hears a few words now and then of how far it has come."""

    def __init__(self, workspace: Workspace, tell: Callable[[str], None] = lambda text: None) -> None:
        self._workspace = workspace
        self._store = workspace.store
        self._tell = tell

    def plan(self, rule: Rule, unused: float | None = None) -> Plan:
        """What `apply` would remove: runs by the rule, and environments not used for `unused` seconds.

        Raises NotFoundError for an experiment or a pipeline that is not recorded.
        """
        if rule.experiment is not None:
            self._store.experiments.get(rule.experiment, rule.namespace)
        if rule.pipeline is not None:
            self._store.pipelines.get(rule.pipeline, rule.namespace)
        found = self.plan_runs(self._store.removals.choose(rule))
        if unused is None:
            return found
        latest = time.time() - unused
        every = self._workspace.environments().list()
        old = tuple(one for one in every if one.last_used <= latest and not one.in_use)
        return Plan(found.runs, found.kept, old)

    def plan_runs(self, run_ids: Sequence[str]) -> Plan:
        verdicts = self._store.removals.weigh(run_ids)
        footprints = self._store.removals.footprints(verdicts.removable)
        return Plan(tuple(footprints.values()), verdicts.kept)

    def apply(self, plan: Plan, unused: float | None = None) -> Removed:
        """Remove what is planned and may still go, and finish what was begun and cut short before."""
        removed = Removed(kept=dict(plan.kept))
        self._purge(removed)
        left: list[Footprint] = []
        for page in _pages(plan.runs):
            left.extend(self._mark(page, removed))
            self._purge(removed)
        if left:
            # Of runs that have outputs of each other, each waits for the other one.
            self._mark(left, removed)
            self._purge(removed)
        self._delete(removed)
        if unused is not None:
            removed.environments = len(self._workspace.environments().prune(unused))
        return removed

    def _mark(self, page: Sequence[Footprint], removed: Removed) -> list[Footprint]:
        """Those of the page that have to stay for now."""
        sizes = {one.run_id: one.size for one in page}
        verdicts = self._store.repeat(lambda: self._store.removals.mark(list(sizes), sizes))
        failpoint("removal.marked")
        removed.runs += len(verdicts.removable)
        removed.kept = {
            **{one: why for one, why in removed.kept.items() if one not in verdicts.removable},
            **verdicts.kept,
        }
        return [one for one in page if one.run_id in verdicts.kept]

    def _purge(self, removed: Removed) -> None:
        while (page := self._store.repeat(self._store.removals.purge)) is not None:
            failpoint("removal.purged")
            removed.tasks += page.tasks
            removed.artifacts += page.artifacts
            self._tell(f"{removed.runs} runs with {removed.tasks} tasks removed")

    def _delete(self, removed: Removed) -> None:
        """What the runs made, and their logs: a page, and then the commit that says so."""
        given = _arguments_in_use(self._workspace)
        away: dict[str, str] = {}
        last = ""
        while page := self._store.removals.contents(PAGE, last):
            last = page[-1].run_id
            done: list[str] = []
            for one in page:
                try:
                    if one.pipeline_root in away:
                        raise ArtifactError(away[one.pipeline_root])
                    if self._delete_content(one, given):
                        done.append(one.run_id)
                        removed.size += one.size
                    else:
                        removed.shared.append(one.run_id)
                except (PenstockError, OSError) as error:
                    removed.failed[one.run_id] = str(error)
                    self._store.removals.fail(one.run_id, str(error))
                    if scheme_of(one.pipeline_root) != "file":
                        # It has been waited for; that once is enough.
                        away[one.pipeline_root] = str(error)
                failpoint("removal.deleted")
            self._store.removals.finish(done)
            failpoint("removal.finished")
            self._tell(f"content of {last} and those before it deleted")

    def _delete_content(self, removal: Removal, given: Sequence[str]) -> bool:
        """False while something else refers to a part of it, which then stays. Doing it again is harmless."""
        folder = AttemptFolder.of(self._workspace.settings.home, removal.run_id, "any").path.parent
        _remove_folder(folder)
        if not removal.pipeline_root:
            return True
        place = place_of_run(removal.pipeline_root, removal.pipeline, removal.run_id)
        store = self._workspace.artifact_store(place)
        forms = spellings(place)
        used = {*self._store.removals.referred(forms), *(uri for uri in given if _within(uri, forms))}
        if used:
            kept = [form for uri in used for form in spellings(uri)]
            for uri in list(store.list(place)):
                if not _within(uri, kept):
                    _delete(store, uri)
            return False
        if removal.size and scheme_of(place) == "file":
            root = path_of(removal.pipeline_root)
            if not root.is_dir():
                raise ArtifactError(f"the artifact folder '{root}' is not there; mount it, or make it again")
        _delete(store, place)
        return True


def _pages(many: Sequence[Footprint]) -> Iterator[list[Footprint]]:
    """Runs together that have a page of tasks, or one that alone has more."""
    page: list[Footprint] = []
    size = 0
    for one in many:
        if page and (size + one.tasks > PAGE or len(page) == PAGE):
            yield page
            page, size = [], 0
        page.append(one)
        size += one.tasks
    if page:
        yield page


def _arguments_in_use(workspace: Workspace) -> list[str]:
    """Texts that runs which have not ended were given, and that may be the places of their inputs."""
    found: list[str] = []
    for state in (state for state in State if not state.ended):
        last: str | None = None
        while page := workspace.store.runs.list(state=state, storage_state=None, limit=500, before=last):
            last = page[-1].id
            found.extend(value for run in page for value in run.arguments.values() if isinstance(value, str))
    return found


def _within(uri: str, places: Sequence[str]) -> bool:
    return any(uri == place or uri.startswith(f"{place}/") for place in places)


def _delete(store: ArtifactStore, uri: str) -> None:
    while True:
        try:
            store.delete(uri)
            return
        except ArtifactError as error:
            # Another process may be deleting the same, and was quicker with a file.
            if not isinstance(error.__cause__, FileNotFoundError):
                raise


def _remove_folder(folder: Path) -> None:
    """Also what a task has made read-only. Raises OSError for what cannot be removed even so."""
    for _ in range(2):
        if not folder.exists():
            return
        with suppress(OSError):
            shutil.rmtree(folder)
            return
        for path in (folder, *folder.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                with suppress(OSError):
                    path.chmod(stat.S_IRWXU)
    shutil.rmtree(folder)
