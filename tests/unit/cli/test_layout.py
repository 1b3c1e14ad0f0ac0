"""Where the nodes of a drawing stand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.layout import GAP, LAYER_GAP, Edge, Layout, Size, arrange, badness, spread

Graph = tuple[list[Size], list[Edge]]

sides = st.integers(10, 300).map(float)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    sizes = draw(st.lists(st.tuples(sides, sides), max_size=14))
    node = st.integers(0, max(0, len(sizes) - 1))
    pairs = draw(st.lists(st.tuples(node, node), max_size=25)) if sizes else []
    return sizes, [(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]]


def overlap(layout: Layout, sizes: list[Size]) -> list[Edge]:
    found: list[Edge] = []
    for one in range(len(sizes)):
        for other in range(one):
            (x, y), (a, b) = layout.places[one], layout.places[other]
            if (
                x < a + sizes[other][0] - 0.01
                and a < x + sizes[one][0] - 0.01
                and y < b + sizes[other][1] - 0.01
                and b < y + sizes[one][1] - 0.01
            ):
                found.append((one, other))
    return found


@given(graphs(), st.booleans())
def test_no_node_lies_on_another_and_all_within_the_drawing(graph: Graph, sideways: bool) -> None:
    sizes, edges = graph

    layout = arrange(sizes, edges, sideways=sideways)

    assert overlap(layout, sizes) == []
    for (x, y), (width, height) in zip(layout.places, sizes, strict=True):
        assert min(x, y) > -0.01
        assert x + width < layout.width + 0.01 and y + height < layout.height + 0.01


@given(graphs())
def test_every_edge_leads_down_from_border_to_border_and_through_no_node(graph: Graph) -> None:
    sizes, edges = graph

    layout = arrange(sizes, edges)

    assert set(layout.routes) == set(edges)
    for (first, last), route in layout.routes.items():
        (x, y), (a, b) = layout.places[first], layout.places[last]
        assert route[0] == pytest.approx((x + sizes[first][0] / 2, y + sizes[first][1]))
        assert route[-1] == pytest.approx((a + sizes[last][0] / 2, b))
        assert [point[1] for point in route] == sorted(point[1] for point in route)
        for one, other in pairwise(route):
            for (x, y), (width, height) in zip(layout.places, sizes, strict=True):
                if one[0] == other[0]:  # straight, through a layer
                    beside = not (x + 0.01 < one[0] < x + width - 0.01)
                    assert beside or other[1] < y + 0.01 or one[1] > y + height - 0.01
                else:  # between two layers, where nothing stands
                    assert other[1] < y + 0.01 or one[1] > y + height - 0.01


@given(graphs())
def test_sideways_is_the_same_with_the_axes_exchanged(graph: Graph) -> None:
    sizes, edges = graph
    joined = sorted({node for edge in edges for node in edge})
    index = {node: number for number, node in enumerate(joined)}
    edges = [(index[a], index[b]) for a, b in edges]
    sizes = [sizes[node] for node in joined]

    down = arrange([(height, width) for width, height in sizes], edges)
    right = arrange(sizes, edges, sideways=True)

    assert [(y, x) for x, y in right.places] == list(down.places)


def test_a_chain_stands_in_one_straight_line() -> None:
    layout = arrange([(80.0, 40.0), (120.0, 40.0), (60.0, 40.0)], [(0, 1), (1, 2)])

    assert layout.places == ((20.0, 0.0), (0.0, 40.0 + LAYER_GAP), (30.0, 2 * (40.0 + LAYER_GAP)))
    assert layout.routes[0, 1] == ((60.0, 40.0), (60.0, 40.0 + LAYER_GAP))


def test_edges_that_could_cross_do_not() -> None:
    """The second half waits for the first one the other way round."""
    layout = arrange([(50.0, 30.0)] * 6, [(0, 5), (1, 4), (2, 3)])

    above, below = layout.places[:3], layout.places[3:]
    assert [x for x, _ in above] == [x for x, _ in reversed(below)]


def test_what_waits_for_nothing_stands_right_above_what_needs_it() -> None:
    layout = arrange([(50.0, 30.0)] * 4, [(0, 1), (1, 2), (3, 2)])

    assert layout.places[3][1] == layout.places[1][1] != layout.places[0][1]


def test_nodes_without_edges_stand_in_rows_that_fit_a_screen() -> None:
    layout = arrange([(100.0, 40.0)] * 60, [])

    assert len({y for _, y in layout.places}) > 5
    assert layout.width < 1000 and layout.height < 1000


def test_many_at_once_are_better_sideways_and_a_long_chain_is_not() -> None:
    fan = [(0, node) for node in range(1, 40)], 40
    chain = [(node, node + 1) for node in range(39)], 40

    def is_better_sideways(edges: list[Edge], count: int) -> bool:
        down, right = (arrange([(120.0, 50.0)] * count, edges, sideways=one) for one in (False, True))
        return badness(right) < badness(down)

    assert (is_better_sideways(*fan), is_better_sideways(*chain)) == (True, False)


def test_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="circle"):
        arrange([(10.0, 10.0)] * 3, [(0, 1), (1, 2), (2, 1)])


def test_nothing_has_no_extent() -> None:
    assert arrange([], []) == Layout(0.0, 0.0, (), {})


def test_who_has_room_stands_where_he_wants_and_others_share_the_way() -> None:
    assert spread([0.0, 50.0], [10.0], [1.0, 1.0]) == [0.0, 50.0]
    assert spread([20.0, 20.0], [GAP], [1.0, 1.0]) == [20.0 - GAP / 2, 20.0 + GAP / 2]
    assert spread([0.0, 0.0], [12.0], [3.0, 1.0]) == [-3.0, 9.0]
