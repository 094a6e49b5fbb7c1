#!/bin/sh
# Includes point down only (src/README.md): each room may include the rooms listed for it, the
# rooms of the way never one another, and each outside library has one room.
set -u
cd "$(dirname "$0")/../.." || exit 1
fail=0
may() {
	case "$1" in
	base) echo "base" ;;
	conf | wire) echo "base $1" ;;
	store) echo "base conf store" ;;
	board) echo "base conf board" ;;
	web) echo "base conf web" ;;
	forward) echo "base conf forward" ;;
	admit) echo "base conf store board wire admit" ;;
	route) echo "base conf store board wire route" ;;
	settle) echo "base conf store board wire settle" ;;
	errand) echo "base conf store board wire route forward errand" ;;
	quote) echo "base conf store board wire admit route settle quote" ;;
	gateway) echo "base conf store board wire web admit route forward settle quote errand gateway" ;;
	manage) echo "base conf store board wire web admit route settle quote errand manage" ;;
	cli) echo "base conf store board wire web admit route forward settle quote errand gateway manage cli" ;;
	esac
}
for room in src/*/; do
	room=$(basename "$room")
	for file in src/"$room"/*.[ch]; do
		[ -e "$file" ] || continue
		for into in $(sed -n 's/^#include "\([a-z_]*\)\/.*/\1/p' "$file" | sort -u); do
			case " $(may "$room") " in
			*" $into "*) ;;
			*) echo "$file: $room may not include $into" && fail=1 ;;
			esac
		done
		for pair in db.h:store fcgiapp.h:web curl/curl.h:forward cjson/cJSON.h:wire,manage; do
			header=${pair%%:*} rooms=${pair#*:}
			if grep -q "^#include <$header>" "$file"; then
				case ",$rooms," in
				*",$room,"*) ;;
				*) echo "$file: <$header> belongs to $rooms" && fail=1 ;;
				esac
			fi
		done
		case "$file" in
		*-int.h) ;;
		*.h) for into in $(sed -n 's/^#include "\(.*-int\.h\)".*/\1/p' "$file"); do
			echo "$file: a public header may not include $into" && fail=1
		done ;;
		esac
	done
done
[ $fail -eq 0 ] && echo "layers: includes point down only"
exit $fail
