#!/usr/bin/env bash
# Install the JavaScript clients (and a Node that runs them) from package-lock.json, once.
set -euo pipefail
cd "$(dirname "$0")"

done_for=node_modules/.installed-for
cmp --quiet package-lock.json "$done_for" 2>/dev/null && exit 0

if ! command -v npm >/dev/null; then
    echo "npm is missing; the JavaScript clients cannot be tested. On Debian: apt-get install npm" >&2
    exit 1
fi
npm ci --loglevel=error
cp package-lock.json "$done_for"
