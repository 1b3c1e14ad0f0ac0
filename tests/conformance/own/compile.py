"""Compiles sources/ to pipelines/: `PYTHON -m tests.conformance.own.compile [THEME …]`.

PYTHON has the kfp that a source names as SDK, 2.17.0 where it names none. What is for another is left alone.
"""

from __future__ import annotations

import importlib
import re
import sys
import time
import warnings
from pathlib import Path

FOLDER = Path(__file__).parent
SDK = "2.17.0"


def main() -> None:
    import kfp  # pyright: ignore[reportMissingImports]

    warnings.simplefilter("ignore")
    time.time = lambda: 0.0  # in archives of embedded files
    sys.path.insert(0, str(FOLDER / "sources"))
    themes = sys.argv[1:] or [path.stem for path in sorted((FOLDER / "sources").glob("*.py"))]
    for theme in themes:
        if theme == "parts":
            continue
        source = (FOLDER / "sources" / f"{theme}.py").read_text("utf-8")
        named = re.search(r'^SDK = "(.+)"$', source, re.MULTILINE)
        wanted = named[1] if named else SDK
        if wanted != kfp.__version__:
            sys.stdout.write(f"{theme}: left alone, it is for kfp {wanted}\n")
            continue
        module = importlib.import_module(theme)
        if hasattr(module, "compile_to"):
            module.compile_to(str(FOLDER / "pipelines"))
            continue
        for pipeline in module.PIPELINES:
            name = pipeline.name.replace("_", "-")
            kfp.compiler.Compiler().compile(pipeline, str(FOLDER / "pipelines" / f"{theme}--{name}.yaml"))


if __name__ == "__main__":
    main()
