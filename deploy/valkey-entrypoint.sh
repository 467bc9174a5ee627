#!/bin/sh
# Starts Valkey (or Redis) for the hub: append-only file, no eviction, and one user who reaches the hub's keys alone.
#
# Redis here only wakes workers and shares rate budgets; the database is the truth. Still, whoever can write to it could
# start jobs, so it has no default user, and the hub's user may run no administrative command.
set -eu

# The image's own entry point gives root up before it starts the server.
server=${VALKEY_SERVER:-docker-entrypoint.sh valkey-server}
folder=${VALKEY_DATA:-/data}
acl=${VALKEY_ACL:-/tmp/users.acl}
digest=$(tr -d '\n' <"${VALKEY_PASSWORD_FILE:-/run/secrets/redis_password}" | sha256sum | cut -d' ' -f1)

# The health check asks PING, which needs a connection but no rights over keys.
cat >"$acl" <<RULES
user default reset
user probe reset on nopass +ping
user hub reset on #$digest ~rq:* ~tallyhub:* &rq:* &tallyhub:* +@all -@admin -@dangerous +info +client|list
RULES

# shellcheck disable=SC2086 # two words: the entry point and its program
exec $server --dir "$folder" --aclfile "$acl" \
    --appendonly yes --appendfsync everysec --save '' \
    --maxmemory "${VALKEY_MAXMEMORY:-256mb}" --maxmemory-policy noeviction \
    --protected-mode no "$@"
