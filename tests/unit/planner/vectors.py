"""The golden vectors of KFP's own programs, from the folder that PENSTOCK_TEST_KFP_CORPUS names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def read_vectors(name: str) -> str:
    folder = os.environ.get("PENSTOCK_TEST_KFP_CORPUS")
    if not folder:
        pytest.skip("PENSTOCK_TEST_KFP_CORPUS does not name the folder of the KFP corpus")
    return (Path(folder) / "vectors" / name).read_text("utf-8")
