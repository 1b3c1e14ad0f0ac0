"""PostgreSQL goes away while engines run, connections are cut, and several engines want one run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.errors import LeaseError, StoreAwayError, StoreError
from penstock.execution import embedded, lease
from penstock.execution.local_control import LocalControl
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock.model import State
from penstock.store import RunRecord, Store
from tests.conftest import ROOT
from tests.documents import TEXT, Group, Shell, given, pipeline, write
from tests.postgres_server import PostgresServer, private_postgres
from tests.unit.execution.control_worlds import ARGUMENTS, Scene, new_control, submit
from tests.unit.execution.engine_worlds import FakeLauncher, engine, until
from tests.unit.execution.test_control_properties import check, check_history
from tests.unit.execution.test_embedded import submit as submit_tasks
from tests.unit.planner.worlds import Builder, Oracle
from tests.wire import COMMIT, Cut, Wire

pytestmark = [pytest.mark.service("servers"), pytest.mark.xdist_group("private-postgres")]

FULL = os.environ.get("PENSTOCK_FULL") == "1"
OUTAGE = 40.0 if FULL else 6.0
"""Seconds."""


@pytest.fixture(scope="module")
def running() -> Iterator[PostgresServer]:
    with private_postgres() as server:
        yield server


@pytest.fixture
def server(running: PostgresServer) -> PostgresServer:
    """A server that runs, whatever the test before has done to it."""
    running.start()
    return running


@pytest.fixture
def store(server: PostgresServer) -> Iterator[Store]:
    with Store.open(server.url) as opened:
        yield opened


@pytest.fixture
def wire(server: PostgresServer) -> Iterator[Wire]:
    with Wire(server.port).laid() as laid:
        yield laid


@contextmanager
def outage(server: PostgresServer, seconds: float) -> Iterator[None]:
    """Within, the server is away; it comes back after that time."""
    server.stop()
    back = threading.Timer(seconds, server.start)
    back.start()
    try:
        yield
    finally:
        back.join()


@dataclass
class Program:
    """`penstock` processes with a home of their own, at one database."""

    home: Path
    url: str

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        return subprocess.Popen(
            [sys.executable, "-m", "penstock", *map(str, arguments)],
            env={
                **kept,
                "PENSTOCK_HOME": str(self.home),
                "PENSTOCK_DATABASE_URL": self.url,
                "PENSTOCK_PRIVATE_TMP": "false",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def mark(place: Path, meanwhile: str) -> str:
    """A script that leaves a line at its start and one at its end. Short lines are written whole."""
    return f'echo "$0 start" >>{place}; {meanwhile}; echo "$0 end" >>{place}'


def waits_for(gate: Path) -> str:
    return f"until test -e {gate}; do sleep 0.05; done"


def many(folder: Path, *, items: int = 6, seconds: float = 0.4) -> tuple[Path, Path]:
    """A pipeline of some tasks in parallel, a loop, and a last one; and the file where they leave marks."""
    marks = folder / "marks"
    marks.touch()
    side = [Shell(f"side-{number}", mark(marks, f"sleep {seconds}")) for number in range(3)]
    inside = Shell(
        "inside", f'echo "inside-$item" >>{marks}', {"item": (TEXT, given("item"))}, after=["slow"]
    )
    loop = Group(
        "loop",
        [Shell("slow", mark(marks, f"sleep {seconds}")), inside],
        items=[str(number) for number in range(items)],
    )
    last = Shell("last", mark(marks, "true"), after=["loop", *(one.name for one in side)])
    return write(pipeline("many", *side, loop, last), folder / "many.yaml"), marks


def once(marks: Path, items: int = 6) -> None:
    """Every task of `many` has run to its end, and none twice."""
    expected = Counter({f"side-{number} {what}": 1 for number in range(3) for what in ("start", "end")})
    expected += Counter({f"inside-{number}": 1 for number in range(items)})
    expected += Counter({"slow start": items, "slow end": items, "last start": 1, "last end": 1})
    assert Counter(marks.read_text().splitlines()) == expected


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.02)


class TestARestart:
    @pytest.mark.parametrize("how", ["stopped", "crashed"])
    def test_a_run_goes_on_when_the_database_is_back(
        self, server: PostgresServer, tmp_path: Path, how: str
    ) -> None:
        document, marks = many(tmp_path)
        program = Program(tmp_path / "home", server.url)
        process = program.start("run", document, "--parallel", "4", "--json")
        eventually(lambda: marks.read_text().count("start") >= 4)

        if how == "crashed":
            server.crash()
        with outage(server, OUTAGE):
            out, err = process.communicate(timeout=120)

        assert (process.returncode, err) == (0, "")
        lines = [json.loads(line) for line in out.splitlines()]
        notices = [line["notice"] for line in lines if "notice" in line]
        assert [text.partition(" ")[2].rpartition("; ")[2] for text in notices[::2]] == [
            "trying again until it answers"
        ]
        assert f"127.0.0.1:{server.port}/penstock" in notices[0] and "answers again, after" in notices[1]
        once(marks)
        run = lines[-1]["run"]
        with Store.open(server.url) as store:
            check_history(store, run["id"])
            assert store.runs.get(run["id"]).owner is None
            assert store.attempts.live(run["id"]) == []
            assert {one.number for one in store.attempts.list(run["id"])} == {1}
            executed = Counter(one.path for one in store.executions.list(run["id"]))
        assert set(executed.values()) == {1}
        told = Counter(line["task"] for line in lines if line.get("state") == "SUCCEEDED")
        assert set(told.values()) == {1} and set(told) == set(run["tasks"])

    def test_restarts_one_after_the_other_change_nothing(
        self, server: PostgresServer, tmp_path: Path
    ) -> None:
        document, marks = many(tmp_path, items=24, seconds=0.5)
        process = Program(tmp_path / "home", server.url).start("run", document, "--parallel", "4")
        eventually(lambda: "start" in marks.read_text())

        restarts = 0
        while process.poll() is None:
            time.sleep(random.Random(restarts).random())
            server.stop() if restarts % 2 else server.crash()
            server.start()
            restarts += 1

        _, err = process.communicate()
        assert (process.returncode, err) == (0, "")
        assert restarts > 1
        once(marks, items=24)

    def test_who_insists_need_not_wait_for_the_database(self, server: PostgresServer, tmp_path: Path) -> None:
        """The first Ctrl-C stops the tasks, the second one leaves; resumed later, the run goes on."""
        marks = tmp_path / "marks"
        document = write(pipeline("long", Shell("long", mark(marks, "sleep 60"))), tmp_path / "long.yaml")
        process = Program(tmp_path / "home", server.url).start("run", document)
        eventually(marks.exists)
        server.stop()

        process.send_signal(signal.SIGINT)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)

        assert process.returncode == 130, (out, err)
        assert "Traceback" not in err
        assert marks.read_text() == "long start\n"


class TestTheEndOfALease:
    """An engine is not to have tasks that another one may start."""

    @pytest.fixture(autouse=True)
    def short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lease, "LEASE_SECONDS", 4.0)
        monkeypatch.setattr(lease, "STOP_SECONDS", 2.0)
        monkeypatch.setattr(embedded, "POLL_SECONDS", 0.05)

    def test_a_lease_outlives_an_outage_that_is_shorter(self, server: PostgresServer, store: Store) -> None:
        run = submit_tasks(store, Shell("train"))
        done = threading.Event()
        launcher = FakeLauncher({"train": until(done)})
        notices: list[str] = []
        with ThreadPoolExecutor(1) as threads:
            driving = threads.submit(engine(store, launcher, on_notice=notices.append).run, run.id)
            launcher.wait_for(1)
            with outage(server, 1.0):
                eventually(lambda: len(notices) == 1)
            eventually(lambda: len(notices) == 2)
            done.set()
            assert driving.result(60) is State.SUCCEEDED

        (attempt,) = launcher.attempts.values()
        assert attempt.graces == []

    def test_tasks_are_stopped_before_another_engine_can_have_the_run(
        self, server: PostgresServer, store: Store
    ) -> None:
        run = submit_tasks(store, Shell("train"))
        launcher = FakeLauncher({"train": until(threading.Event())})
        with ThreadPoolExecutor(1) as threads:
            driving = threads.submit(engine(store, launcher).run, run.id)
            launcher.wait_for(1)
            (attempt,) = launcher.attempts.values()
            with outage(server, 5.0):
                since = time.monotonic()
                eventually(attempt.stopped.is_set)
                assert time.monotonic() - since < 4.0
                with pytest.raises(StoreError, match=r"its tasks were stopped, .* `penstock runs resume"):
                    driving.result(60)

        again = FakeLauncher()
        again.attempts.update(launcher.attempts)
        assert engine(store, again, owner="another").run(run.id) is State.SUCCEEDED
        assert [one.number for one in store.attempts.list(run.id)] == [1, 2]
        check_history(store, run.id)

    @pytest.mark.parametrize(("other", "stops"), [("host/2/far/b", True), ("host/2/near/b", False)])
    def test_an_engine_that_lost_its_lease_leaves_only_what_the_other_one_sees(
        self, store: Store, other: str, stops: bool
    ) -> None:
        run = submit_tasks(store, Shell("train"))
        launcher = FakeLauncher({"train": until(threading.Event())}, stubborn=True)
        with ThreadPoolExecutor(1) as threads:
            driving = threads.submit(engine(store, launcher, owner="host/1/near/a").run, run.id)
            launcher.wait_for(1)
            store.leases.take_over(run.id, other, 60, former="host/1/near/a")
            with pytest.raises(LeaseError, match=f"driven by {other}"):
                driving.result(60)

        (attempt,) = launcher.attempts.values()
        assert attempt.stopped.is_set() is stops
        attempt.stopped.set()


class TestCutConnections:
    @pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.UNSEEN])
    def test_what_never_reached_the_server_is_not_recorded_and_is_repeated(
        self, server: PostgresServer, wire: Wire, cut: Cut
    ) -> None:
        with Store.open(wire.url(server.url)) as store:
            _cut_next(wire, cut)
            with pytest.raises(StoreAwayError, match="was lost"):
                store.namespaces.ensure(f"lost-{cut.value}")
            assert f"lost-{cut.value}" not in store.namespaces.list()
            _cut_next(wire, cut)
            store.repeat(lambda: store.namespaces.ensure(f"lost-{cut.value}"))
            assert f"lost-{cut.value}" in store.namespaces.list()
            assert wire.cuts == [cut, cut]

    def test_a_commit_whose_answer_is_lost_was_a_commit(self, server: PostgresServer, wire: Wire) -> None:
        with Store.open(wire.url(server.url)) as store:
            _cut_next(wire, Cut.AFTER)
            assert store.outbox.add("t", "once", {})
            assert wire.cuts == [Cut.AFTER]
            assert not store.outbox.add("t", "once", {})

    def test_what_was_read_stands_when_the_connection_goes_at_its_end(
        self, server: PostgresServer, wire: Wire
    ) -> None:
        with Store.open(wire.url(server.url)) as store:
            store.namespaces.ensure("read")
            _cut_next(wire, Cut.BEFORE)
            assert "read" in store.namespaces.list()
            assert wire.cuts == [Cut.BEFORE]

    @pytest.mark.parametrize("seed", range(10 if FULL else 2))
    def test_connections_cut_anywhere_leave_a_run_as_the_oracle_says(
        self, server: PostgresServer, wire: Wire, seed: int
    ) -> None:
        chance = random.Random(seed)

        def cut(sent: bytes) -> Cut | None:
            if chance.random() > (0.1 if COMMIT in sent else 0.01):
                return None
            return chance.choice(list(Cut)) if COMMIT in sent else chance.choice([Cut.BEFORE, Cut.AFTER])

        grown = Builder(random.Random(seed)).pipeline()
        expected = Oracle(grown, seed, ARGUMENTS).found
        with Store.open(wire.url(server.url)) as far, Store.open(server.url) as straight:
            run = submit(straight, grown)
            scene = _FarScene(straight, run.id, grown, seed, random.Random(seed), far=far)
            wire.cut = cut

            check(scene.to_the_end(), expected)

            wire.cut = lambda sent: None
            assert scene.launches == expected.launches
            assert len(wire.cuts) > 3
            check_history(straight, run.id)
            assert straight.attempts.live(run.id) == []


@dataclass
class _FarScene(Scene):
    """Its controls are connected by another way than it looks at the record itself."""

    far: Store | None = None

    def _engine(self) -> tuple[LocalControl, list[str]]:
        assert self.far is not None
        control = new_control(self.far)
        step = control.begin(self.run_id)
        return control, [*step.following, *(path for path, _ in step.again)]


def _cut_next(wire: Wire, cut: Cut) -> None:
    """The next commit is cut."""
    todo = [cut]
    wire.cut = lambda sent: todo.pop() if todo and COMMIT in sent else None


class TestSeveralAtOneRun:
    def test_of_engines_from_several_homes_one_drives_the_run(
        self, server: PostgresServer, tmp_path: Path
    ) -> None:
        document, marks = many(tmp_path)
        programs = [Program(tmp_path / f"home-{number}", server.url) for number in range(4)]
        run = _submitted(programs[0], document)

        processes = [program.start("runs", "resume", run.id) for program in programs]
        answers = [process.communicate(timeout=120) for process in processes]

        codes = [process.returncode for process in processes]
        assert sorted(codes) == [0, 1, 1, 1], answers
        winner = processes[codes.index(0)]
        for process, (_, err) in zip(processes, answers, strict=True):
            if process is winner:
                assert err == ""
            else:
                assert err.startswith(f"error: run {run.id} is driven by ") and err.count("\n") == 1
                assert f"/{winner.pid}/" in err
        once(marks)

    def test_an_engine_of_another_home_is_alive_until_its_lease_ends(
        self, server: PostgresServer, store: Store, tmp_path: Path
    ) -> None:
        """On one machine as well: that there is no lock in this home says nothing of its process."""
        marks, gate = tmp_path / "marks", tmp_path / "gate"
        document = write(pipeline("one", Shell("one", mark(marks, waits_for(gate)))), tmp_path / "one.yaml")
        here, there = (Program(tmp_path / name, server.url) for name in ("here", "there"))
        process = there.start("run", document, "--name", "elsewhere")
        eventually(marks.exists)

        shown, _ = here.start("runs", "get", "elsewhere").communicate()
        assert "RUNNING" in shown and "no engine drives it" not in shown
        resumed = here.start("runs", "resume", "elsewhere")
        assert "is driven by" in resumed.communicate()[1] and resumed.returncode == 1
        gate.touch()
        assert process.wait(60) == 0
        assert marks.read_text() == "one start\none end\n"

        (run,) = [one for one in store.runs.list() if one.name == "elsewhere"]
        assert run.state is State.SUCCEEDED

    def test_an_engine_whose_run_went_to_another_home_stops_its_tasks(
        self, server: PostgresServer, store: Store, tmp_path: Path
    ) -> None:
        marks, gate = tmp_path / "marks", tmp_path / "gate"
        document = write(pipeline("one", Shell("one", mark(marks, waits_for(gate)))), tmp_path / "one.yaml")
        here, there = (Program(tmp_path / name, server.url) for name in ("here", "there"))
        former = there.start("run", document, "--name", "moved")
        eventually(marks.exists)
        server.execute("UPDATE run_heads SET expires_at = 1 WHERE owner IS NOT NULL", database="penstock")

        latter = here.start("runs", "resume", "moved")

        _, err = former.communicate(timeout=60)
        assert former.returncode == 1
        assert f"/{latter.pid}/" in err and err.count("\n") == 1
        eventually(lambda: marks.read_text().count("start") == 2)
        gate.touch()
        assert latter.wait(60) == 0
        time.sleep(0.5)
        assert marks.read_text().splitlines() == ["one start", "one start", "one end"]

    def test_a_cancel_reaches_an_engine_of_another_home(self, server: PostgresServer, tmp_path: Path) -> None:
        marks = tmp_path / "marks"
        document = write(pipeline("long", Shell("long", mark(marks, "sleep 60"))), tmp_path / "long.yaml")
        here, there = (Program(tmp_path / name, server.url) for name in ("here", "there"))
        process = there.start("run", document, "--name", "far-away")
        eventually(marks.exists)

        answer, _ = here.start("runs", "cancel", "far-away").communicate()

        assert answer.endswith("is being canceled\n")
        assert process.wait(60) == 130

    @pytest.mark.parametrize("seed", range(10 if FULL else 3))
    def test_processes_that_prepare_and_publish_one_run_do_the_work_of_one(
        self, server: PostgresServer, store: Store, tmp_path: Path, seed: int
    ) -> None:
        """Four of them share nothing but the database; each asks for everything and publishes all it sees."""
        grown = Builder(random.Random(seed)).pipeline()
        expected = Oracle(grown, seed, ARGUMENTS).found
        run = submit(store, grown)
        claims = tmp_path / "claims"
        command = [sys.executable, "-m", "tests.integration.control_process", server.url, run.id, claims]
        processes = [
            subprocess.Popen([*command, str(seed), str(number)], cwd=ROOT, env=os.environ)
            for number in range(4)
        ]
        assert [process.wait(120) for process in processes] == [0] * 4

        check({record.path: record for record in store.tasks.load(run.id)}, expected)
        claimed = [line.split(" ") for line in claims.read_text().splitlines()]
        assert len({attempt for attempt, _ in claimed}) == len(claimed)
        assert Counter(path.strip() for _, path in claimed) == expected.launches
        attempts = store.attempts.list(run.id)
        assert {one.id for one in attempts} == {attempt for attempt, _ in claimed}
        executed = Counter(one.attempt_id for one in store.executions.list(run.id) if one.attempt_id)
        assert set(executed.values()) <= {1}
        check_history(store, run.id)

    def test_two_retries_at_once_are_one(self, server: PostgresServer, store: Store, tmp_path: Path) -> None:
        marks = tmp_path / "marks"
        script = f'echo "$0" >>{marks}; test "$fails" != yes'
        failing = Shell("failing", script, {"fails": (TEXT, given("fails"))})
        document = write(pipeline("failing", failing, inputs={"fails": TEXT}), tmp_path / "failing.yaml")
        programs = [Program(tmp_path / f"home-{number}", server.url) for number in range(4)]
        first = programs[0].start("run", document, "-p", "fails=yes", "--name", "twice")
        assert first.wait(60) == 1
        marks.unlink()

        processes = [program.start("runs", "retry", "twice", "-p", "fails=no") for program in programs]
        answers = [process.communicate(timeout=60) for process in processes]

        codes = sorted(process.returncode for process in processes)
        assert codes[0] == 0 and 0 not in codes[1:], answers
        assert marks.read_text() == "failing\n"


def _submitted(program: Program, document: Path) -> RunRecord:
    from penstock.ir import load

    settings = load_settings(
        environ={"PENSTOCK_HOME": str(program.home), "PENSTOCK_DATABASE_URL": program.url}, folder=ROOT
    )
    with Workspace(settings) as workspace:
        return workspace.submit(load(document), {})
