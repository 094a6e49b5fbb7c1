#!/bin/sh
# check.sh JOBS COMMAND... - runs each command, so many at once; what one printed comes in one piece, and
# those that failed are named at the end.
set -u
jobs=$1
shift
dir=$(mktemp -d "${TMPDIR:-/tmp}/sluice-check-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
export dir
printf '%s\n' "$@" | xargs -P "$jobs" -I '{}' sh -c '
	out="$dir/$$"
	{} >"$out" 2>&1 || echo "{}" >>"$dir/failed"
	flock "$dir" sh -c "echo \"== {}\"; cat \"$out\""
	rm -f "$out"'
test ! -s "$dir/failed" || { echo "these failed:"; sort "$dir/failed"; exit 1; }
