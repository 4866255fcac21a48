#!/usr/bin/env bash
# Fails unless modernc.org/libc is at the very version that modernc.org/sqlite
# names: SQLite is translated against that one, and breaks quietly with others.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sqlite=modernc.org/sqlite libc=modernc.org/libc
for dir in . bench; do
	[[ "$dir" == . ]] || grep -q "$sqlite " "$dir/go.mod" || continue
	gomod=$(cd "$dir" && go list -m -f '{{.GoMod}}' "$sqlite")
	want=$(awk -v libc="$libc" '$1 == libc { print $2 }' "$gomod")
	have=$(cd "$dir" && go list -m -f '{{.Version}}' "$libc")
	if [[ -z "$want" || "$have" != "$want" ]]; then
		echo "$dir/go.mod: $libc is $have, but $sqlite wants ${want:-(none named)}; run: go get $libc@$want" >&2
		exit 1
	fi
done
echo "$libc is the version that $sqlite names: $want"
