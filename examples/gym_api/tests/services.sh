#!/bin/sh
# Runs PostgreSQL 15, Redis 7 and a Sentinel for the tests, and ends them when it is ended.
# usage: services.sh ADDRESS POSTGRESQL_PORT REDIS_PORT SENTINEL_PORT
set -eu
address=$1 postgresql=$2 redis=$3 sentinel=$4
place=$(mktemp -d)
# By name: what `jobs` says in a trap differs from shell to shell. Fast for PostgreSQL: it does not wait for clients.
pids=
trap 'kill -INT $pids 2>/dev/null || true; wait; rm -rf "$place"' EXIT
trap 'exit 143' TERM INT

if [ "$(id -u)" = 0 ]; then
    chown postgres "$place"
    as="setpriv --reuid=postgres --regid=postgres --init-groups"
else
    as=
fi
bin=/usr/lib/postgresql/15/bin
$as "$bin/initdb" --pgdata "$place/pg" --username postgres --auth trust --encoding UTF8 --locale C.UTF-8 >/dev/null
echo "host all all all trust" | $as tee -a "$place/pg/pg_hba.conf" >/dev/null
$as "$bin/postgres" -D "$place/pg" -c listen_addresses='*' -p "$postgresql" -c unix_socket_directories= -c fsync=off &
pids=$!

# The platform's own rules for the users of each use: what the service may not do there fails here.
commands="-@all +@read +@write +@transaction -@dangerous -@admin -@scripting -scan -randomkey -dbsize +auth +hello +ping
 +echo +reset +select +wait +command +client|setname +client|getname +client|id"
discovery="-@all +auth +hello +ping +role +command +client|setname +client|getname +client|id
 +sentinel|get-master-addr-by-name +sentinel|master +sentinel|masters +sentinel|myid +sentinel|replicas
 +sentinel|sentinels"
echo "user default on nopass ~* &* +@all" | tee "$place/redis.acl" > "$place/sentinel.acl"
for use in sessions=session rate_limit=rate notifications=notification attendance=attendance; do
    name=${use%=*}
    # shellcheck disable=SC2086
    echo user "$name" on ">test-$name" "~${use#*=}:*" resetchannels $commands >> "$place/redis.acl"
    # shellcheck disable=SC2086
    echo user "$name" on ">test-$name" resetchannels $discovery >> "$place/sentinel.acl"
done
redis-server --port "$redis" --protected-mode no --save "" --dir "$place" --aclfile "$place/redis.acl" >/dev/null &
pids="$pids $!"
cat > "$place/sentinel.conf" <<EOF
port $sentinel
protected-mode no
aclfile $place/sentinel.acl
sentinel monitor gym-cache $address $redis 1
EOF
redis-sentinel "$place/sentinel.conf" >/dev/null &
pids="$pids $!"
wait
