"""Where the nodes of a graph without circles stand when it is drawn in layers.

After Sugiyama's scheme: each node goes below all that it waits for, the order within a layer is improved by
going up and down through the layers, and then nodes move towards their neighbours as far as there is room.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

Size: TypeAlias = tuple[float, float]
Point: TypeAlias = tuple[float, float]
Edge: TypeAlias = tuple[int, int]

GAP = 22.0
"""Between neighbours in a layer."""
LAYER_GAP = 38.0
"""Between two layers, for the edges to cross over."""
_LANE = 8.0
"""What an edge takes up in a layer that it only passes."""
_STIFF = 8.0
"""How much harder an edge that passes a layer is pushed aside than a node."""
_SWEEPS = 8
_WIDE = 1.6
"""A drawing that is so much wider than high fits a screen."""
_SCROLL = 0.7
"""What a drawing that is too high costs, beside one that is too wide."""


@dataclass(frozen=True, slots=True)
class Layout:
    """`places` are the nodes' top left corners. A route leads from border to border, straight through a layer
    and from lane to lane between two.
    """

    width: float
    height: float
    places: tuple[Point, ...]
    routes: Mapping[Edge, tuple[Point, ...]]


def arrange(sizes: Sequence[Size], edges: Iterable[Edge], *, sideways: bool = False) -> Layout:
    """Layers from the top to the bottom, or `sideways` from left to right. An edge (a, b) puts b after a.

    Nodes without any edge stand in rows after the rest. Raises ValueError where edges lead in a circle.
    """
    wanted = list(dict.fromkeys(edges))
    turned = [(height, width) if sideways else (width, height) for width, height in sizes]
    joined = sorted({node for edge in wanted for node in edge})
    places: dict[int, Point] = {}
    routes: dict[Edge, tuple[Point, ...]] = {}
    width = height = 0.0
    if joined:
        index = {node: position for position, node in enumerate(joined)}
        layers = _Layers([turned[node] for node in joined], [(index[a], index[b]) for a, b in wanted])
        width, height = layers.extent()
        places = {node: layers.place(index[node]) for node in joined}
        routes = {(a, b): layers.route(index[a], index[b]) for a, b in wanted}
    alone = [node for node in range(len(turned)) if node not in places]
    rows = _rows(turned, alone, width, sideways)
    top = height + LAYER_GAP if joined and alone else height
    for node, (x, y) in rows.items():
        places[node] = (x, top + y)
        width = max(width, x + turned[node][0])
        height = max(height, top + y + turned[node][1])
    if sideways:
        return Layout(
            height,
            width,
            tuple((places[node][1], places[node][0]) for node in range(len(turned))),
            {edge: tuple((y, x) for x, y in route) for edge, route in routes.items()},
        )
    return Layout(width, height, tuple(places[node] for node in range(len(turned))), routes)


def badness(layout: Layout) -> float:
    """The smaller of two is the better one to look at on a screen."""
    return max(layout.width, layout.height * _SCROLL)


def _rows(sizes: Sequence[Size], nodes: Sequence[int], width: float, sideways: bool) -> dict[int, Point]:
    """Row after row, as wide as `width` or as makes the whole fit a screen."""
    area = sum((sizes[node][0] + GAP) * (sizes[node][1] + GAP) for node in nodes)
    limit = max(width, math.sqrt(area / _WIDE if sideways else area * _WIDE))
    found: dict[int, Point] = {}
    x = y = row = 0.0
    for node in nodes:
        if x and x + sizes[node][0] > limit:
            x, y, row = 0.0, y + row + GAP, 0.0
        found[node] = (x, y)
        x += sizes[node][0] + GAP
        row = max(row, sizes[node][1])
    return found


@dataclass(slots=True)
class _Layers:
    """Nodes of the graph come first, then one for each layer that an edge only passes. `centers` are theirs
    within their layer.
    """

    sizes: list[Size]
    edges: list[Edge]
    count: int = field(init=False)
    levels: list[int] = field(init=False)
    order: list[list[int]] = field(init=False)
    above: list[list[int]] = field(init=False)
    below: list[list[int]] = field(init=False)
    centers: list[float] = field(init=False)
    tops: list[float] = field(init=False)
    chains: dict[Edge, list[int]] = field(init=False, default_factory=dict[Edge, list[int]])

    def __post_init__(self) -> None:
        self.count = len(self.sizes)
        self.levels = _levels(self.count, self.edges)
        self._insert_lanes()
        self.order = [[] for _ in range(max(self.levels) + 1)]
        for node, level in enumerate(self.levels):
            self.order[level].append(node)
        self._reorder()
        self.centers = [0.0] * len(self.sizes)
        self._settle()
        self.tops = [0.0]
        for layer in self.order:
            self.tops.append(self.tops[-1] + max(self.sizes[node][1] for node in layer) + LAYER_GAP)

    def extent(self) -> Size:
        right = max(center + size[0] / 2 for center, size in zip(self.centers, self.sizes, strict=True))
        return right, self.tops[-1] - LAYER_GAP

    def place(self, node: int) -> Point:
        return self.centers[node] - self.sizes[node][0] / 2, self.tops[self.levels[node]]

    def route(self, first: int, last: int) -> tuple[Point, ...]:
        start, end = self.centers[first], self.centers[last]
        top = self.tops[self.levels[first]]
        points = [(start, top + self.sizes[first][1]), (start, self._bottom(self.levels[first]))]
        for lane in self.chains[first, last]:
            center, level = self.centers[lane], self.levels[lane]
            points += [(center, self.tops[level]), (center, self._bottom(level))]
        points.append((end, self.tops[self.levels[last]]))
        return tuple(dict.fromkeys(points))

    def _bottom(self, level: int) -> float:
        return self.tops[level + 1] - LAYER_GAP

    def _insert_lanes(self) -> None:
        """Every edge becomes a chain from layer to layer."""
        self.above = [[] for _ in self.sizes]
        self.below = [[] for _ in self.sizes]
        for first, last in self.edges:
            before = first
            chain = self.chains[first, last] = []
            for level in range(self.levels[first] + 1, self.levels[last]):
                chain.append(len(self.sizes))
                self.sizes.append((_LANE, 0.0))
                self.levels.append(level)
                self.above.append([])
                self.below.append([])
            for node in (*chain, last):
                self.below[before].append(node)
                self.above[node].append(before)
                before = node

    def _reorder(self) -> None:
        """Fewer crossings: each node goes to where its neighbours in the layer before are in the mean."""
        best, fewest = [list(layer) for layer in self.order], self._crossings()
        rank = [0.0] * len(self.sizes)
        for layer in self.order:
            _rank(layer, rank)
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            neighbours = self.above if down else self.below
            for layer in self.order if down else reversed(self.order):
                wanted = {node: _mean(rank, neighbours[node], rank[node]) for node in layer}
                layer.sort(key=wanted.__getitem__)
                _rank(layer, rank)
            count = self._crossings()
            if count < fewest:
                best, fewest = [list(layer) for layer in self.order], count
        self.order = best

    def _crossings(self) -> int:
        position = {node: number for layer in self.order for number, node in enumerate(layer)}
        total = 0
        for layer in self.order:
            ends: list[int] = []
            for node in layer:
                mine = sorted(position[one] for one in self.below[node])
                total += sum(len(ends) - bisect_left(ends, one + 1) for one in mine)
                for one in mine:
                    insort(ends, one)
        return total

    def _settle(self) -> None:
        """Nodes move towards the mean of their neighbours, first of those above, then of those below."""
        for layer in self.order:
            self._move(layer, [0.0] * len(layer))
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            neighbours = self.above if down else self.below
            for layer in self.order if down else reversed(self.order):
                self._move(
                    layer, [_mean(self.centers, neighbours[node], self.centers[node]) for node in layer]
                )
        left = min(center - size[0] / 2 for center, size in zip(self.centers, self.sizes, strict=True))
        self.centers = [center - left for center in self.centers]

    def _move(self, layer: Sequence[int], desired: Sequence[float]) -> None:
        widths = [self.sizes[node][0] for node in layer]
        distances = [(one + other) / 2 + GAP for one, other in pairwise(widths)]
        weights = [1.0 if node < self.count else _STIFF for node in layer]
        for node, center in zip(layer, spread(desired, distances, weights), strict=True):
            self.centers[node] = center


def spread(desired: Sequence[float], distances: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Places in the given order, each at least its distance after the one before, and as near to the desired
    ones as can be (least squares, weighted): those that would overlap move together, to their mean.
    """
    offsets = [0.0]
    for distance in distances:
        offsets.append(offsets[-1] + distance)
    blocks: list[tuple[float, float, int]] = []
    for wanted, offset, stiffness in zip(desired, offsets, weights, strict=True):
        mean, weight, count = wanted - offset, stiffness, 1
        while blocks and blocks[-1][0] > mean:
            other, more, members = blocks.pop()
            mean = (mean * weight + other * more) / (weight + more)
            weight, count = weight + more, count + members
        blocks.append((mean, weight, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _levels(count: int, edges: Sequence[Edge]) -> list[int]:
    """Below all that a node waits for; what waits for nothing stands right above the first that needs it."""
    below: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for first, last in edges:
        below[first].append(last)
        waiting[last] += 1
    starts = [node for node in range(count) if not waiting[node]]
    levels, done = [0] * count, list(starts)
    for node in done:
        for after in below[node]:
            levels[after] = max(levels[after], levels[node] + 1)
            waiting[after] -= 1
            if not waiting[after]:
                done.append(after)
    if len(done) < count:
        raise ValueError("the edges lead in a circle")
    for node in starts:
        levels[node] = min(levels[after] for after in below[node]) - 1 if below[node] else 0
    return levels


def _rank(layer: Sequence[int], rank: list[float]) -> None:
    for position, node in enumerate(layer):
        rank[node] = (position + 0.5) / len(layer)


def _mean(values: Sequence[float], nodes: Sequence[int], otherwise: float) -> float:
    return sum(values[node] for node in nodes) / len(nodes) if nodes else otherwise
