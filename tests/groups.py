"""Pytest plugin: `xdist_group` with pytest 9.2, which takes no notice of what xdist 3.8 adds to the id of an
item of a group. Without it two tests of one group run at the same time.
"""

from __future__ import annotations

from typing import Any, cast

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        plain, given = item.nodeid, str(vars(item).get("_nodeid", ""))
        if given.startswith(f"{plain}@"):
            found = cast("Any", item)
            names = given.removeprefix(found._id.path).removeprefix("::")
            found._id = type(found._id)(path=found._id.path, names=(names,))
