"""A workspace: everything one process needs to run pipelines and to read what ran."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, cast

from penstock.artifacts import ArtifactError, ArtifactStore, path_of, scheme_of, uri_of
from penstock.errors import InvalidArgumentError, InvalidInputError, LeaseError, PenstockError
from penstock.execution.contents import Contents
from penstock.execution.embedded import ChangeWatcher, EmbeddedEngine, LineWatcher
from penstock.execution.engine import EMBEDDED, open_engine
from penstock.execution.environments.cache import Environments
from penstock.execution.following import follow, print_lines
from penstock.execution.launcher import Launcher, LauncherRequest, open_launcher
from penstock.execution.lease import LEASE_SECONDS
from penstock.execution.local_control import LocalControl
from penstock.execution.options import RunOptions
from penstock.execution.owner import Owner, is_dead
from penstock.execution.process.launcher import ProcessLauncher
from penstock.execution.result import Run, read_outputs, read_task
from penstock.execution.secrets.need import pipeline_needs
from penstock.execution.secrets.resolver import Secrets
from penstock.execution.session import open_session
from penstock.execution.settings import Settings
from penstock.execution.task_credentials import TaskCredentials
from penstock.execution.tracker import GROUP, Tracker
from penstock.ir import resolve_arguments
from penstock.model import ROOT, Json, Pipeline, State
from penstock.planner.ledger import Ledger
from penstock.store import RunRecord, Store, new_id

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Workspace:
    """Opened on settings; what it holds is made on first use and closed with it."""

    settings: Settings
    _store: Store | None = field(default=None, init=False)
    _owner: Owner | None = field(default=None, init=False)
    _tracker: Tracker | None = field(default=None, init=False)
    _contents: Contents | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._tracker = None
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._owner is not None:
            self._owner.close()
            self._owner = None

    @property
    def store(self) -> Store:
        """Raises InvalidInputError when the home or the database cannot be used."""
        if self._store is None:
            new = not os.path.exists(self.settings.home)
            self.make_home()
            try:
                self._store = Store.open(self.settings.database_url)
            except PenstockError:
                if new:
                    with suppress(OSError):
                        self.settings.home.rmdir()
                raise
        return self._store

    @property
    def owner(self) -> Owner:
        if self._owner is None:
            self._owner = Owner(self.engines)
        return self._owner

    @property
    def engines(self) -> Path:
        return self.settings.home / "engines"

    def make_home(self) -> None:
        home = self.settings.home
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputError(
                f"the penstock home {home} cannot be made: {error.strerror}; "
                "set PENSTOCK_HOME to a folder you may write"
            ) from error
        if not os.access(home, os.W_OK | os.X_OK):
            raise InvalidInputError(
                f"the penstock home {home} is not writable; set PENSTOCK_HOME to a folder you may write"
            )

    def tracker(self, on_warning: Callable[[str], None]) -> Tracker | None:
        """What records runs beside the store, where the settings ask for it."""
        if self._tracker is None and self.settings.mlflow_tracking_uri:
            found = [one for one in entry_points(group=GROUP) if one.name == "mlflow"]
            if not found:
                on_warning(
                    "MLFLOW_TRACKING_URI is set, and this installation of penstock has nothing that records "
                    "runs in MLflow; install it again"
                )
                return None
            self._tracker = cast("TrackerFactory", found[0].load())(self)
        return self._tracker

    @property
    def secrets(self) -> Secrets:
        """What tasks that run on this machine are given."""
        return Secrets(self.settings.secrets, self.settings.home / "secrets")

    @property
    def variables(self) -> dict[str, str]:
        """This process's environment without the secrets in it, for programs that are no tasks."""
        hidden = self.secrets.variables
        return {name: value for name, value in os.environ.items() if name not in hidden}

    def environments(self) -> Environments:
        return Environments(self.settings.environments, variables=self.variables)

    @property
    def contents(self) -> Contents:
        """Of artifacts. Good also when the workspace is closed."""
        if self._contents is None:
            self._contents = Contents(self.settings)
        return self._contents

    def artifact_store(self, uri: str) -> ArtifactStore:
        """Raises ArtifactError where nothing here can serve it."""
        return self.contents.store(uri)

    def launcher(self, options: RunOptions, pipeline_root: str = "") -> Launcher:
        """Raises InvalidInputError for a launcher or pipeline root that nothing here can serve."""
        pipeline_root = pipeline_root or self.settings.pipeline_root
        try:
            store = self.artifact_store(pipeline_root)
        except ArtifactError as error:
            raise InvalidInputError(str(error)) from error
        name = options.launcher or self.settings.launcher
        if name != ProcessLauncher.name:
            return open_launcher(LauncherRequest(name, self.settings, options, store, pipeline_root))
        return ProcessLauncher(
            self.settings.home,
            store,
            self.environments(),
            strict_images=options.strict_images or self.settings.strict_images,
            private_tmp=self.settings.private_tmp,
            pass_env=self.settings.pass_env,
            secrets=self.secrets,
            stores=self.contents.stores,
            copies=self.contents.copies,
            credentials=TaskCredentials(self.settings.s3_task_credentials, self.settings.s3_task_role),
        )

    def submit(
        self,
        pipeline: Pipeline,
        arguments: Mapping[str, Json],
        *,
        name: str = "",
        experiment: str = "Default",
        options: RunOptions = RunOptions(),
        run_id: str = "",
        on_warning: Callable[[str], None] = logger.warning,
    ) -> RunRecord:
        """Record a new run, PENDING.

        Raises InvalidInputError for arguments that do not fit, settings that no run can be driven with, or a
        secret that is not there and that a task is certain to need, before anything is written.
        """
        places = _artifact_arguments(pipeline, arguments)
        parameters = {name: value for name, value in arguments.items() if name not in places}
        resolved = {**resolve_arguments(pipeline, parameters), **places}
        root = self.contents.root_of(pipeline, on_warning)
        options = self._checked(options, root)
        if not options.engine:
            with closing(self.launcher(options, root)) as launcher:
                if isinstance(launcher, ProcessLauncher):
                    launcher.secrets.check(pipeline_needs(pipeline, resolved))
        run_id = run_id or new_id()
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H-%M-%S")
        store = self.store

        def record() -> RunRecord:
            with store.transaction():
                version_id = store.pipelines.save(pipeline)
                run = store.runs.create(
                    run_id,
                    version_id=version_id,
                    name=name or f"{pipeline.name} {stamp}",
                    resource_name=f"{_resource_prefix(pipeline.name)}-{run_id[-8:]}",
                    arguments=resolved,
                    pipeline_root=root,
                    options=options.to_json(),
                    experiment=experiment,
                )
                if options.engine:
                    store.agenda.put(run.id, options.engine, options.queue, options.priority)
                return run

        return store.repeat(record)

    def drive(
        self,
        run_id: str,
        *,
        on_change: ChangeWatcher | None = None,
        on_line: LineWatcher | None = None,
        on_notice: Callable[[str], None] = logger.warning,
        on_warning: Callable[[str], None] = logger.warning,
    ) -> State:
        """Run, or resume, a recorded run to its end with the embedded engine, or follow it to its end where
        another engine drives it.

        `on_notice` hears when the database goes away and when it is back. `on_warning` gets a sentence on
        what concerns the run and changes nothing about it.

        Raises LeaseError, naming the owner, when a living engine has the run.
        """
        run = self.store.repeat(lambda: self.store.runs.get(run_id))
        if run.state.ended:
            return run.state
        options = RunOptions.from_json(run.options)
        if options.engine:
            return self._follow(run, options, on_change, on_line)
        launcher = self.launcher(options, run.pipeline_root)
        if skewed := self.store.repeat(self.store.skew_warning):
            on_warning(skewed)
        self._take_from_the_dead(run)
        tracker = self.tracker(on_warning)
        control = LocalControl(
            self.store, launcher, self.contents.readable, self.owner.name, exclusive=True, tracker=tracker
        )
        engine = EmbeddedEngine(
            self.store,
            control,
            launcher,
            self.owner.name,
            parallel=options.parallel or self.settings.parallel,
            on_change=on_change,
            on_line=on_line,
            on_notice=on_notice,
            tracker=tracker,
        )
        following = tracker.following(run_id, on_warning) if tracker is not None else nullcontext()
        with closing(launcher), following:
            if not run.revision:
                control.look(run_id)
            elif isinstance(launcher, ProcessLauncher):
                launcher.sweep(run_id)
            return engine.run(run_id)

    def result(self, run_id: str) -> Run:
        """The run as it stands. Raises NotFoundError."""
        session = self.store.repeat(lambda: open_session(self.store, run_id))
        return Run(
            id=session.run.id,
            name=session.run.name,
            state=session.run.state,
            error=session.run.error,
            outputs=read_outputs(
                session.run.outputs, artifact_lists(session.ledger, ROOT), self.contents.path
            ),
            tasks={
                record.path: read_task(
                    record, artifact_lists(session.ledger, record.path), self.contents.path
                )
                for record in session.ledger.records()
                if record.path != ROOT
            },
        )

    def is_driven(self, run: RunRecord) -> bool:
        """Whether an engine that may still live has the run."""
        if self.store.agenda.get(run.id) is not None:
            return True
        if run.owner is None or is_dead(run.owner, self.engines):
            return False
        holder = self.store.leases.holder(run.id)
        return holder is not None and holder[1] > 0

    def start(self, run: RunRecord) -> None:
        """Hand a recorded run to the engine that it was submitted for, if that is not the embedded one."""
        options = RunOptions.from_json(run.options)
        if options.engine and not run.state.ended:
            store = self.store
            store.repeat(lambda: store.agenda.put(run.id, options.engine, options.queue, options.priority))
            open_engine(options.engine, self).start(run)

    def _checked(self, options: RunOptions, pipeline_root: str) -> RunOptions:
        """With the engine that will drive the run, and its launcher. Raises InvalidInputError."""
        name = options.engine or self.settings.engine
        if name == EMBEDDED:
            return replace(options, engine="")
        engine = open_engine(name, self)
        chosen = self.settings.origins.get("launcher", "default") != "default"
        launcher = options.launcher or (self.settings.launcher if chosen else engine.launcher)
        engine.check(pipeline_root, launcher)
        return replace(options, engine=name, launcher=launcher)

    def _follow(
        self,
        run: RunRecord,
        options: RunOptions,
        on_change: ChangeWatcher | None,
        on_line: LineWatcher | None,
    ) -> State:
        self.start(run)
        if on_line is None:
            return follow(self.store, run.id, on_change)
        with closing(self.launcher(options, run.pipeline_root)) as launcher:
            return follow(self.store, run.id, on_change, print_lines(self.store, launcher, run.id, on_line))

    def _take_from_the_dead(self, run: RunRecord) -> None:
        if run.owner is not None and run.owner != self.owner.name and is_dead(run.owner, self.engines):
            # Whoever was quicker holds it now, as claiming it will tell.
            former = run.owner
            with suppress(LeaseError):
                self.store.repeat(
                    lambda: self.store.leases.take_over(run.id, self.owner.name, LEASE_SECONDS, former=former)
                )


