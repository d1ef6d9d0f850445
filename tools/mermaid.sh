#!/usr/bin/env bash
# Fetch the script that draws the diagrams of the documentation into build/mermaid, once per version.
# Without npm or a network the pages show the source of the diagrams, so this script never fails.
set -uo pipefail
cd "$(dirname "$0")/.."

package=@mermaid-js/tiny@11.17.2
folder=build/mermaid
[ "$(cat "$folder/.version" 2>/dev/null)" = "$package" ] && exit 0

give_up() {
    echo "$1 The documentation shows its diagrams as text." >&2
    exit 0
}

command -v npm >/dev/null || give_up "npm is missing."
mkdir -p "$folder"
archive=$(cd "$folder" && timeout 40 npm pack --silent --fetch-retries=0 --fetch-timeout=10000 "$package") ||
    give_up "npm could not fetch $package."
tar -xzf "$folder/$archive" -C "$folder" --strip-components=2 package/dist/mermaid.tiny.js &&
    rm "$folder/$archive" && echo "$package" >"$folder/.version" || give_up "$package has other files than expected."
