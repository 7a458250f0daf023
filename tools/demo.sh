#!/usr/bin/env bash
# From example advisories to a signed vulnerability database that Trivy uses, below ./demo; each step is shown.
set -euo pipefail
cd "$(dirname "$0")/.."

place=demo
export STELLA_DATA_DIR=$place/data
PATH=$PWD/.venv/bin:$PATH

step() { printf '\n$ %s\n' "$*"; "$@"; }
field() { python -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

rm -rf "$place"
mkdir -p "$place"

echo '1. Take in advisories: each directory is a source.'
for source in examples/advisories/*; do
  name=$(basename "$source")
  step stella concelier import "$source" --source "${name%%.*}"
done
step stella concelier status

printf '\n2. Make a signed database for Trivy, and take it out.\n'
printf '\n$ stella export run submit --profile trivy:db --wait\n'
run=$(stella export run submit --profile trivy:db --wait --format json | field runId)
step stella export run show "$run"
step stella export download "$run" --to "$place/bundle"

printf '\n3. On the far side: the bundle and the public key are all that is needed.\n'
cp "$STELLA_DATA_DIR/tenants/default/export-center.pub" "$place/export-center.pub"
step stella export verify "$place/bundle" --key "$place/export-center.pub"
if command -v openssl >/dev/null; then
  base64 -d "$place/bundle/signatures/export.sig" >"$place/export.sig.der"
  step openssl dgst -sha256 -verify "$place/export-center.pub" -signature "$place/export.sig.der" "$place/bundle/export.json"
fi

if command -v trivy >/dev/null; then
  printf '\n4. Stock Trivy scans with it, offline.\n'
  step stella trivy import "$place/bundle/trivy/db.bundle" --cache-dir "$place/trivy-cache" --key "$place/export-center.pub"
  step trivy fs --cache-dir "$place/trivy-cache" --skip-db-update --skip-version-check --offline-scan --quiet --scanners vuln examples/projects/webshop
else
  printf '\n4. No trivy was found, so the scan is left out.\n'
fi
