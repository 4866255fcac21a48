#!/usr/bin/env bash
# Starts a PostgreSQL server of its own, two Sluice servers and three workers on
# this machine, all in ./data/cluster, and ends them with itself. The servers
# listen on the ports 8000 and 8001, or on PORT and the one above it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sluice=$PWD/bin/sluice port=${PORT:-8000} dir=$PWD/data/cluster pids=()
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
[[ -n "$bin" ]] || bin=$(dirname "$(command -v pg_ctl)") || { echo "There is no PostgreSQL; make setup installs it." >&2; exit 1; }

# PostgreSQL refuses to run as root.
as_postgres() { if ((EUID == 0)); then (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); else "$@"; fi; }

stop() {
	trap - EXIT INT TERM
	((${#pids[@]} == 0)) || kill -TERM "${pids[@]}" 2>/dev/null || true
	((${#pids[@]} == 0)) || wait "${pids[@]}" 2>/dev/null || true
	as_postgres "$bin/pg_ctl" -D "$pg" -m fast -w stop >/dev/null 2>&1 || true
}

umask 077
mkdir -p "$dir"
if ((EUID == 0)); then pg=/var/lib/postgresql/sluice-cluster; else pg=$dir/postgres; fi
trap stop EXIT
trap 'exit 130' INT TERM
if [[ ! -s "$dir/password" ]]; then
	head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$dir/password"
fi
if ! as_postgres test -s "$pg/PG_VERSION"; then
	# The password goes through a file that PostgreSQL's user may read: nobody
	# sees it on a command line.
	secret=$(mktemp) && cp "$dir/password" "$secret" && chmod 600 "$secret"
	((EUID != 0)) || chown postgres "$secret"
	as_postgres "$bin/initdb" -D "$pg" -U sluice -A scram-sha-256 --pwfile="$secret" -E UTF8 --locale=C >/dev/null
	rm -f "$secret"
fi
pgport=${PGPORT:-$((port + 5432))}
as_postgres "$bin/pg_ctl" -D "$pg" -w -l "$pg/log" -o "-p $pgport -c listen_addresses=127.0.0.1 -c unix_socket_directories=''" start >/dev/null
export SLUICE_DATABASE="postgres://sluice:$(cat "$dir/password")@127.0.0.1:$pgport/postgres?sslmode=disable"

if [[ ! -s "$dir/token" ]]; then
	head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$dir/token"
fi
SLUICE_TOKEN=$(cat "$dir/token")
export SLUICE_TOKEN
urls=
for n in 0 1; do
	((n > 0)) && seed= || seed=--seed
	"$sluice" server --addr "127.0.0.1:$((port + n))" --data "$dir/server$n" --workers 0 $seed &
	pids+=($!)
	urls+=${urls:+,}http://127.0.0.1:$((port + n))
done
unset SLUICE_DATABASE
export SLUICE_WORKER_TOKEN=$SLUICE_TOKEN
for n in 0 1 2; do
	"$sluice" worker --server "$urls" --data "$dir/worker$n" --places 2 --log-level warn &
	pids+=($!)
done
wait -n "${pids[@]}"
