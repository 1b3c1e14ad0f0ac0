"""A pipeline, or a run of it, as a picture: SVG that stands alone, for light and dark pages.

Names and conditions come from whoever wrote the pipeline: they are escaped, and the file has no script, no
link and no reference to anything outside.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from penstock.cli.graph import traits
from penstock.cli.layout import Edge, Layout, Point, Size, arrange, badness
from penstock.cli.progress import seconds_text, state_text
from penstock.execution.result import Run, TaskResult
from penstock.model import Component, Pipeline, State, Task, TriggerStrategy
from penstock.model import path as paths

_PAD = 14.0
_TITLE, _LINE = 18.0, 15.0
"""The heights of a name and of a line below it."""
_MARGIN = 20.0
_LONGEST = 44
"""Characters of a line; all of it is in the tooltip."""
_EM = {"title": 14.3, "line": 11.0}

_INDEX = re.compile(r"\[\d+\]")
_WORST = (State.FAILED, State.RUNNING, State.CANCELING, State.CANCELED, State.PENDING, State.SUCCEEDED)
"""The first of these that one of a task's records is in colours it."""

_STYLE = """\
.penstock { font-family: ui-sans-serif, system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.penstock .paper { fill: #ffffff; }
.penstock .title { font-size: 13px; font-weight: 600; fill: #1f2328; }
.penstock .line { font-size: 11px; fill: #57606a; }
.penstock .task { fill: #f6f8fa; stroke: #8c959f; }
.penstock .group { fill: #57606a; fill-opacity: .05; stroke: #8c959f; }
.penstock .loop { stroke-width: 2.5; }
.penstock .condition { stroke-dasharray: 6 3; }
.penstock .edge { fill: none; stroke: #8c959f; stroke-width: 1.3; }
.penstock .always { stroke-dasharray: 2 3; }
.penstock .arrow { fill: #8c959f; }
.penstock .absent { opacity: .55; }
.penstock rect.succeeded { fill: #dafbe1; stroke: #1a7f37; }
.penstock rect.failed { fill: #ffebe9; stroke: #cf222e; }
.penstock rect.running { fill: #ddf4ff; stroke: #0969da; }
.penstock rect.skipped { fill: #fff8c5; stroke: #9a6700; }
.penstock rect.canceled { fill: #fbefff; stroke: #8250df; }
.penstock.run .group { fill-opacity: .35; }
@media (prefers-color-scheme: dark) {
.penstock .paper { fill: #0d1117; }
.penstock .title { fill: #e6edf3; }
.penstock .line { fill: #9ea7b3; }
.penstock .task { fill: #161b22; stroke: #6e7681; }
.penstock .group { fill: #9ea7b3; fill-opacity: .06; stroke: #6e7681; }
.penstock .edge { stroke: #6e7681; }
.penstock .arrow { fill: #6e7681; }
.penstock rect.succeeded { fill: #0f2d1b; stroke: #3fb950; }
.penstock rect.failed { fill: #3c1618; stroke: #f85149; }
.penstock rect.running { fill: #0c2a4a; stroke: #58a6ff; }
.penstock rect.skipped { fill: #2f2608; stroke: #d29922; }
.penstock rect.canceled { fill: #2b1d45; stroke: #a371f7; }
}
"""


_ARROW = """\
<defs><marker id="penstock-arrow" class="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" \
markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>"""


@dataclass(frozen=True, slots=True)
class _Box:
    """`inner` is None for a leaf. `always` are edges to tasks that run whatever became of those before."""

    title: str
    lines: tuple[str, ...] = ()
    tooltip: str = ""
    classes: tuple[str, ...] = ()
    inner: tuple[_Box, ...] | None = None
    edges: tuple[Edge, ...] = ()
    always: frozenset[Edge] = frozenset()


@dataclass(frozen=True, slots=True)
class _Placed:
    box: _Box
    size: Size
    sideways: bool = False
    layout: Layout | None = None
    inner: tuple[_Placed, ...] = ()

    @property
    def head(self) -> float:
        return _TITLE + _LINE * len(self.box.lines)


