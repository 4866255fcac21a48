#!/usr/bin/env bash
# The five-minute tour: 200 jobs call an API that allows 10 calls a second, first
# without a limit, then with one from the end, then with one from the start.
# Wants a running server (make run); JOBS, API_ADDR and PATH_PREFIX can be set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

JOBS=${JOBS:-200} LIMIT=10 WINDOW_S=1
API_ADDR=${API_ADDR:-127.0.0.1:8810}
PREFIX=${PATH_PREFIX:-f/demo}
sluice=bin/sluice

"$sluice" demo-api --limit "$LIMIT" --window "${WINDOW_S}s" --addr "$API_ADDR" >/dev/null &
api=$!
trap 'kill "$api" 2>/dev/null' EXIT

# api METHOD PATH prints the body of the demo API's answer.
api() {
	local line
	exec 3<>"/dev/tcp/${API_ADDR%:*}/${API_ADDR##*:}" || return 1
	printf '%s %s HTTP/1.0\r\n\r\n' "$1" "$2" >&3
	while IFS= read -r line <&3 && [[ "$line" != $'\r' ]]; do :; done
	cat <&3
	exec 3>&-
}

# submit PATH N pushes N jobs in one call and returns without waiting for them.
submit() {
	local said
	said=$("$sluice" run "$1" --count "$2" -d "{\"url\": \"http://$API_ADDR\"}" 2>&1) || {
		echo "$said" >&2
		return 1
	}
}

# newest PATH N prints, as JSON, the newest N jobs of a path that have ended.
newest() { "$sluice" jobs list --json --path "$1" --limit "$2"; }

# called N waits until the demo API has answered N calls, for five minutes at most.
called() {
	local stats try
	for ((try = 0; try < 600; try++)); do
		stats=$(api GET /stats 2>/dev/null || true)
		[[ -n "$stats" ]] && (($(field ok <<<"$stats") + $(field rejected <<<"$stats") >= $1)) && return
		sleep 0.5
	done
	echo "the jobs do not call http://$API_ADDR; is a server running? Try: make run" >&2
	return 1
}

# field NAME reads JSON and prints the values of a field that holds no spaces.
field() { { grep -oE "\"$1\": ?\"?[^\",}]+" || true; } | sed -E 's/^"[^"]+": ?"?//'; }

# round NAME PATH OPTIMUM runs one round and prints its row. OPTIMUM is an awk
# expression in J, N, W and d, in seconds; "" prints none.
round() {
	local jobs stats makespan median
	api POST /reset >/dev/null 2>&1
	submit "$2" "$JOBS"
	called "$JOBS"
	sleep 1 # the last call is answered a moment before its job has ended
	jobs=$(newest "$2" "$JOBS")
	stats=$(api GET /stats)
	median=$(field duration_ms <<<"$jobs" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] / 1000 }')
	makespan=$( (field started_at <<<"$jobs" && field completed_at <<<"$jobs") | date -f - +%s.%N | sort -n |
		awk 'NR == 1 { first = $1 } END { printf "%.3f", $1 - first }')
	awk -v name="$1" -v J="$JOBS" -v N="$LIMIT" -v W="$WINDOW_S" -v d="$median" -v took="$makespan" \
		-v ok="$(field ok <<<"$stats")" -v no="$(field rejected <<<"$stats")" 'BEGIN {
		rounds = int((J + N - 1) / N) - 1
		best = '"${3:-0}"'
		printf "%-22s %5d %5d %5d %9.2f s", name, J, ok, no, took
		if (best > 0) printf " %9.2f s %7.3f", best, took / best
		printf "\n"
	}'
}

called 0
printf '%-22s %5s %5s %5s %11s %11s %7s\n' limit jobs 200s 429s makespan optimum ratio
round "none" "$PREFIX/call_api_unlimited" ""
round "10 per 1 s, from end" "$PREFIX/call_api_end" "rounds * (W + d) + d"
round "10 per 1 s, from start" "$PREFIX/call_api_start" "rounds * W + d"
