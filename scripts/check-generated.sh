#!/usr/bin/env bash
# Fails if `go generate` changes a file: what is generated is committed, and fresh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sums() { git ls-files -z --cached --others --exclude-standard | xargs -0 -r sha256sum 2>/dev/null || true; }

before=$(sums)
go generate ./...
after=$(sums)
if [[ "$before" != "$after" ]]; then
	echo "go generate changed files; commit them:" >&2
	diff <(echo "$before") <(echo "$after") | awk '/^[<>]/ { print "  " $3 }' | sort -u >&2
	exit 1
fi
echo "generated files are fresh"
