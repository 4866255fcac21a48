#!/usr/bin/env bash
# Breaks the code on purpose and sees whether the tests notice.
#
#   scripts/mutants.sh [row …]      all rows of testdata/mutants, or those named
#
# A mutant is a patch whose first lines name the tests that must fail under it:
#
#   # test: ./internal/engine TestA1TwoWorkersOneSlot [more flags for go test]
#   # why:  without the lock both callers count the same history
#   --- a/internal/engine/take.go
#   +++ b/internal/engine/take.go
#
# A mutant passes if the patch applies, the tests compile, and each named test
# fails under it, after having passed without it. A patch that does not apply or
# compile, a name that matches no test, a test that passes: each is a failure.
# Runs JOBS (2) mutants at a time; LIMIT (120s) bounds one test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

JOBS=${JOBS:-2}
LIMIT=${LIMIT:-120s}
mutants=$PWD/testdata/mutants
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/base" "$work/baseline" "$work/result"
export JOBS LIMIT mutants work
# A patch outside a repository must not be taken for one inside it.
export GIT_CEILING_DIRECTORIES=$work

# tests_of prints what follows "# test:" in a patch's head, a test a line.
tests_of() { sed -n -e '/^\(diff\|---\) /q' -e 's/^# *test: *//p' "$mutants/$1.patch"; }

# go_test DIR PACKAGE NAME [FLAG …] runs one test, whose name is taken whole.
# Paths are trimmed, so that copies of the tree share the build cache.
go_test() {
	local dir=$1 package=$2 name=$3
	shift 3
	(cd "$dir" && timeout -k 10s 900s go test -trimpath -vet=off -timeout "$LIMIT" -count=1 "$@" \
		-run "^(${name//\//)\$/^(})\$" "$package") 2>&1
}

# baseline TEST… runs a test on the tree as it is.
baseline() {
	local out=$work/baseline/$(sha256sum <<<"$*" | cut -c1-16) problem=""
	if ! go_test "$work/base" "$@" >"$out.log"; then
		problem="fails without the mutant too"
	elif grep -q 'no tests to run\|no test files' "$out.log"; then
		problem="no such test"
	fi
	echo "$problem" >"$out"
}

# verdict ROW prints nothing if the mutant is killed, else why it is not.
verdict() {
	local row=$1 dir=$work/$1 log=$work/$1.log test words problem baseline
	cp -r "$work/base" "$dir"
	(cd "$dir" && git apply "$mutants/$row.patch") >"$log" 2>&1 || { echo "the patch does not apply"; return; }
	[[ -n "$(tests_of "$row")" ]] || { echo 'the patch names no test ("# test: PACKAGE NAME")'; return; }
	while read -r test; do
		read -ra words <<<"$test"
		baseline=$work/baseline/$(sha256sum <<<"${words[*]}" | cut -c1-16)
		problem=$(cat "$baseline")
		[[ -z "$problem" ]] || { cp "$baseline.log" "$log"; echo "$test: $problem"; return; }
		(cd "$dir" && go test -trimpath -vet=off "${words[@]:2}" -c -o /dev/null "${words[0]}") >"$log" 2>&1 ||
			{ echo "$test: does not compile"; return; }
		if go_test "$dir" "${words[@]}" >"$log"; then
			echo "$test: passes under the mutant"
			return
		fi
		grep -qE '^ *--- FAIL|^panic: |^fatal error: |^FAIL' "$log" || { echo "$test: ended without a verdict"; return; }
	done < <(tests_of "$row")
}

# judge ROW prints the mutant's line of the table.
judge() {
	local row=$1 began=$SECONDS problem
	problem=$(verdict "$row")
	if [[ -z "$problem" ]]; then
		printf 'killed  %-24s %4ds  %s\n' "$row" $((SECONDS - began)) "$(tests_of "$row" | paste -sd';')"
	else
		printf 'FAILED  %-24s %4ds  %s\n%s\n' "$row" $((SECONDS - began)) "$problem" "$(tail -n 15 "$work/$row.log" 2>/dev/null | sed 's/^/          /')"
	fi
	[[ -z "$problem" ]] && echo passed >"$work/result/$row" || echo failed >"$work/result/$row"
	rm -rf "${work:?}/$row"
}
export -f tests_of go_test baseline verdict judge

rows=("$@")
if [[ ${#rows[@]} -eq 0 ]]; then
	for patch in "$mutants"/*.patch; do
		[[ -e "$patch" ]] && rows+=("$(basename "$patch" .patch)")
	done
fi
[[ ${#rows[@]} -gt 0 ]] || { echo "no mutants in testdata/mutants" >&2; exit 1; }
for row in "${rows[@]}"; do
	[[ -f "$mutants/$row.patch" ]] || { echo "no mutant $row in testdata/mutants" >&2; exit 1; }
done

git ls-files -z --cached --others --exclude-standard |
	while IFS= read -r -d '' file; do [[ -e "$file" ]] && printf '%s\0' "$file"; done |
	tar -c --null --no-recursion -T - | tar -x -C "$work/base"

# Every test that any mutant names, once, on the tree as it is.
for row in "${rows[@]}"; do tests_of "$row"; done | sort -u |
	xargs -r -P "$JOBS" -d '\n' -I{} bash -c 'read -ra words <<<"$1"; baseline "${words[@]}"' _ {}
printf '%s\0' "${rows[@]}" | xargs -0 -P "$JOBS" -I{} bash -c 'judge "$1"' _ {}

passed=$({ grep -lx passed "$work"/result/* || true; } | wc -l)
failed=$((${#rows[@]} - passed))
echo "$passed passed, $failed failed"
[[ "$failed" -eq 0 ]]
