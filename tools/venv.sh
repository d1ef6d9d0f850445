#!/usr/bin/env bash
# Create a virtual environment: venv.sh python folder. An existing one that works is kept.
set -euo pipefail
python=$1 folder=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "$("$python" -V 2>&1) is too old: Python 3.10 or later is required. Select one with make PYTHON=…" >&2
    exit 1
fi
"$folder/bin/python" -m pip --version >/dev/null 2>&1 && exit 0

# On Debian, ensurepip is a separate package.
"$python" -c 'import ensurepip' 2>/dev/null || "$(dirname "$0")/apt.sh" python3-venv
"$python" -m venv --clear "$folder"
