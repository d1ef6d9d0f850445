#!/usr/bin/env bash
# Copy the libraries of the chat page from npm to example_app/static/libraries, once per version.
# Without npm or a network the page works and shows answers as plain text, so this script never fails.
set -uo pipefail
cd "$(dirname "$0")/../example_app"

served=static/libraries
cmp --quiet package.json "$served/package.json" 2>/dev/null && exit 0

give_up() {
    echo "$1 The chat page shows answers as plain text." >&2
    exit 0
}

command -v npm >/dev/null || give_up "npm is missing: no Markdown library is installed."
echo "Installing the libraries of the chat page"
timeout 40 npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error \
    --fetch-retries=0 --fetch-timeout=10000 || give_up "npm could not install the Markdown library."

mkdir -p "$served"
cp node_modules/markdown-it/dist/browser/markdown-it.esm.min.mjs "$served/markdown-it.js" &&
    cp node_modules/dompurify/dist/purify.es.mjs "$served/dompurify.js" &&
    cp node_modules/@highlightjs/cdn-assets/es/highlight.min.js "$served/highlight.js" &&
    cp package.json "$served/" || give_up "The Markdown library has other files than expected."
