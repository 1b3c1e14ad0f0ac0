#!/bin/sh
# Prints the path of a Python that can run penstock. PYTHON, when set, is the only one asked.
new_enough='import sys; sys.version_info >= (3, 11) or sys.exit(1); print(sys.executable)'
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.14 python3.11 python}; do
    found=$("$candidate" -c "$new_enough" </dev/null 2>/dev/null) && echo "$found" && exit 0
done
if [ -n "${PYTHON:-}" ]; then
    echo "penstock needs Python 3.11 or newer, and PYTHON=$PYTHON is not: name another, or leave PYTHON unset." >&2
else
    echo "penstock needs Python 3.11 or newer, and none is on PATH: install one, or name it with PYTHON=/path/to/python3." >&2
fi
exit 1
