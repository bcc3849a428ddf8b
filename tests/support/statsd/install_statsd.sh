#!/bin/sh
# Fetches StatsD from npm into .brokers/statsd, for the broker test of StatsD. Needs Node.js and npm. Does nothing when the
# version of this package.json is there already.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
place=$(cd "$here/../../.." && pwd)/.brokers/statsd

if cmp -s "$here/package.json" "$place/installed.json"; then
    echo "StatsD is in $place"
    exit 0
fi
command -v npm >/dev/null || { echo "npm not found: install it first (Debian: apt-get install nodejs npm)" >&2; exit 1; }

rm -rf "$place"
mkdir -p "$place"
cp "$here/package.json" "$place/package.json"
npm install --prefix "$place" --omit=optional --no-audit --no-fund --no-package-lock --loglevel=error
cp "$here/package.json" "$place/installed.json" # last, so that an interrupted run is not taken for a finished one
echo "StatsD is in $place"
