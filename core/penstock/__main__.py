"""`penstock` and `python -m penstock`."""

from __future__ import annotations

import sys


def main() -> None:
    """The console entry point. Asking for the version must not cost the import of the whole program."""
    if sys.argv[1:] in (["version"], ["--version"]):
        from penstock._version import __version__

        try:
            print(f"penstock {__version__}", flush=True)
        except OSError as error:
            sys.exit(f"error: {error.strerror}")
        return
    from penstock.cli import run_cli

    sys.exit(run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
