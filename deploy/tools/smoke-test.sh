#!/usr/bin/env bash
# Look at a running mirror as its readers do: index, manifest, bundle, signatures, VEX, refusals, cache.
#
#   deploy/tools/smoke-test.sh https://mirror-primary.example.org --domain primary \
#     --user FILE --key mirror-key.pub
#
#   --domain ID      the domain whose files are read
#   --user FILE      holds `user:password` in its first line; left out for an open domain
#   --key FILE       the publisher's public key, got by another way than the mirror; it is what signatures are judged by
#   --cacert FILE    certificates to trust beside the system's
#   --connect-to H   as of curl: `mirror-primary.example.org:443:127.0.0.1:8443`, to reach a host before its name does
#   --side SIDE      concelier or excititor alone
#
# It needs curl, jq, and cosign (2 or 3) or openssl. Passwords appear on no command line.
#
# Exit codes: 0 all is well · 1 an answer is not as it should be · 2 wrong use · 3 the credentials are refused, or nobody is
# · 4 something is not there · 5 a program is missing · 6 a digest or a signature does not hold · 10 no answer, or over quota.
set -euo pipefail

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2
  exit 2
}
ok() { printf 'ok    %s\n' "$*"; }
fail() { # CODE, what, what to do
  printf 'FAIL  %s\n' "$2" >&2
  printf '→ %s\n' "$3" >&2
  exit "$1"
}

[[ $# -gt 0 && $1 == http*://* ]] || usage
url=${1%/}
shift
domain='' user='' key='' side='' options=()
while [[ $# -gt 0 ]]; do
  [[ $# -ge 2 ]] || usage
  case $1 in
    --domain) domain=$2 ;;
    --user) user=$2 ;;
    --key) key=$2 ;;
    --cacert | --connect-to) options+=("$1" "$2") ;;
    --side) side=$2 ;;
    *) usage ;;
  esac
  shift 2
done
[[ -n $domain && -n $key && $side =~ ^(|concelier|excititor)$ ]] || usage
for program in curl jq; do
  command -v "$program" >/dev/null || fail 5 "$program is not there" "install $program"
done
command -v cosign >/dev/null || command -v openssl >/dev/null ||
  fail 5 "neither cosign nor openssl is there" "install one of them"
[[ -r $key ]] || fail 2 "$key cannot be read" "get the public key from the publisher"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [[ -n $user ]]; then
  [[ -r $user ]] || fail 2 "$user cannot be read" "put user:password into it, mode 0600"
  IFS= read -r login <"$user" || [[ -n $login ]]
  login=${login//\\/\\\\}
  (umask 077 && printf 'user = "%s"\n' "${login//\"/\\\"}" >"$work/login")
else
  : >"$work/login"
fi

ask() { # [-K FILE | nothing], PATH, FILE for the body, more of curl: prints the status; headers are in FILE.head
  local path=$1 out=$2 login_file=$3
  shift 3
  curl --silent --show-error --max-time 300 --retry 2 --retry-connrefused --proto =http,https \
    -K "$login_file" ${options[@]+"${options[@]}"} "$@" -D "$out.head" -o "$out" -w '%{http_code}' "$url$path" ||
    fail 10 "$url$path: no answer" "is the gateway up, and the certificate valid for this name?"
}

header() { # NAME FILE
  tr -d '\r' <"$2.head" | sed -n "s/^$1: *//Ip" | tail -n 1
}

get() { # PATH FILE: a body that is 200, or the end
  local status
  status=$(ask "$1" "$2" "$work/login")
  case $status in
    200) ;;
    401 | 403) fail 3 "$1: $status" "see that the credentials are of domain $domain, and have not expired" ;;
    404) fail 4 "$1: 404" "is the domain published and synced? the gateway's /readyz names what is missing" ;;
    429) fail 10 "$1: over the quota" "wait $(header retry-after "$2") s, or use another credential" ;;
    503) fail 10 "$1: not ready" "see /readyz of the gateway and of the back ends" ;;
    *) fail 1 "$1: $status" "see the gateway's log" ;;
  esac
}

digest_is() { # FILE, sha256:HEX, what
  local found
  found=$(sha256sum <"$1")
  [[ "sha256:${found%% *}" == "sha256:${2#sha256:}" ]] ||
    fail 6 "$3 is not what the index says" "purge the caches in front; if it stays, sync with --check-held"
}

