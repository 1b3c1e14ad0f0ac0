from __future__ import annotations

import pytest

from penstock.errors import InvalidInputError, NotFoundError
from penstock.model import Artifact, ArtifactType
from penstock.store import Store

FIRST = "01a1fe04-d38b-76db-9dd3-deb0da17f81b"
SECOND = "01a1fe04-d38b-756a-927a-2831dbd42a24"


@pytest.fixture(autouse=True)
def two(store: Store) -> None:
    store.artifacts.register(
        [Artifact(one, "model", ArtifactType("system.Model"), "") for one in (FIRST, SECOND)]
    )


@pytest.mark.parametrize("reference", [FIRST, "da17f81b", "DA17F81B", "01a1fe04-d38b-76"])
def test_an_artifact_is_found_by_its_id_and_by_either_end_of_it(store: Store, reference: str) -> None:
    assert store.artifacts.find(reference).artifact.id == FIRST


def test_an_end_that_several_ids_have_is_refused_with_their_names(store: Store) -> None:
    with pytest.raises(InvalidInputError, match=f"fits several artifacts .*{FIRST}"):
        store.artifacts.find("01a1fe04")


@pytest.mark.parametrize("reference", ["deb0", "81b", "%", "____"])
def test_neither_the_middle_of_an_id_nor_a_pattern_finds_one(store: Store, reference: str) -> None:
    with pytest.raises(NotFoundError, match="there is no artifact"):
        store.artifacts.find(reference)
