#!/bin/sh
# Makes the secrets that compose.yaml mounts, once; those that exist stay as they are.
#
# The folder is closed to everybody but its owner. The files in it stay readable because compose mounts them with their
# own mode and the hub does not run as root. Keep a copy of secret_keys apart from the backups: without it, no
# credential in the database can be read again.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets

word() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
put() {
    if [ -e "secrets/$1" ]; then
        echo "secrets/$1 stays"
    else
        printf '%s\n' "$2" >"secrets/$1"
        chmod 644 "secrets/$1"
        echo "secrets/$1 made"
    fi
}

put postgres_password "$(word)"
put redis_password "$(word)"
put database_url "postgresql://hub:$(cat secrets/postgres_password)@postgres:5432/hub"
put redis_url "redis://hub:$(cat secrets/redis_password)@valkey:6379/0"
put secret_keys "k1:$(head -c 32 /dev/urandom | base64)"
