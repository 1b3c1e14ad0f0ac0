"""Runs recorded in a real MLflow server."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.model import Json, JsonObject
from penstock.store import new_id
from penstock.tracking.entity import Entity, Status
from penstock.tracking.server import Server
from penstock.tracking.skinny import SkinnyTransport
from penstock.tracking.transport import RefusedError, UnavailableError
from tests.documents import TEXT, Group, Shell, constant, given, made_by, pipeline, retries, when, write
from tests.integration.penstock_process import Answer, Command
from tests.mlflow_records import Records
from tests.own_server import OwnMlflow
from tests.services import need

ENVIRONMENTS = Path(__file__).resolve().parents[2] / ".venvs" / "environments"
UNREACHABLE = re.compile("Failed to fetch|error sending request|dns error", re.IGNORECASE)

SEED = "inputs.parameter_values['seed']"

TRAIN = """
import json, os, sys
given = json.loads(sys.argv[1])["outputs"]
metadata = json.loads(sys.argv[2])
made = {}
for name, many in given["artifacts"].items():
    (one,) = many["artifacts"]
    os.makedirs(os.path.dirname(one["uri"]), exist_ok=True)
    with open(one["uri"].removeprefix("file://"), "w") as file:
        file.write(name)
    made[name] = {"artifacts": [{**one, "metadata": metadata.get(name, {})}]}
with open(given["outputFile"], "w") as file:
    json.dump({"artifacts": made}, file)
"""

INSTALL = """
if ! [ -x "$(command -v pip)" ]; then
    python3 -m ensurepip || python3 -m ensurepip --user || apt-get install python3-pip
fi

PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-warn-script-location 'PACK' && "$0" "$@"
""".replace("PACK", "mlflow-skinny==3.17.2")
"""As the SDK writes it."""


def train(
    name: str, made: Mapping[str, str], metadata: Mapping[str, Mapping[str, Json]], **fields: Any
) -> Shell:
    """A task that makes artifacts with this metadata, as an SDK component does."""
    return Shell(
        name,
        made=made,
        command=("python3", "-c", TRAIN),
        args=("{{$}}", json.dumps(metadata)),
        image="python:3.11-slim",
        **fields,
    )


@dataclass
class World:
    """One home and one experiment in MLflow at `uri`."""

    folder: Path
    uri: str
    experiment: str = field(default_factory=lambda: f"penstock-test-{new_id()}")

    @property
    def variables(self) -> dict[str, str]:
        return {"MLFLOW_TRACKING_URI": self.uri, "PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS)}

    @property
    def records(self) -> Records:
        return Records(self.uri, self.experiment)

    def penstock(self, *arguments: str, **variables: str) -> Answer:
        return Command(self.folder, self.folder / "home")(*arguments, **{**self.variables, **variables})

    def run(self, document: JsonObject, *arguments: str, **variables: str) -> Answer:
        file = write(document, self.folder / "pipeline.yaml")
        return self.penstock(
            "run", str(file), "--json", "--experiment", self.experiment, *arguments, **variables
        )

    def workspace(self) -> Workspace:
        environ = {**os.environ, **self.variables, "PENSTOCK_HOME": str(self.folder / "home")}
        return Workspace(load_settings(environ=environ, folder=self.folder))

    def last_run(self) -> str:
        with self.workspace() as workspace:
            return workspace.store.runs.list(limit=1)[0].id


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, need("mlflow"))
    yield made
    made.records.remove()


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnMlflow]:
    """Started by the first test that needs it up."""
    server = OwnMlflow(tmp_path_factory.mktemp("mlflow"))
    yield server
    server.stop()


def mlflow_id(records: Records, run_id: str) -> str:
    return records.tree(run_id)[0].info.run_id


@pytest.mark.service("mlflow")
def test_a_run_is_one_parent_with_a_nested_run_for_each_task_that_ran(world: World) -> None:
    document = pipeline(
        "tracked",
        train("prepare", {"data": "system.Dataset"}, {"data": {"rows": 3}}),
        Group(
            "for-loop-1",
            [
                train(
                    "train",
                    {"metrics": "system.Metrics"},
                    {"metrics": {"accuracy": 0.75, "classes": 3, "good": True, "kind": "linear"}},
                    inputs={"rate": (TEXT, given("item"))},
                )
            ],
            items=["low", "high"],
        ),
        Shell("use", artifacts={"data": made_by("prepare", "data")}, after=["prepare"], script='cat "$data"'),
        Shell(
            "never",
            more=when("inputs.parameter_values['seed'] == 'x'"),
            inputs={"seed": (TEXT, given("seed"))},
        ),
        inputs={"seed": TEXT},
    )
    run = world.run(document, "-p", "seed=7", "--name", "first").run

    assert run["state"] == "SUCCEEDED"
    parent, nested = world.records.tree(run["id"])
    assert set(nested) == {"prepare", "for-loop-1[0]/train", "for-loop-1[1]/train", "use"}
    assert (parent.info.run_name, parent.info.status, parent.data.params) == (
        "first",
        "FINISHED",
        {"seed": "7"},
    )
    assert (
        parent.data.tags.items()
        >= {
            "penstock.pipeline": "tracked",
            "penstock.state": "SUCCEEDED",
            "kfp.pipeline_run_id": run["id"],
        }.items()
    )
    one = nested["for-loop-1[1]/train"]
    assert (one.info.run_name, one.info.status) == ("for-loop-1[1]/train", "FINISHED")
    assert (one.data.params, one.data.metrics) == ({"rate": "high"}, {"accuracy": 0.75, "classes": 3})
    assert one.data.tags["penstock.attempt"] == "1" and one.data.tags["penstock.cached"] == "false"
    place = run["tasks"]["prepare"]["outputs"]["data"]["uri"]
    assert nested["prepare"].data.tags["penstock.output.data"] == place
    assert nested["use"].data.tags["penstock.input.data"] == place
    with world.workspace() as workspace:
        record = workspace.store.tasks.get(run["id"], "use")
        assert workspace.store.outbox.waiting("mlflow") == []
    assert record.started_at is not None and record.ended_at is not None
    assert nested["use"].info.start_time == int(record.started_at * 1000)
    assert nested["use"].info.end_time == int(record.ended_at * 1000)


@pytest.mark.service("mlflow")
def test_what_comes_from_the_cache_is_nested_too_with_its_metrics(world: World) -> None:
    document = pipeline(
        "cached",
        train("train", {"metrics": "system.Metrics"}, {"metrics": {"accuracy": 0.5}}, cached=True),
    )
    world.run(document)
    run = world.run(document).run

    _, nested = world.records.tree(run["id"])
    assert nested["train"].data.tags["penstock.cached"] == "true"
    assert (nested["train"].info.status, nested["train"].data.metrics) == ("FINISHED", {"accuracy": 0.5})


@pytest.mark.service("mlflow")
def test_attempts_share_one_nested_run_and_a_retried_run_goes_on_in_its_own(world: World) -> None:
    document = pipeline(
        "retried",
        Shell(
            "flaky",
            script='test -e "$mark" || { touch "$mark"; exit 1; }',
            inputs={"mark": (TEXT, constant(str(world.folder / "flaky")))},
            more=retries(1),
        ),
        Shell("doomed", script='test "$go" = yes', inputs={"go": (TEXT, given("go"))}),
        Shell("after", after=["doomed"]),
        inputs={"go": TEXT},
    )
    run = world.run(document, "-p", "go=no").run

    assert run["state"] == "FAILED"
    parent, nested = world.records.tree(run["id"])
    assert set(nested) == {"flaky", "doomed"}
    assert (nested["flaky"].info.status, nested["flaky"].data.tags["penstock.attempt"]) == ("FINISHED", "2")
    assert (parent.info.status, nested["doomed"].info.status) == ("FAILED", "FAILED")
    assert "exit code 1" in nested["doomed"].data.tags["penstock.error"]

    world.penstock("runs", "retry", run["id"], "-p", "go=yes")
    again, now = world.records.tree(run["id"])
    assert again.info.run_id == parent.info.run_id and set(now) == {"flaky", "doomed", "after"}
    assert {again.info.status, *(one.info.status for one in now.values())} == {"FINISHED"}
    assert now["doomed"].info.run_id == nested["doomed"].info.run_id
    assert now["doomed"].data.params == {"go": "no"}
    assert json.loads(now["doomed"].data.tags["penstock.changed_params"]) == {"go": "yes"}
    assert (now["doomed"].data.tags["penstock.generation"], now["doomed"].data.tags["penstock.error"]) == (
        "1",
        "",
    )


@pytest.mark.service("mlflow")
def test_what_a_tasks_own_code_logs_lands_in_its_nested_run(world: World) -> None:
    code = "import mlflow; mlflow.log_metric('loss', 0.25, step=3); mlflow.log_param('own', 'yes')"
    document = pipeline(
        "logging",
        Shell("log", command=("sh", "-c", INSTALL, "python3", "-c", code), image="python:3.11-slim"),
        Shell("quiet"),
    )
    answer = world.run(document)
    if UNREACHABLE.search(answer.out):
        pytest.skip("no package index can be reached")

    assert answer.run["state"] == "SUCCEEDED", answer.out
    _, nested = world.records.tree(answer.run["id"])
    assert (nested["log"].data.metrics, nested["log"].data.params) == ({"loss": 0.25}, {"own": "yes"})
    assert (nested["log"].info.status, nested["log"].data.tags["penstock.state"]) == ("FINISHED", "SUCCEEDED")
    assert len(world.records.all()) == 3


@pytest.mark.service("mlflow")
def test_a_model_that_asks_for_it_is_registered_once_with_where_it_came_from(world: World) -> None:
    name = f"model-{new_id()}"
    document = pipeline(
        "registering",
        train("prepare", {"data": "system.Dataset"}, {}, cached=True),
        train(
            "train",
            {"model": "system.Model", "other": "system.Model"},
            {"model": {"registered_model_name": name}},
            artifacts={"data": made_by("prepare", "data")},
            after=["prepare"],
            cached=True,
        ),
    )
    run = world.run(document).run
    world.run(document)
    world.penstock("tracking", "sync", run["id"])

    client = world.records.client
    (version,) = client.search_model_versions(f"name = '{name}'")
    _, nested = world.records.tree(run["id"])
    model = run["tasks"]["train"]["outputs"]["model"]
    assert version.run_id == nested["train"].info.run_id
    assert version.source == f"penstock:/artifacts/{model['id']}"
    assert (
        version.tags.items()
        >= {
            "penstock.artifact_id": model["id"],
            "penstock.uri": model["uri"],
            "penstock.run_id": run["id"],
            "penstock.task": "train",
            "penstock.input.data": run["tasks"]["prepare"]["outputs"]["data"]["id"],
        }.items()
    )
    client.delete_registered_model(name)
    kept = world.penstock("gc", "--keep-last", "0").out
    assert f"keeps run {run['id'][-8:]}: the registered model {name} refers to what it made" in kept


@pytest.mark.service("mlflow")
def test_what_mlflow_refuses_keeps_nothing_else_from_being_recorded(world: World) -> None:
    bad = {"model": {"registered_model_name": "no/such:name"}}
    document = pipeline("refused", train("train", {"model": "system.Model"}, bad), Shell("other"))
    answer = world.run(document)

    assert answer.run["state"] == "SUCCEEDED"
    assert answer.err.count("\n") == 1 and "MLflow has refused a part of the run" in answer.err
    parent, nested = world.records.tree(answer.run["id"])
    assert {parent.info.status, *(one.info.status for one in nested.values())} == {"FINISHED"}
    (row,) = json.loads(world.penstock("tracking", "status", "--json").out)["runs"]
    assert row["refused"].keys() == {"train"} and "no/such:name" in row["refused"]["train"]
    assert "nothing waits" in world.penstock("tracking", "sync").out


@pytest.mark.service("mlflow")
def test_a_deleted_experiment_costs_a_warning_and_its_records_wait(world: World) -> None:
    document = pipeline("exiled", Shell("one"))
    world.run(document)
    found = world.records.client.get_experiment_by_name(world.experiment)
    world.records.client.delete_experiment(found.experiment_id)

    answer = world.run(document)
    assert answer.run["state"] == "SUCCEEDED"
    assert answer.err.count("\n") == 1 and "is deleted in MLflow" in answer.err
    assert "is deleted in MLflow" in world.penstock("tracking", "status").out
    assert world.penstock("tracking", "sync").code == 1
    world.records.client.restore_experiment(found.experiment_id)
    assert world.penstock("tracking", "sync").code == 0
    assert set(world.records.tree(answer.run["id"])[1]) == {"one"}


KILLS = [
    "tracking.created:1",
    "tracking.created:2",
    "tracking.created:3",
    "tracking.delivered:1",
    "tracking.delivered:3",
]


@pytest.mark.service("mlflow")
@pytest.mark.parametrize("failpoint", KILLS)
@pytest.mark.parametrize("then", ["resume", "sync"])
def test_after_a_kill_between_delivering_and_marking_all_is_there_once(
    world: World, failpoint: str, then: str
) -> None:
    metrics = {"metrics": {"accuracy": 0.75}}
    document = pipeline(
        "killed",
        train("first", {"metrics": "system.Metrics"}, metrics),
        train("second", {"metrics": "system.Metrics"}, metrics, after=["first"]),
    )
    assert world.run(document, PENSTOCK_FAILPOINT=failpoint).code == -signal.SIGKILL
    run_id = world.last_run()
    if then == "sync":
        assert world.penstock("tracking", "sync").code == 0
    with world.workspace() as workspace:
        ended = workspace.store.runs.get(run_id).state.ended
    if not ended:
        assert world.penstock("runs", "resume", run_id).code == 0
    elif then == "resume":
        assert world.penstock("tracking", "sync").code == 0

    parent, nested = world.records.tree(run_id)
    assert set(nested) == {"first", "second"}
    assert {parent.info.status, *(one.info.status for one in nested.values())} == {"FINISHED"}
    assert [world.records.points(one, "accuracy") for one in nested.values()] == [[0.75], [0.75]]
    with world.workspace() as workspace:
        assert workspace.store.outbox.waiting("mlflow") == []


FANNED = pipeline(
    "fanned",
    *(Shell(f"one-{number}") for number in range(12)),
    train("last", {"m": "system.Metrics"}, {"m": {"a": 1}}),
)

SLOW = pipeline(
    "slow",
    *(Shell(f"one-{number}", script="sleep 0.5") for number in range(12)),
    train("last", {"m": "system.Metrics"}, {"m": {"a": 1}}),
)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://u:hush@[::1", "which is no URL; write http://host:port"),
        ("mlruns", "runs are recorded in an MLflow server only"),
        ("http://nowhere.invalid:5000", "does not answer: "),
    ],
)
def test_an_address_where_no_server_can_be_is_one_sentence_and_stops_nothing(
    tmp_path: Path, uri: str, words: str
) -> None:
    answer = World(tmp_path, uri).run(pipeline("one", Shell("one")))

    assert answer.run["state"] == "SUCCEEDED"
    assert answer.err.startswith("warning: 2 records of the run are not in MLflow yet (")
    assert words in answer.err and answer.err.count("\n") == 1 and "hush" not in answer.out + answer.err


def took(answer: Answer) -> float:
    times = [json.loads(line).get("time") for line in answer.out.splitlines()]
    return max(found := [one for one in times if one]) - min(found)


@pytest.mark.service("servers")
def test_a_run_while_mlflow_is_away_is_recorded_when_it_is_back(own: OwnMlflow, tmp_path: Path) -> None:
    world = World(tmp_path, own.url)
    answer = world.run(FANNED)

    assert answer.run["state"] == "SUCCEEDED"
    assert answer.err.count("\n") == 1 and answer.err.startswith(
        "warning: 14 records of the run are not in MLflow"
    )
    assert "Connection refused" in answer.err and "penstock tracking sync" in answer.err
    status = world.penstock("tracking", "status").out
    assert "Connection refused" in status and "14" in status
    assert world.penstock("tracking", "sync").code == 1

    own.start()
    assert world.penstock("tracking", "sync").code == 0
    for again in ("sync", answer.run["id"]):
        world.penstock("tracking", "sync", *([again] if again != "sync" else []))
    parent, nested = world.records.tree(answer.run["id"])
    assert len(nested) == 13 and parent.info.status == "FINISHED"
    assert world.records.points(nested["last"], "a") == [1]


@pytest.mark.service("servers")
def test_a_server_that_takes_connections_and_answers_nothing_holds_nobody_up(
    own: OwnMlflow, tmp_path: Path
) -> None:
    own.start()
    world = World(tmp_path, own.url)
    world.run(pipeline("warm", Shell("one")))
    own.suspend()
    try:
        answer = world.run(FANNED)
    finally:
        own.resume()

    assert answer.run["state"] == "SUCCEEDED" and "it takes too long" in answer.err
    assert took(answer) < 15, "each task has waited for itself"
    deadline = time.monotonic() + 60
    while world.penstock("tracking", "sync").code and time.monotonic() < deadline:
        time.sleep(1)
    parent, nested = world.records.tree(answer.run["id"])
    assert len(nested) == 13 and parent.info.status == "FINISHED"


@pytest.mark.service("servers")
@pytest.mark.parametrize("seed", range(20 if os.environ.get("PENSTOCK_FULL") else 1))
def test_whatever_happens_to_the_server_and_the_engine_all_is_there_once(
    own: OwnMlflow, tmp_path: Path, seed: int
) -> None:
    own.start()
    world, chance = World(tmp_path, own.url), random.Random(seed)
    file = write(SLOW, tmp_path / "pipeline.yaml")
    command = [sys.executable, "-m", "penstock", "run", str(file), "--json", "--experiment", world.experiment]
    variables = {**os.environ, **world.variables, "PENSTOCK_HOME": str(tmp_path / "home")}
    engine = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
    try:
        assert engine.stdout is not None
        engine.stdout.readline()
        for _ in range(3):
            time.sleep(chance.uniform(0.0, 0.8))
            own.suspend()
            time.sleep(chance.choice([0.2, 2.5]))
            own.resume()
        if chance.random() < 0.7:
            engine.kill()
        engine.communicate(timeout=60)
    finally:
        own.resume()
        engine.kill()
    run_id = world.last_run()
    world.penstock("runs", "resume", run_id)
    deadline = time.monotonic() + 60
    while world.penstock("tracking", "sync").code and time.monotonic() < deadline:
        time.sleep(0.5)

    parent, nested = world.records.tree(run_id)
    assert set(nested) == {"last", *(f"one-{number}" for number in range(12))}
    assert {parent.info.status, *(one.info.status for one in nested.values())} == {"FINISHED"}
    assert world.records.points(nested["last"], "a") == [1]


@pytest.mark.service("mlflow")
def test_a_nested_run_that_came_to_be_twice_is_one_again(world: World) -> None:
    run = world.run(pipeline("doubled", train("one", {"m": "system.Metrics"}, {"m": {"a": 1}}))).run
    _, nested = world.records.tree(run["id"])
    tags = nested["one"].data.tags
    kept = {name: tags[name] for name in ("penstock.run_id", "penstock.task", "mlflow.parentRunId")}
    world.records.client.create_run(nested["one"].info.experiment_id, tags=kept)
    assert len(world.records.all()) == 3

    assert world.penstock("tracking", "sync", run["id"]).code == 0
    _, now = world.records.tree(run["id"])
    assert now["one"].info.run_id == nested["one"].info.run_id and world.records.points(now["one"], "a") == [
        1
    ]


@pytest.mark.service("mlflow")
def test_what_was_deleted_in_mlflow_is_not_made_again(world: World) -> None:
    run = world.run(pipeline("trimmed", Shell("one"), Shell("two"))).run
    _, nested = world.records.tree(run["id"])
    world.records.client.delete_run(nested["one"].info.run_id)

    assert world.penstock("tracking", "sync", run["id"]).code == 1
    assert "one: its MLflow run was deleted there" in world.penstock("tracking", "status").out
    assert set(world.records.tree(run["id"])[1]) == {"two"}
    world.records.client.restore_run(nested["one"].info.run_id)
    assert world.penstock("tracking", "sync", run["id"]).code == 0
    assert set(world.records.tree(run["id"])[1]) == {"one", "two"}


@pytest.mark.service("mlflow")
def test_mlflows_own_client_is_the_other_way_to_the_server() -> None:
    server = Server(SkinnyTransport(need("mlflow")), 10)

    server.greet()
    with pytest.raises(RefusedError) as error:
        server.create("no such experiment", Entity("x", Status.RUNNING, 0, None, {}))
    assert error.value.code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
    with pytest.raises(UnavailableError, match="does not answer"):
        Server(SkinnyTransport("http://127.0.0.1:9"), 2).greet()