def svg(pipeline: Pipeline, run: Run | None = None) -> str:
    """The whole document, in ASCII. With `run`, each task in the colour of its state."""
    records: dict[str, list[TaskResult]] | None = None
    lines: tuple[str, ...] = ()
    if run is not None:
        records, lines = {}, (f"run {run.name}", run.state.value)
        for record in run:
            records.setdefault(_INDEX.sub("", record.path), []).append(record)
    whole = _dag(_Box(pipeline.name, lines), pipeline, pipeline.root, "", records)
    best = min((_placed(whole, sideways) for sideways in (False, True)), key=_badness)
    return _document(best, "penstock run" if run is not None else "penstock")


def _badness(placed: _Placed) -> float:
    return badness(placed.layout) if placed.layout is not None else 0.0


def _dag(
    box: _Box,
    pipeline: Pipeline,
    component: Component,
    path: str,
    records: Mapping[str, Sequence[TaskResult]] | None,
) -> _Box:
    if component.dag is None:
        return box
    tasks = component.dag.tasks
    index = {name: number for number, name in enumerate(tasks)}
    edges = [(index[before], index[name]) for name, task in tasks.items() for before in task.upstream]
    strategies = [task.trigger.strategy for task in tasks.values()]
    return replace(
        box,
        inner=tuple(_task(pipeline, task, paths.child(path, task.name), records) for task in tasks.values()),
        edges=tuple(edges),
        always=frozenset(
            edge for edge in edges if strategies[edge[1]] is TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED
        ),
    )


def _task(
    pipeline: Pipeline, task: Task, path: str, records: Mapping[str, Sequence[TaskResult]] | None
) -> _Box:
    component = pipeline.component_of(task)
    classes = ["task" if component.dag is None else "group"]
    if task.loop is not None:
        classes.append("loop")
    if task.trigger.condition:
        classes.append("condition")
    about = traits(pipeline, task)
    if records is not None:
        found = records.get(path, ())
        if component.dag is None:
            about.pop()  # the image, which no longer matters
        about = [*_states(found), *about]
        classes.append(_colour(found))
    lines = tuple(_short(one) for one in about)
    box = _Box(_short(task.name), lines, "\n".join((path, *about)), tuple(classes))
    return _dag(box, pipeline, component, path, records)


def _states(records: Sequence[TaskResult]) -> list[str]:
    """Of a loop itself, and then of its iterations; of a task in a loop, in how many it is in which state."""
    own = [record for record in records if not record.path.endswith("]")]
    found = [_state(own)] if own else []
    if len(own) < len(records):
        found.append("iterations: " + _state([record for record in records if record.path.endswith("]")]))
    return found


def _state(records: Sequence[TaskResult]) -> str:
    if len(records) > 1:
        counts = Counter(record.state.value for record in records)
        return ", ".join(f"{count} {state}" for state, count in counts.items())
    (record,) = records
    if record.cached:
        return f"{record.state.value} (cached)"
    text = state_text(record.state, record.reason)
    if record.started_at is None or record.ended_at is None or record.state is State.SKIPPED:
        return text
    return f"{text} in {seconds_text(record.ended_at - record.started_at)}"


def _colour(records: Sequence[TaskResult]) -> str:
    states = {record.state for record in records}
    worst = next((state for state in _WORST if state in states), State.SKIPPED if states else None)
    return "absent" if worst is None else worst.value.lower()


def _placed(box: _Box, sideways: bool) -> _Placed:
    text = max((_width(line, "line") for line in box.lines), default=0.0)
    width = max(_width(box.title, "title"), text) + 2 * _PAD
    height = _TITLE + _LINE * len(box.lines) + 1.2 * _PAD
    if box.inner is None:
        return _Placed(box, (max(width, 90.0), height))
    inner = tuple(_placed(one, sideways) for one in box.inner)
    layout = arrange([one.size for one in inner], box.edges, sideways=sideways)
    size = (max(width, layout.width + 2 * _PAD), height + layout.height + _PAD)
    return _Placed(box, size, sideways, layout, inner)


