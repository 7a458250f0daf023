#!/usr/bin/env bash
# Put digests into the image references of environment files: what a tag means today is what runs tomorrow.
#
#   deploy/tools/pin-images.sh env/mirror.env env/stellaops.env
#   deploy/tools/pin-images.sh --set POSTGRES_IMAGE=docker.io/library/postgres:18 env/stellaops.env
#   deploy/tools/pin-images.sh --check env/mirror.env
#
# Every `…_IMAGE=` of a file is looked at. REGISTRY/NAME:TAG becomes REGISTRY/NAME:TAG@sha256:…, as the registry says it;
# a reference with a digest stays as it is (--update asks again). The registry is asked by skopeo, crane, or docker
# buildx, whichever is there. An empty reference is left empty and told: nothing is invented. A line `#…_IMAGE=` is let
# be, unless --set names it.
#
# Exit codes: 0 every reference has a digest · 2 wrong use · 4 a reference is empty or has no digest · 5 no program to ask
# with · 10 a registry does not answer. A file is changed as a whole or not at all.
set -euo pipefail

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2
  exit 2
}

say() { printf '%s\n' "$*" >&2; }

digest_of() { # REFERENCE: what its registry says, as sha256:…
  local found
  if command -v skopeo >/dev/null; then
    # shellcheck disable=SC2086 # options, apart by blanks
    found=$(skopeo inspect --raw ${PIN_IMAGES_SKOPEO_OPTIONS:-} "docker://$1" | sha256sum) || return 10
    found="sha256:${found%% *}"
  elif command -v crane >/dev/null; then
    found=$(crane digest "$1") || return 10
  elif docker buildx version >/dev/null 2>&1; then
    found=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1") || return 10
  else
    say "none of skopeo, crane and docker buildx is there"
    say "→ install one of them, or write the digest yourself"
    exit 5
  fi
  [[ $found =~ ^sha256:[0-9a-f]{64}$ ]] || return 10
  printf '%s\n' "$found"
}

pinned() { # REFERENCE: the same with its digest
  local reference=$1 digest
  if [[ $reference =~ @sha256:[0-9a-f]{64}$ ]]; then
    if [[ $update = no ]]; then
      printf '%s\n' "$reference"
      return 0
    fi
    reference=${reference%@*}
    if [[ ${reference##*/} != *:* ]]; then # no tag to ask by
      printf '%s\n' "$1"
      return 0
    fi
  fi
  digest=$(digest_of "$reference") || return $?
  printf '%s@%s\n' "$reference" "$digest"
}

check=no
update=no
settings=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --check) check=yes ;;
    --update) update=yes ;;
    --set)
      [[ ${2:-} == *_IMAGE=?* ]] || usage
      settings+=("$2")
      shift
      ;;
    -*) usage ;;
    *) break ;;
  esac
  shift
done
[[ $# -gt 0 ]] || usage

worst=0
named=
for file in "$@"; do
  if [[ ! -f $file ]]; then
    say "$file: no such file"
    say "→ copy $file.example to $file"
    exit 2
  fi
  coming=$(mktemp "$file.XXXXXX")
  trap 'rm -f "$coming"' EXIT
  while IFS= read -r line || [[ -n $line ]]; do
    if [[ $line =~ ^(#?)([A-Z][A-Z0-9_]*_IMAGE)=(.*)$ ]]; then
      off=${BASH_REMATCH[1]} name=${BASH_REMATCH[2]} reference=${BASH_REMATCH[3]}
      for each in ${settings[@]+"${settings[@]}"}; do
        if [[ ${each%%=*} = "$name" ]]; then
          reference=${each#*=} off=
          named+=" $name "
        fi
      done
      if [[ -n $off ]]; then
        printf '%s\n' "$line"
        continue
      elif [[ -z $reference ]]; then
        say "$file: $name is empty"
        say "→ name an image: $0 --set $name=REGISTRY/NAME:TAG $file"
        worst=4
      elif [[ $check = yes ]]; then
        if [[ ! $reference =~ @sha256:[0-9a-f]{64}$ ]]; then
          say "$file: $name=$reference has no digest"
          say "→ run $0 $file"
          worst=4
        fi
      else
        code=0
        found=$(pinned "$reference") || code=$?
        if [[ $code -ne 0 ]]; then
          [[ $code -eq 5 ]] || say "$file: $name=$reference: its registry does not say a digest"
          exit "$code"
        fi
        reference=$found
        say "$name=$reference"
      fi
      line="$name=$reference"
    fi
    printf '%s\n' "$line"
  done <"$file" >"$coming"
  if [[ $check = no ]]; then
    chmod --reference="$file" "$coming"
    mv "$coming" "$file"
  fi
  rm -f "$coming"
done
for each in ${settings[@]+"${settings[@]}"}; do
  if [[ $named != *" ${each%%=*} "* ]]; then
    say "${each%%=*} is in none of these files: $*"
    worst=2
  fi
done
exit "$worst"
