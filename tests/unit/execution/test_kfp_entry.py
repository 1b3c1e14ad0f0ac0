from __future__ import annotations

import ast
from pathlib import Path

from penstock.execution.process.arguments import ENTRY


def test_the_entry_runs_on_any_python_that_an_image_may_have() -> None:
    """Images of SDK 1.8 and 2.0 have Python 3.7: no newer syntax, and no generics or unions of newer ones in
    annotations, which are evaluated there.
    """
    tree = ast.parse(Path(ENTRY).read_text("utf-8"), feature_version=(3, 6))
    annotations = [node.annotation for node in ast.walk(tree) if isinstance(node, ast.arg | ast.AnnAssign)]
    annotations += [node.returns for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert annotations
    assert [ast.unparse(one) for one in annotations if isinstance(one, ast.Subscript | ast.BinOp)] == []
