"""What launchers of tests have in common: they start nothing, and know nothing of components."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from penstock.execution.launcher import Account, Attempt
from penstock.execution.order import LaunchOrder
from penstock.execution.platform import EMULATED
from penstock.model import Component, Executor, Json


class IdleLauncher:
    name = "idle"
    emulated = EMULATED

    def isolation(self, executor: Executor, platform: Mapping[str, Json]) -> str:
        return self.name

    def account(
        self, component: Component, executor: Executor, platform: Mapping[str, Json]
    ) -> Account | None:
        return None

    def start(
        self,
        order: LaunchOrder,
        on_line: Callable[[str], None] | None = None,
        canceled: Callable[[], bool] | None = None,
    ) -> Attempt:
        raise NotImplementedError

    def log(self, run_id: str, attempt_id: str, follow: bool = False, place: str = "") -> Iterator[str]:
        return iter(())

    def end_run(self, run_id: str) -> None:
        return

    def close(self) -> None:
        return
