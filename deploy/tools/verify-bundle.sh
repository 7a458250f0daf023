#!/usr/bin/env bash
# Verify a bundle in a pipeline of your own, without StellaOps: signatures by cosign, every file by its digest, and a scan
# with stock Trivy that must find the bundle's sentinels.
#
#   deploy/tools/verify-bundle.sh BUNDLE --key export-center.pub
#
#   --key FILE       the sender's public key, got by another way than the bundle; keep it outside of BUNDLE
#   --no-scan        signatures and digests alone
#   --cache-dir DIR  leave the database in a Trivy cache: `trivy --cache-dir DIR --skip-db-update --offline-scan …`
#
# BUNDLE is a bundle root (`stella export download`, or a download of all artefacts). It needs cosign 2 or 3, jq, tar, and
# Trivy for databases. No step needs a network. `stella export verify` and `stella trivy smoke` check more.
#
# Exit codes: 0 verified · 2 wrong use · 5 a program is missing · 6 not trusted.
set -euo pipefail

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2
  exit 2
}
ok() { printf 'ok    %s\n' "$*"; }
distrust() { # what, what to do
  printf 'FAIL  %s\n' "$1" >&2
  printf '→ %s\n' "${2:-do not use this bundle; fetch it again from where it came}" >&2
  exit 6
}
need() { command -v "$1" >/dev/null || {
  printf 'error: %s is not there\n→ install it\n' "$1" >&2
  exit 5
}; }

bundle='' key='' scan=yes cache=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --key | --cache-dir)
      [[ -n ${2:-} ]] || { printf 'error: %s needs a value\n\n' "$1" >&2 && usage; }
      [[ $1 == --key ]] && key=$2 || cache=$2
      shift
      ;;
    --no-scan) scan=no ;;
    -*) usage ;;
    *) bundle=$1 ;;
  esac
  shift
done
[[ -n $bundle && -n $key ]] || usage
[[ -f $bundle/export.json && -f $bundle/files.json ]] || {
  printf 'error: %s is no bundle root: export.json or files.json is not there\n→ for a mirror archive use stella mirror verify\n' "$bundle" >&2
  exit 2
}
[[ -r $key ]] || { printf 'error: %s cannot be read\n→ get the public key from the sender\n' "$key" >&2 && exit 2; }
for program in cosign jq sha256sum tar; do need "$program"; done
key=$(realpath "$key")
cd "$bundle"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

signed() { # FILE NAME: `signatures/NAME.sig`
  # The signature stands in no public log: trust comes from the key.
  cosign verify-blob --key "$key" --signature "signatures/$2.sig" --insecure-ignore-tlog=true "$1" >/dev/null 2>"$work/cosign" ||
    distrust "$1: signatures/$2.sig is not by this key" "is it the sender's present key? else do not use this bundle"
  ok "$1: signed"
}

# Nothing is read before its signature holds.
signed export.json export
signed files.json files

jq -r '.files[] | "\(.digest | ltrimstr("sha256:"))  \(.path)"' files.json >"$work/sums"
if grep -qE '  (/|.*\.\.(/|$))' "$work/sums"; then distrust "files.json names a path outside of the bundle"; fi
sha256sum --check --quiet --strict "$work/sums" >"$work/wrong" 2>&1 ||
  distrust "not as it was signed: $(grep -m1 -v '^sha256sum:' "$work/wrong" || head -n 1 "$work/wrong")"
{
  jq -r '.files[].path' files.json
  printf '%s\n' files.json provenance.json
  stems=(export files)
  [[ ! -f trivy/db.bundle ]] || stems+=(trivy-db)
  [[ ! -f trivy/java-db.bundle ]] || stems+=(trivy-java-db)
  printf 'signatures/%s.sig\n' "${stems[@]}"
  printf 'signatures/%s.sigstore.json\n' "${stems[@]}" provenance
  printf 'signatures/%s.jws\n' export files
} | LC_ALL=C sort -u >"$work/listed"
find . ! -type d -printf '%P\n' | LC_ALL=C sort >"$work/there"
stray=$(LC_ALL=C comm -13 "$work/listed" "$work/there" | head -n 1)
[[ -z $stray ]] || distrust "$stray is in the bundle, and nothing signed names it"
[[ -z $(find . -type l -print -quit) ]] || distrust "there is a link in the bundle"
ok "$(wc -l <"$work/sums") files: as they were signed"

