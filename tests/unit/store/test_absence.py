"""How long a database that is away is waited for, and who hears of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.errors import StoreAwayError
from penstock.store import Store
from penstock.store.absence import Absence, Waiting

AWAY = StoreAwayError("the database is away", "see to it")


class Time:
    """Goes on when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    found = Time()
    monkeypatch.setattr(time, "monotonic", lambda: found.now)
    return found


@pytest.fixture
def absence() -> Absence:
    return Absence()


def misses(absence: Absence, count: int) -> None:
    for _ in range(count):
        absence.wait(AWAY)


def test_who_has_never_answered_is_not_waited_for(absence: Absence) -> None:
    with pytest.raises(StoreAwayError, match="the database is away; see to it"):
        absence.wait(AWAY)


def test_pauses_grow_to_a_second_and_end_with_the_time(absence: Absence, clock: Time) -> None:
    with (
        absence.waiting(Waiting(lambda: 1004.0, tell=lambda text: None, pause=clock.pause)),
        pytest.raises(StoreAwayError),
    ):
        misses(absence, 100)
    assert clock.pauses[:6] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0]
    assert max(clock.pauses) == 1.0
    assert sum(clock.pauses) == pytest.approx(4.0)


def test_the_end_may_move_meanwhile(absence: Absence, clock: Time) -> None:
    end = [1001.0]
    with absence.waiting(Waiting(lambda: end[0], tell=lambda text: None, pause=clock.pause)):
        misses(absence, 3)
        end[0] = 0.0
        with pytest.raises(StoreAwayError):
            absence.wait(AWAY)


def test_a_blink_is_not_told_an_absence_once_and_its_end(absence: Absence, clock: Time) -> None:
    told: list[str] = []
    with absence.waiting(Waiting(lambda: 2000.0, told.append, clock.pause)):
        misses(absence, 1)
        absence.over()
        assert told == []
        misses(absence, 12)
        absence.over()
        absence.over()
        assert told == [
            "the database is away; trying again until it answers",
            "the database answers again, after 9 s",
        ]


def test_one_thread_waits_in_its_own_way(absence: Absence, clock: Time) -> None:
    failures: list[StoreAwayError] = []

    def other() -> None:
        try:
            absence.wait(AWAY)
        except StoreAwayError as error:
            failures.append(error)

    with absence.waiting(Waiting(lambda: 2000.0, pause=clock.pause)):
        misses(absence, 1)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert failures == [AWAY]


class TestRepeating:
    @pytest.fixture
    def store(self, tmp_path: Path, clock: Time) -> Iterator[Store]:
        with (
            Store.open(f"sqlite:///{tmp_path}/penstock.db") as opened,
            opened.waiting(Waiting(lambda: 2000.0, pause=clock.pause)),
        ):
            yield opened

    def test_what_was_cut_short_is_done_again_whole(self, store: Store) -> None:
        tries: list[int] = []

        def act() -> int:
            with store.transaction():
                store.namespaces.ensure(f"n{len(tries)}")
                tries.append(1)
                if len(tries) < 3:
                    raise AWAY
            return len(tries)

        assert store.repeat(act) == 3
        assert store.namespaces.list() == ["n2"]

    def test_within_a_transaction_the_outermost_repeats(self, store: Store) -> None:
        tries: list[str] = []

        def inner() -> None:
            tries.append("inner")
            if len(tries) < 4:
                raise AWAY

        def outer() -> None:
            tries.append("outer")
            with store.transaction():
                store.repeat(inner)

        store.repeat(outer)
        assert tries == ["outer", "inner", "outer", "inner"]

    def test_other_errors_are_not_repeated(self, store: Store) -> None:
        tries: list[int] = []

        def act() -> None:
            tries.append(1)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.repeat(act)
        assert tries == [1]
