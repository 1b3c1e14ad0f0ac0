"""The engine seam: what drives runs elsewhere than in this process. The embedded engine is ours; others come
through the entry-point group `penstock.engines`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, Protocol, cast

from penstock.errors import InvalidInputError
from penstock.store import RunRecord

if TYPE_CHECKING:
    from penstock.execution.workspace import Workspace

GROUP: Final = "penstock.engines"
EMBEDDED: Final = "embedded"


class Engine(Protocol):
    """Drives what stands on its agenda (see `penstock.store.agenda`), wherever it runs. `launcher` runs the
    tasks where nobody says which.
    """

    name: str
    launcher: str

    def check(self, pipeline_root: str, launcher: str) -> None:
        """Whether runs with these can be given to it. Raises InvalidInputError, saying what is missing."""
        ...

    def start(self, run: RunRecord) -> None:
        """Hurry on a run of the agenda. A hint: without it the run is driven a little later."""
        ...


def open_engine(name: str, workspace: Workspace) -> Engine:
    """The engine that an installed distribution brings under this name. Raises InvalidInputError."""
    found = entry_points(group=GROUP)
    for one in found:
        if one.name == name:
            return cast("Engine", one.load()(workspace))
    installed = ", ".join(sorted({EMBEDDED, *found.names}))
    remedy = "; install it with: pip install penstock-workers" if name == "celery" else ""
    raise InvalidInputError(f"no engine '{name}' is installed; installed: {installed}{remedy}")
