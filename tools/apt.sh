#!/usr/bin/env bash
# Install the Debian packages of the programs that are missing: apt.sh program=package …
# A package without a program is always installed. Prints nothing if nothing is missing.
set -euo pipefail

# Debian installs servers in a folder that is only in root's PATH.
PATH="$PATH:/usr/sbin"

missing=()
for need in "$@"; do
    command -v "${need%%=*}" >/dev/null || missing+=("${need#*=}")
done
[ "${#missing[@]}" -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
    echo "Missing programs: ${missing[*]}. There is no apt-get here; install them by hand." >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
    command -v sudo >/dev/null || { echo "Missing: ${missing[*]}. Install them as root." >&2; exit 1; }
fi

echo "Installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null

for need in "$@"; do
    [[ $need != *=* ]] || command -v "${need%%=*}" >/dev/null && continue
    echo "${need#*=} is installed, but ${need%%=*} is still not found." >&2
    exit 1
done
