"""What a person types to name a run, a task or an artifact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

import typer

from penstock.errors import InvalidInputError, NotFoundError
from penstock.execution.provenance import artifact_at, is_place
from penstock.execution.result import Output, OutputArtifact
from penstock.execution.session import Session, open_session
from penstock.execution.workspace import Workspace
from penstock.model import Component, Pipeline, State
from penstock.model import path as paths
from penstock.store import ArtifactRecord, RunRecord

RunName = Annotated[
    str,
    typer.Argument(metavar="RUN", help="The run's id, the end of it (`runs list`), its name, or `latest`."),
]
TaskPath = Annotated[
    str,
    typer.Argument(metavar="TASK", help="The task's path, such as for-loop-1[0]/train, or the end of it."),
]

LATEST = "latest"
SHORT = 8


def short(identity: str) -> str:
    """The end of an id, which is its random part; `find` takes it for the whole."""
    return identity[-SHORT:]


def find_run(workspace: Workspace, text: str) -> RunRecord:
    """By its id, a beginning or end of it, its name, or `latest`. Raises NotFoundError, InvalidInputError."""
    if text != LATEST:
        return workspace.store.runs.find(text)
    newest = workspace.store.runs.list(limit=1)
    if not newest:
        raise NotFoundError("there is no run yet; `penstock run FILE` makes one")
    return newest[0]


def read_state(text: str, *, ended: bool = False) -> State | None:
    """None for no text. Raises InvalidInputError for what is no state, or no end where one is asked for."""
    states = [state for state in State if state.ended or not ended]
    if not text:
        return None
    if text.upper() not in states:
        kind = "end of a run; runs end" if ended else "run state; states are"
        raise InvalidInputError(f"'{text}' is no {kind} {', '.join(states)}")
    return State(text.upper())


def find_task(session: Session, text: str) -> str:
    """The path of a task by the whole of it, or by its end when only one task fits.

    Raises NotFoundError, listing the tasks there are, and InvalidInputError when several fit.
    """
    recorded = [record.path for record in session.ledger.records() if record.path]
    known = list(dict.fromkeys([*recorded, *_static(session.pipeline, session.pipeline.root, "")]))
    if text in known or text == "":
        return text
    fitting = [path for path in known if path.endswith(f"/{text}")]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InvalidInputError(f"'{text}' fits several tasks: {_listed(fitting)}; give the whole path")
    if _is_place(session, text):
        return text
    raise NotFoundError(f"run {session.run.id} has no task '{text}'; its tasks are {_listed(known)}")


def find_artifact(workspace: Workspace, text: str) -> ArtifactRecord:
    """By its id, a beginning or end of it, its place, or RUN:TASK.OUTPUT.

    Raises NotFoundError, InvalidInputError.
    """
    if is_place(text):
        return artifact_at(workspace.store, text)
    run_text, colon, name = text.rpartition(":")
    if not colon:
        return workspace.store.artifacts.find(text)
    run = find_run(workspace, run_text)
    result = workspace.result(run.id)
    nothing: Mapping[str, Output] = {}
    task, dot, output = name.rpartition(".")
    if dot:
        path = find_task(open_session(workspace.store, run.id), task)
        task_result = result.tasks.get(path)
        where, outputs = f"task '{path}'", task_result.outputs if task_result is not None else nothing
    else:
        where, outputs = "the run", result.outputs
    found = list(_artifacts(outputs.get(output)))
    if len(found) == 1:
        return workspace.store.artifacts.get(found[0].id)
    if found:
        ids = _listed(one.id for one in found)
        raise InvalidInputError(f"'{text}' is {len(found)} artifacts: {ids}; give the id of one")
    names = [name for name, value in outputs.items() if any(_artifacts(value))]
    raise NotFoundError(f"{where} has no artifact '{output}'; it has {_listed(names) or 'none'}")


def _artifacts(value: Output) -> Iterator[OutputArtifact]:
    many: Sequence[Output] = value if isinstance(value, list) else [value]
    for one in many:
        if isinstance(one, OutputArtifact):
            yield one


def _static(pipeline: Pipeline, component: Component, above: str) -> Iterator[str]:
    """Paths of the tasks that are there without a record, outside of loops: in a loop they have an index."""
    for task in component.dag.tasks.values() if component.dag is not None else ():
        path = paths.child(above, task.name)
        yield path
        if task.loop is None:
            yield from _static(pipeline, pipeline.component_of(task), path)


def _is_place(session: Session, path: str) -> bool:
    try:
        session.ledger.place(path)
    except (KeyError, AttributeError):
        return False
    return True


def _listed(names: Iterable[str], limit: int = 10) -> str:
    found = list(names)
    return ", ".join(found[:limit]) + (f" and {len(found) - limit} more" if len(found) > limit else "")