TrackerFactory: TypeAlias = Callable[[Workspace], Tracker]


def artifact_lists(ledger: Ledger, path: str) -> frozenset[str]:
    """Outputs of the task at `path` that hold lists of artifacts: declared so, or collected by a loop."""
    place = ledger.place(path)
    declared = place.component.interface.output_artifacts
    if place.task is not None and place.task.loop is not None and not path.endswith("]"):
        return frozenset(declared)
    return frozenset(name for name, output in declared.items() if output.is_list)


def _artifact_arguments(pipeline: Pipeline, arguments: Mapping[str, Json]) -> dict[str, Json]:
    """Arguments for the pipeline's input artifacts, as URIs.

    KFP has no way to give these; here a path or URI will do.
    """
    found: dict[str, Json] = {}
    for name, spec in pipeline.root.interface.input_artifacts.items():
        place = arguments.get(name)
        if place is None:
            if not spec.optional:
                raise InvalidArgumentError(
                    f"pipeline '{pipeline.name}' needs the input artifact '{name}' ({spec.type.name}): "
                    f"give its path or URI as an argument, such as -p {name}=data/file"
                )
        elif not isinstance(place, str) or not place:
            raise InvalidArgumentError(f"argument '{name}' must be the path or URI of an artifact, as text")
        else:
            found[name] = place if scheme_of(place) != "file" else uri_of(_existing(place, name))
    return found


def _existing(place: str, argument: str) -> Path:
    """A path, or a `file://` URI, that leads somewhere."""
    try:
        path = path_of(place) if "://" in place else Path(place).absolute()
        if path.exists():
            return path
    except (ArtifactError, OSError) as error:
        raise InvalidArgumentError(f"argument '{argument}' names no artifact: {error}") from error
    raise InvalidArgumentError(f"argument '{argument}' names '{place}', which does not exist")


def _resource_prefix(name: str) -> str:
    """KFP names a run's Kubernetes resource after its pipeline."""
    return re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-") or "pipeline"