def _document(whole: _Placed, classes: str) -> str:
    width, height = whole.size[0] + 2 * _MARGIN, whole.size[1] + 2 * _MARGIN
    name = _escaped(whole.box.title)
    size = f'width="{width:.0f}" height="{height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{classes}" role="img" aria-label="{name}" {size}>',
        f"<title>{name}</title>",
        f"<style>\n{_STYLE}</style>",
        _ARROW,
        f'<rect class="paper" {size}/>',
        *_text(whole, (_MARGIN, _MARGIN)),
        *_content(whole, (_MARGIN, _MARGIN)),
        "</svg>",
    ]
    return "\n".join(parts).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _drawn(placed: _Placed, at: Point) -> Iterator[str]:
    box, (width, height) = placed.box, placed.size
    dim = ' class="absent"' if "absent" in box.classes else ""
    yield f"<g{dim}><title>{_escaped(box.tooltip)}</title>"
    yield (
        f'<rect class="{" ".join(box.classes)}" x="{at[0]:.1f}" y="{at[1]:.1f}" '
        f'width="{width:.1f}" height="{height:.1f}" rx="6"/>'
    )
    yield from _text(placed, at)
    yield "</g>"
    yield from _content(placed, at)


def _text(placed: _Placed, at: Point) -> Iterator[str]:
    x, y = at[0] + _PAD, at[1] + _PAD / 2 + 13.0
    yield f'<text class="title" x="{x:.1f}" y="{y:.1f}">{_escaped(placed.box.title)}</text>'
    for number, line in enumerate(placed.box.lines):
        below = y + 2.0 + _LINE * (number + 1)
        yield f'<text class="line" x="{x:.1f}" y="{below:.1f}">{_escaped(line)}</text>'


def _content(placed: _Placed, at: Point) -> Iterator[str]:
    layout = placed.layout
    if layout is None:
        return
    left = at[0] + (placed.size[0] - layout.width) / 2
    top = at[1] + placed.head + 1.2 * _PAD
    for edge, route in layout.routes.items():
        always = " always" if edge in placed.box.always else ""
        way = _way([(left + x, top + y) for x, y in route], placed.sideways)
        yield f'<path class="edge{always}" d="{way}" marker-end="url(#penstock-arrow)"/>'
    for one, (x, y) in zip(placed.inner, layout.places, strict=True):
        yield from _drawn(one, (left + x, top + y))


def _way(points: Sequence[Point], sideways: bool) -> str:
    """Straight along an axis, else a curve that leaves and arrives in the direction of the layers."""
    parts = [f"M{_point(points[0])}"]
    for one, other in pairwise(points):
        if one[0] == other[0] or one[1] == other[1]:
            parts.append(f"L{_point(other)}")
            continue
        x, y = (one[0] + other[0]) / 2, (one[1] + other[1]) / 2
        bends = ((x, one[1]), (x, other[1])) if sideways else ((one[0], y), (other[0], y))
        parts.append("C" + " ".join(_point(bend) for bend in (*bends, other)))
    return "".join(parts)


def _point(point: Point) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"


def _width(text: str, kind: str) -> float:
    """About as wide as the text is in any of the fonts; no font is asked."""
    return _EM[kind] * sum(_share(character) for character in text)


def _share(character: str) -> float:
    """Of an em."""
    if unicodedata.east_asian_width(character) in "WF":
        return 1.05
    if character in "ijltfrI|.,:;'!()[]{} ":
        return 0.36
    return 0.9 if character in "mwMW@%" else 0.72 if character.isupper() else 0.61


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _escaped(text: str) -> str:
    """Without what no XML can hold, also not escaped, and what would turn the direction of the text."""
    return html.escape("".join(one if one.isprintable() or one == "\n" else "\ufffd" for one in text))
