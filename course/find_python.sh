#!/bin/sh
# Print a Python that can make the course's .venv; say in one line what to do when there is none.
#
#     course/find_python.sh [PYTHON]
#
# Each candidate is tried by running it: a name on PATH may be a shim that only fails.

least="3.11"
candidates="${1:-python3 python3.14 python3.13 python3.12 python3.11}"
found=""
for python in $candidates; do
    command -v "$python" >/dev/null 2>&1 || continue
    version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null </dev/null)
    if [ -z "$version" ]; then
        found="$found, $python (does not run)"
    elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null </dev/null; then
        found="$found, $python ($version is too old)"
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null </dev/null; then
        # Debian and Ubuntu leave it out of python3
        found="$found, $python ($version lacks venv: install python3-venv)"
    else
        command -v "$python"
        exit 0
    fi
done
tried=${found#, }
echo "The course needs Python $least or newer and found ${tried:-none of: $candidates}." \
     "Install one, or name yours: make setup PYTHON=/path/to/python3" >&2
exit 1
