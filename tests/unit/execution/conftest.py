"""A cache of environments that knows nothing but a folder of packages made by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.execution.environments.cache import Environments
from penstock.execution.environments.pythons import running_python
from tests.unit.execution.local_index import wheel


@pytest.fixture
def links(tmp_path: Path) -> Path:
    folder = tmp_path / "links"
    wheel(folder, "apple")
    wheel(folder, "banana", "2.5", requires="apple")
    return folder


@pytest.fixture
def variables(tmp_path: Path, links: Path) -> dict[str, str]:
    return {
        "PATH": f"{Path(running_python().path).parent}:{os.defpath}",
        "HOME": str(tmp_path / "home"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(links),
        "UV_CACHE_DIR": str(tmp_path / "uv-cache"),
        "SLOW_STARTED": str(tmp_path / "started"),
        "SLOW_RELEASED": str(tmp_path / "released"),
    }


@pytest.fixture
def environments(tmp_path: Path, variables: dict[str, str]) -> Environments:
    return Environments(tmp_path / "environments", offline=True, variables=variables)
