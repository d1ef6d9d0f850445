#!/usr/bin/env bash
# Install packages into a virtual environment: install.sh folder argument …, arguments as pip's.
# uv takes a fifth of the time; pip is the fallback if uv cannot be installed or fails.
set -euo pipefail
python=$1/bin/python
shift
pip=("$python" -m pip install --quiet --disable-pip-version-check)

echo "Installing $*"
{ "$python" -m uv --version >/dev/null 2>&1 || "${pip[@]}" uv; } &&
    "$python" -m uv pip install --quiet --python "$python" "$@" && exit 0
"${pip[@]}" "$@"
