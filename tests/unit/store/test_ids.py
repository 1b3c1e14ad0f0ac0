from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from penstock.store import new_id


def test_an_id_is_a_uuid_of_version_7_that_tells_its_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    after = time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert before <= made.int >> 80 <= after + 1


def test_ids_of_one_process_ascend_and_differ_across_threads() -> None:
    def some() -> list[str]:
        return [new_id() for _ in range(2000)]

    with ThreadPoolExecutor(4) as threads:
        each = [done.result() for done in [threads.submit(some) for _ in range(4)]]
    assert all(made == sorted(made) for made in each)
    assert len({one for made in each for one in made}) == 8000