attested() { # more options of cosign
  cosign verify-blob-attestation --key "$key" --bundle signatures/provenance.sigstore.json --type slsaprovenance1 \
    --insecure-ignore-tlog=true "$@" export.json >/dev/null 2>"$work/cosign"
}
# cosign 2 has to be told of the bundle's form, and then wants a trusted root, which may be empty.
printf '%s' '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}' >"$work/root.json"
attested || attested --new-bundle-format --trusted-root "$work/root.json" || distrust "provenance: not signed by this key"
jq -r .dsseEnvelope.payload signatures/provenance.sigstore.json | base64 -d >"$work/provenance"
cmp -s "$work/provenance" provenance.json || distrust "provenance.json is not the provenance that was signed"
ok "provenance: signed"

[[ ! -f trivy/java-db.bundle ]] || signed trivy/java-db.bundle trivy-java-db
if [[ ! -f trivy/db.bundle ]]; then
  ok "verified: $PWD"
  exit 0
fi
signed trivy/db.bundle trivy-db
if [[ $scan == no ]]; then
  ok "verified: $PWD"
  exit 0
fi

# One bill of materials for all language packages, one for each release of a distribution that can be told by its name.
need trivy
cache=$(realpath -m "${cache:-$work/cache}")
mkdir -p "$cache/db"
[[ $(tar -tzf trivy/db.bundle | LC_ALL=C sort | paste -sd ' ') == "metadata.json trivy.db" ]] ||
  distrust "trivy/db.bundle holds something else than trivy.db and metadata.json"
tar -xzf trivy/db.bundle -C "$cache/db" --no-same-owner --no-same-permissions
cat >"$work/boms.jq" <<'END'
def language: {cargo: "cargo", composer: "composer", conan: "conan", erlang: "hex", go: "golang", maven: "maven",
  npm: "npm", nuget: "nuget", pip: "pypi", pub: "pub", rubygems: "gem", swift: "swift"};
def system: {debian: ["deb", "debian"], ubuntu: ["deb", "ubuntu"], alpine: ["apk", "alpine"], alma: ["rpm", "alma"],
  rocky: ["rpm", "rocky"]};
def component($purl): {type: "library", "bom-ref": $purl, name: .package, version, purl: $purl};
def one: if .bucket | contains("::") then
      language[.bucket | split("::")[0]] as $type | select($type)
      | (if $type == "maven" then .package | sub(":"; "/") else .package end) as $path
      | {group: "", id, component: component("pkg:\($type)/\($path | split("/") | map(@uri) | join("/"))@\(.version | @uri)")}
    else
      (.bucket | split(" ")) as [$family, $release] | system[$family] as $how | select($how and $release)
      | {group: .bucket, id, component: component(
          "pkg:\($how[0])/\($how[1])/\(.package | @uri)@\(.version | @uri)?distro=\($family)-\($release | @uri)")}
    end;
[.[] | one] | group_by(.group) | .[]
| . as $all | .[0].group as $group
| {wanted: [$all[] | [.component.purl, .id]], bom: {bomFormat: "CycloneDX", specVersion: "1.5", version: 1,
    components: ([$all[].component] | unique_by(.purl)
      + (if $group == "" then [] else [{type: "operating-system", "bom-ref": "os", name: ($group | split(" ")[0]),
         version: ($group | split(" ")[1])}] end))}}
END
total=$(jq length trivy/sentinels.json)
looked=0
jq -c -f "$work/boms.jq" trivy/sentinels.json >"$work/boms"
while IFS= read -r line; do
  jq .bom <<<"$line" >"$work/bom.cdx.json"
  trivy sbom --quiet --cache-dir "$cache" --skip-db-update --offline-scan --scanners vuln --format json \
    "$work/bom.cdx.json" >"$work/report" 2>"$work/trivy" || distrust "trivy cannot scan with this database: $(tail -n 1 "$work/trivy")"
  missing=$(jq -rn --argjson told "$(jq -c .wanted <<<"$line")" --slurpfile report "$work/report" '
    [$report[0].Results[]?.Vulnerabilities[]? | [.PkgIdentifier.BOMRef, .VulnerabilityID]] as $found
    | [$told[] | select(. as $each | $found | index([$each]) | not)] | .[0] // empty | join(" ")')
  [[ -z $missing ]] || distrust "trivy does not find a sentinel: $missing"
  looked=$((looked + $(jq '.wanted | length' <<<"$line")))
done <"$work/boms"
[[ $looked -gt 0 ]] || distrust "none of the $total sentinels could be looked for" "run stella trivy smoke"
ok "trivy finds $looked of $total sentinels$([[ $looked -eq $total ]] || printf ', the others are of ecosystems that stella trivy smoke looks for')"
ok "verified: $PWD"
