#!/usr/bin/env bash
# Install what package.json names, and the packed client beside it, into the folder $1.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
client=$here/../../../flask_aistream/static

if ! command -v npm >/dev/null; then
    echo "npm is missing; the client's package cannot be tested. On Debian: apt-get install npm" >&2
    exit 1
fi
cp -r "$here"/{package.json,package-lock.json,.npmrc,app,types,chat.mjs,speed.mjs} "$1"
cd "$1"
npm ci --loglevel=error --ignore-scripts
npm pack "$client" --silent
# As it is, not as a link: what is not in `files` is missing.
npm install --loglevel=error --ignore-scripts --no-save ./flask-aistream-*.tgz