signed() { # FILE SIGNATURE what
  if command -v cosign >/dev/null; then
    # The signature stands in no public log: trust comes from the key. A JWS is no signature of cosign's.
    cosign verify-blob --key "$key" --signature "$2" --insecure-ignore-tlog=true "$1" >/dev/null 2>"$work/cosign" &&
      ok "$3: signature (cosign)" && return
  elif base64 -d <"$2" >"$work/der" && openssl dgst -sha256 -verify "$key" -signature "$work/der" "$1" >/dev/null; then
    ok "$3: signature (openssl)"
    return
  fi
  fail 6 "$3: the signature is not by $key" "is the key the publisher's present one? if so, do not use this mirror"
}

check_concelier() {
  local entry path name
  get /concelier/exports/index.json "$work/index"
  jq -e 'has("schemaVersion") and has("generatedAt") and (.domains | length > 0)' "$work/index" >/dev/null ||
    fail 1 "index.json is no index, or lists no domain" "publish, then sync"
  entry=$(jq -ec --arg id "$domain" '.domains[] | select(.id == $id)' "$work/index") ||
    fail 4 "index.json does not list $domain" "is it published, and may this credential read it?"
  ok "index: $(jq -r '[.domains[].id] | join(" ")' "$work/index"), of $(jq -r .generatedAt "$work/index")"
  for name in manifest bundle; do
    path=/concelier/exports/$(jq -r ".$name.path" <<<"$entry")
    get "$path" "$work/$name"
    digest_is "$work/$name" "$(jq -r ".$name.digest" <<<"$entry")" "$name.json"
    [[ $(header cache-control "$work/$name") == *immutable* ]] ||
      fail 1 "$path: cache-control is not immutable" "does a proxy in front change headers?"
    get "$path.sig" "$work/$name.sig"
    signed "$work/$name" "$work/$name.sig" "$name.json"
  done
  [[ $(jq -r .exportId "$work/manifest") == "$(jq -r .exportId <<<"$entry")" ]] ||
    fail 1 "index and manifest name different exports" "purge the caches in front"
  ok "bundle: $(jq '.advisories | length' "$work/bundle") advisories of export $(jq -r .exportId "$work/bundle")"
  check_stable "$(jq -r .exportId <<<"$entry")"
}

check_stable() { # EXPORT: the stable names give one publication, signed; a newer one than a cached index is well
  local path=/concelier/exports/mirror/$domain/manifest.json
  local served
  for _ in 1 2 3; do # it may be published between the two
    get "$path" "$work/stable"
    get "$path.sig" "$work/stable.sig"
    served=$(header x-stella-export-id "$work/stable")
    [[ $served == "$(header x-stella-export-id "$work/stable.sig")" ]] && break
    sleep 1
  done
  signed "$work/stable" "$work/stable.sig" "manifest.json under its stable name"
  [[ $(jq -r .exportId "$work/stable") == "$served" ]] ||
    fail 1 "$path: the manifest is of another export than its header says" "purge the caches in front"
  if [[ $served == "$1" ]]; then
    ok "stable name: the same export, cache $(header x-cache-status "$work/stable")"
  else
    ok "stable name: export $served, published after the index that was read"
  fi
}

check_excititor() {
  local path entry
  get "/excititor/mirror/$domain/index" "$work/vex"
  if ! entry=$(jq -ec '.exports[0]' "$work/vex"); then
    [[ -z $side ]] || fail 4 "the VEX index lists no export" "publish VEX for this domain, then sync"
    ok "VEX index: no export, so nothing is published of VEX"
    return 0
  fi
  ok "VEX index: $(jq -r '[.exports[].exportKey] | join(" ")' "$work/vex")"
  path=/excititor/mirror/$domain/exports/$(jq -r .exportKey <<<"$entry")/download
  get "$path" "$work/export"
  digest_is "$work/export" "$(jq -r .artifactDigest <<<"$entry")" "$path"
  ok "VEX export: $(jq -r '"\(.exportKey), \(.artifactSizeBytes) bytes"' <<<"$entry")"
}

check_refusals() {
  local path=/concelier/exports/mirror/$domain/manifest.json status
  [[ $side == excititor ]] && path=/excititor/mirror/$domain/index
  [[ -n $user ]] || return 0
  status=$(ask "$path" "$work/refused" /dev/null)
  [[ $status == 401 ]] || fail 3 "$path without credentials: $status, not 401" "does a cache in front serve it to everybody?"
  [[ $(header cache-control "$work/refused") == *no-store* ]] ||
    fail 1 "the refusal may be cached" "does a proxy in front change headers?"
  ok "without credentials: 401, not to be kept"
}

[[ $side == excititor ]] || check_concelier
[[ $side == concelier ]] || check_excititor
check_refusals
ok "all is well at $url"
