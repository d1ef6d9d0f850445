#!/usr/bin/env bash
# Create a virtual environment with uv and pip: venv.sh python folder. An existing one that works is kept.
set -euo pipefail
python=$1 folder=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "$("$python" -V 2>&1) is too old: Python 3.10 or later is required. Select one with make PYTHON=…" >&2
    exit 1
fi
"$folder/bin/python" -m pip --version >/dev/null 2>&1 && exit 0

# On Debian, ensurepip is a separate package.
"$python" -c 'import ensurepip' 2>/dev/null || "$(dirname "$0")/apt.sh" python3-venv

# The pip that Python bundles runs from its archive, and installs uv, which installs pip in a twentieth of the time that
# ensurepip takes. Without the archive or an index, ensurepip does it.
bundled=$("$python" -c 'import ensurepip, pathlib
print(*pathlib.Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"), sep="\n")' | tail -n 1)
"$python" -m venv --clear --without-pip "$folder"
[ -n "$bundled" ] &&
    "$folder/bin/python" "$bundled/pip" install --quiet --disable-pip-version-check --no-compile uv 2>/dev/null &&
    "$folder/bin/python" -m uv pip install --quiet --python "$folder/bin/python" pip 2>/dev/null &&
    exit 0
"$python" -m venv --clear "$folder"
