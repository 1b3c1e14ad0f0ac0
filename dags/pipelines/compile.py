"""Compile every pipeline of this folder into `compiled/`, with whatever `kfp` this Python has.

    python dags/pipelines/compile.py             # all of them
    python dags/pipelines/compile.py iris flaky  # some of them
    python dags/pipelines/compile.py --check     # write nothing; end with 1 if one is missing or old

Each file NAME.py defines its pipeline as the function NAME.
"""

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

from kfp import compiler

HERE = Path(__file__).resolve().parent
COMPILED = HERE / "compiled"


def sources() -> list[Path]:
    return sorted(path for path in HERE.glob("*.py") if path != Path(__file__).resolve())


def compile_to(source: Path, target: Path) -> None:
    spec = importlib.util.spec_from_file_location(source.stem, source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    compiler.Compiler().compile(getattr(module, source.stem), package_path=str(target))


def is_current(source: Path) -> bool:
    committed = COMPILED / f"{source.stem}.yaml"
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / committed.name
        compile_to(source, fresh)
        return committed.exists() and committed.read_text() == fresh.read_text()


def main() -> int:
    names = {source.stem: source for source in sources()}
    parser = argparse.ArgumentParser(description="Compile the example pipelines into compiled/.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all if none is given")
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 if one is old")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in names]:
        parser.error(f"there is no pipeline {', '.join(unknown)} here; there are {', '.join(names)}")
    chosen = [names[name] for name in arguments.names] or list(names.values())

    if arguments.check:
        old = [source.stem for source in chosen if not is_current(source)]
        if old:
            print(f"missing or old in compiled/: {', '.join(old)}; run compile.py", file=sys.stderr)
        return 1 if old else 0
    COMPILED.mkdir(exist_ok=True)
    for source in chosen:
        compile_to(source, COMPILED / f"{source.stem}.yaml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
