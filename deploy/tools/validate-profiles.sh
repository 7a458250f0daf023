#!/usr/bin/env bash
# Check a deployment with Docker Compose before it is started: compose files, variables, images, secrets, certificates,
# users, quotas, export trees and their signatures. Every failure is explained.
#
#   deploy/tools/validate-profiles.sh [OPTION…] [mirror] [nginx] [full]
#
# Without a profile: `full` where env/stellaops.env is there, else `mirror`. `nginx` is `mirror` with the overlay.
#
#   --dir DIR        where the compose files lie; beside this script by default
#   --key FILE       a public key that signs the trees; by default the one that the sync is given
#   --quick          compare sizes of files in trees, not digests
#   --all            show what is well, too
#
# It needs Docker Compose 2.24 or newer, no running engine, and `stella`; where that is not installed the image of the
# environment file is run, without network, with the files mounted read-only.
#
# Exit codes: 0 nothing is wrong · 2 something is · 5 a program is missing.
set -euo pipefail

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2
  exit 2
}
say() { printf '%s\n' "$*" >&2; }

dir=$(cd "$(dirname "$0")/../compose" && pwd)
options=()
keys=()
profiles=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --dir) dir=$(cd "${2:?--dir needs a directory}" && pwd) && shift ;;
    --key) keys+=("$(realpath "${2:?--key needs a file}")") && shift ;;
    --quick | --all) options+=("$1") ;;
    mirror | nginx | full) profiles+=("$1") ;;
    *) usage ;;
  esac
  shift
done
cd "$dir"
for key in ${keys[@]+"${keys[@]}"}; do options+=(--key "$key"); done
if [[ ${#profiles[@]} -eq 0 ]]; then
  if [[ -e env/stellaops.env ]]; then profiles=(full); else profiles=(mirror); fi
fi

if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
elif docker-compose version --short 2>/dev/null | grep -q '^v\{0,1\}[2-9]'; then
  compose=(docker-compose)
else
  say "error: Docker Compose is not there"
  say "→ install the Compose plugin, 2.24 or newer"
  exit 5
fi

variable() { # NAME, of the environment files of a profile: the last value that is set
  local line value=''
  for file in "${environments[@]}"; do
    while IFS= read -r line; do
      [[ $line == "$1="* ]] && value=${line#*=}
    done <"$file"
  done
  printf '%s' "$value"
}

stella_validate() { # the description on standard input
  if command -v stella >/dev/null; then
    stella config validate --format table --compose - ${options[@]+"${options[@]}"}
    return
  fi
  local image mounts place
  image=$(variable STELLAOPS_IMAGE)
  say "stella is not installed here: running $image"
  mounts=(-v "$dir:$dir:ro")
  place=$(variable MIRROR_DATA)
  [[ -d ${place:-/opt/stellaops/mirror-data} ]] && mounts+=(-v "${place:-/opt/stellaops/mirror-data}:${place:-/opt/stellaops/mirror-data}:ro")
  for key in ${keys[@]+"${keys[@]}"}; do mounts+=(-v "$key:$key:ro"); done
  docker run --rm -i --network none --read-only --tmpfs /tmp --user 0 --cap-drop ALL --cap-add DAC_READ_SEARCH \
    "${mounts[@]}" "$image" config validate --format table --compose - ${options[@]+"${options[@]}"}
}

worst=0
for profile in "${profiles[@]}"; do
  environments=(env/mirror.env)
  files=(-f docker-compose.mirror.yaml)
  case $profile in
    nginx) files+=(-f docker-compose.nginx.yaml) ;;
    full)
      files=(-f docker-compose.yaml)
      environments+=(env/stellaops.env)
      ;;
  esac
  say "profile $profile"
  arguments=()
  for file in "${environments[@]}"; do
    if [[ ! -f $file ]]; then
      say "error: $dir/$file is not there"
      say "→ cp $dir/$file.example $dir/$file, and set what it asks for"
      exit 2
    fi
    arguments+=(--env-file "$file")
  done
  code=0
  description=$("${compose[@]}" "${arguments[@]}" "${files[@]}" config --format json) || code=$?
  if [[ $code -ne 0 || -z $description ]]; then
    say "error: Compose refuses the files of profile $profile, for the reason above"
    say "→ set what is missing in ${environments[*]}; images by deploy/tools/pin-images.sh"
    worst=2
    continue
  fi
  code=0
  stella_validate <<<"$description" || code=$?
  [[ $code -eq 0 ]] || worst=$((code == 5 ? 5 : 2))
done
[[ $worst -ne 0 ]] || say "nothing is wrong"
exit "$worst"
