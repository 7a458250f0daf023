#!/usr/bin/env bash
# From example advisories to a signed vulnerability database that stock Trivy uses, all of it below ./demo.
# Each command is shown before what matters of its output. Ends with 0 only if Trivy found exactly what it has to.
set -euo pipefail
exec </dev/null
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

# Nothing of the caller's own set-up counts, but for a Trivy that was named on purpose.
trivy=${STELLA_TRIVY:-$(command -v trivy || true)}
unset "${!STELLA_@}" "${!TRIVY_@}"
export STELLA_DATA_DIR=demo/data STELLA_CONFIG=/dev/null
if [ -n "$trivy" ]; then export STELLA_TRIVY=$trivy; fi

title() { printf '\n%s\n' "$*"; }
say() { printf '  %s\n' "$*"; }
shown() { printf '  $ %s\n' "$*"; }
indented() { sed -e 's/ *$//' -e 's/^/    /'; }
only() { grep -E "^($1) " | awk '{ name = $1; $1 = ""; printf "    %-9s%s\n", name, $0 }'; }
field() { python -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

# A failed check of the demo itself: what was to be seen and was not.
broken() { printf '\nThe demo failed: %s\n' "$*" >&2; exit 1; }

import_examples() {
  local folder name
  for folder in examples/advisories/*/; do
    name=$(basename "$folder")
    printf '  $ stella concelier import %-31s --source %-10s' "examples/advisories/$name" "$name"
    printf '%4s added\n' "$(stella concelier import "$folder" --source "$name" --quiet --format json | field added)"
  done
  shown stella concelier status
  stella concelier status --format table | indented
}

export_profile() { # profile, place of its bundle
  shown stella export run submit --profile "$1"
  stella export run submit --profile "$1" --quiet --format table | only 'status|snapshot|export|bundle'
  shown stella export download "latest:$1" --to "$2"
  stella export download "latest:$1" --to "$2" --format json >/dev/null
}

verify_bundle() { # bundle root
  local report=demo/report.txt code=0
  shown stella export verify "$1" --key demo/export-center.pub
  stella export verify "$1" --key demo/export-center.pub --quiet --format table >"$report" || code=$?
  awk '$1 ~ /^V[0-9]+$/ { count[$3]++ } END { printf "    %d checks ok", count["ok"];
    if (count["failed"]) printf ", %d failed", count["failed"];
    if (count["skipped"]) printf ", %d skipped", count["skipped"]; print "" }' "$report"
  grep -E '^V[0-9]+ +[a-z-]+ +failed' "$report" | sed 's/: .*//' | indented || true
  grep '^verdict' "$report" | indented
  rm "$report"
  return "$code"
}

verify_with_openssl() {
  shown 'base64 -d demo/trivy-db/signatures/export.sig > demo/export.der'
  base64 -d demo/trivy-db/signatures/export.sig >demo/export.der
  shown openssl dgst -sha256 -verify demo/export-center.pub -signature demo/export.der demo/trivy-db/export.json
  openssl dgst -sha256 -verify demo/export-center.pub -signature demo/export.der demo/trivy-db/export.json | indented
}

show_that_a_changed_byte_is_found() {
  local code=0
  cp -r demo/trivy-db demo/tampered
  shown 'cp -r demo/trivy-db demo/tampered; printf X >> demo/tampered/trivy/db.bundle'
  printf X >>demo/tampered/trivy/db.bundle
  verify_bundle demo/tampered || code=$?
  [ "$code" -eq 6 ] || broken "a changed bundle ended with exit code $code, not 6"
  say '  exit code 6'
  rm -r demo/tampered
}

LINE='{{range .}}{{range .Vulnerabilities}}{{printf "%-9s %-20s %-44s %-10s %s" .Severity .VulnerabilityID .PkgName .InstalledVersion .FixedVersion}}
{{end}}{{end}}'

scan() { # project
  local options=(--cache-dir demo/trivy-cache --skip-db-update --offline-scan)
  shown trivy fs "${options[@]}" "examples/projects/$1"
  "$trivy" fs "${options[@]}" --skip-version-check --disable-telemetry --quiet --scanners vuln \
    --format template --template "$LINE" "examples/projects/$1" | sed '/^$/d' >demo/findings.txt
  indented <demo/findings.txt
  local found expected
  found=$(wc -l <demo/findings.txt)
  expected=$(python -c 'import json, sys; print(len(json.load(sys.stdin)[f"projects/{sys.argv[1]}"]))' "$1" \
    <examples/expected-findings.json)
  [ "$found" -eq "$expected" ] || broken "$found findings in $1, not $expected"
  rm demo/findings.txt
  say "$found findings, as examples/expected-findings.json says. (One line each for brevity; Trivy's tables are the default.)"
}

rm -rf demo
mkdir demo

printf 'StellaOps demo: from example advisories to a signed database that stock Trivy uses.\n'
printf 'It writes below ./demo only, begins anew each time, and needs no network.\n'

title '1. Import: every folder is a source; its documents are kept byte for byte, with where they came from.'
import_examples

title '2. Export: one state of the evidence becomes two bundles, both signed (the first run makes the key).'
export_profile trivy:db demo/trivy-db
export_profile json:raw demo/json-raw

title '3. Verify, as a receiver does: with the bundle and the public key, no data directory, no network.'
shown stella authority key export-public --to demo/export-center.pub
stella authority key export-public --to demo/export-center.pub --format json >/dev/null
verify_bundle demo/trivy-db
verify_bundle demo/json-raw
if command -v openssl >/dev/null; then
  verify_with_openssl
else
  say '(openssl is not installed: its check of the same signature is left out.)'
fi
say 'One byte more, and the bundle is refused:'
show_that_a_changed_byte_is_found

if [ -n "$trivy" ]; then
  title "4. Scan with stock Trivy ($("$trivy" --version | sed -n '1s/Version: //p')): the database goes into its cache, after verification."
  shown stella trivy import demo/trivy-db/trivy/db.bundle --cache-dir demo/trivy-cache --key demo/export-center.pub
  stella trivy import demo/trivy-db/trivy/db.bundle --cache-dir demo/trivy-cache --key demo/export-center.pub \
    --quiet --format table | indented
  scan webshop
else
  title '4. No trivy was found, so the scan is left out. Install Trivy (or set STELLA_TRIVY) and run `make demo` again.'
fi

title 'Where things are'
say 'demo/trivy-db/           the Trivy database (trivy/db.bundle) with manifest, provenance, signatures and README.md'
say 'demo/json-raw/           the documents as canonical JSON lines (data/raw/) with an index (indexes/)'
say 'demo/export-center.pub   the public key that receivers need'
say 'demo/data/               the data directory: evidence, keys, exports'
if [ -n "$trivy" ]; then say "demo/trivy-cache/        a cache directory for Trivy"; fi

title 'What to try next (`export PATH=$PWD/.venv/bin:$PATH STELLA_DATA_DIR=demo/data` first)'
say 'stella concelier show CVE-2021-44228            every document on one vulnerability, with its origin'
say 'stella export run submit --profile trivy:db --selectors ecosystems=PyPI,npm,severityAtLeast=high'
say 'stella export diff demo/trivy-db latest:trivy:db    what that selection leaves out'
if [ -n "$trivy" ]; then
  say 'trivy sbom --cache-dir demo/trivy-cache --skip-db-update --offline-scan examples/sboms/debian-12.cdx.json'
fi
say 'stella concelier import YOUR.zip --source NAME      your own OSV documents; see README.md, "With your own data"'
