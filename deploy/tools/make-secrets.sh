#!/usr/bin/env bash
# Make the secrets of deploy/compose/docker-compose.yaml that are not there yet; what is there is never changed.
#
#   deploy/tools/make-secrets.sh deploy/compose
#
# secrets/           password of the database, keys of the object store, passphrase of signing keys, the first operator's
# mirror-secrets/    the key with which the sync may read the bucket of mirrors, and nothing else
#
# Files belong to root and to the group 10001 of the containers (0640) when this runs as root; else to you (0600), and the
# last line says what is left to do.
set -euo pipefail
umask 077

[[ $# -eq 1 && -d $1 ]] || {
  echo "usage: $0 DIRECTORY, where docker-compose.yaml lies" >&2
  exit 2
}
cd "$1"
mkdir -p secrets mirror-secrets

random() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

make() { # FILE, its text on standard input; written whole or not at all
  local file=$1
  if [[ -e $file ]]; then
    echo "$file: is there, and stays"
    cat >/dev/null
    return 0
  fi
  cat >"$file.coming"
  mv "$file.coming" "$file"
  echo "$file: made"
}

random 32 | make secrets/postgres-password
random 32 | make secrets/key-passphrase
random 32 | make secrets/stella-admin

# All three belong together: where one of them is missing, all are made, or none.
if [[ -e secrets/objects-identities.json || -e secrets/objects-key || -e mirror-secrets/mirror-sync-key ]]; then
  for file in secrets/objects-identities.json secrets/objects-key mirror-secrets/mirror-sync-key; do
    [[ -e $file ]] || {
      echo "$file is missing, while other keys of the object store are there" >&2
      echo "→ restore it, or remove the others to have all of them made anew, and restart objects" >&2
      exit 5
    }
    echo "$file: is there, and stays"
  done
else
  service_id=svc$(random 8) service_secret=$(random 20) reader_id=sync$(random 8) reader_secret=$(random 20)
  rights() { # BUCKET ACTION…
    local bucket=$1 action
    shift
    for action in "$@"; do printf '"%s:%s",' "$action" "$bucket"; done
  }
  all=$(rights stellaops-artefacts Read Write List Tagging && rights mirror-stellaops Read Write List Tagging)
  reading=$(rights mirror-stellaops Read List)
  make secrets/objects-identities.json <<END
{"identities": [
  {"name": "service", "credentials": [{"accessKey": "$service_id", "secretKey": "$service_secret"}], "actions": [${all%,}]},
  {"name": "mirror-sync", "credentials": [{"accessKey": "$reader_id", "secretKey": "$reader_secret"}], "actions": [${reading%,}]}
]}
END
  printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$service_id" "$service_secret" |
    make secrets/objects-key
  printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$reader_id" "$reader_secret" |
    make mirror-secrets/mirror-sync-key
fi

made=(secrets/* mirror-secrets/mirror-sync-key)
if [[ $(id -u) -eq 0 ]]; then
  chown root:10001 secrets mirror-secrets "${made[@]}"
  chmod 0750 secrets mirror-secrets
  chmod 0640 "${made[@]}"
else
  chmod 0700 secrets mirror-secrets
  echo "→ the containers run as 10001: sudo chown -R root:10001 $PWD/secrets $PWD/mirror-secrets &&" \
    "sudo chmod -R u=rwX,g=rX,o= $PWD/secrets $PWD/mirror-secrets"
fi
