#!/bin/sh
# Installs the Debian packages that a purpose needs and this machine lacks, without starting the
# services that come with them.  usage: install-packages.sh build|run|test|bench|lint|cov …
set -eu

build="gcc make libc6-dev libfcgi-dev libcurl4-openssl-dev libdb5.3-dev libcjson-dev libssl-dev libuv1-dev"
run="lighttpd curl ca-certificates tzdata"
test="libcmocka-dev lighttpd apache2-bin media-types libapache2-mod-fcgid nginx-light caddy nodejs npm chromium curl valgrind db5.3-util mandoc"
bench="nginx-light lighttpd wrk"
lint="clang clang-format clang-tidy cppcheck"
cov="lcov"
fuzz="clang"

wanted=""
for purpose in "$@"; do
	case "$purpose" in
	build) wanted="$wanted $build" ;;
	run) wanted="$wanted $run" ;;
	test) wanted="$wanted $test" ;;
	bench) wanted="$wanted $bench" ;;
	lint) wanted="$wanted $lint" ;;
	cov) wanted="$wanted $cov" ;;
	fuzz) wanted="$wanted $fuzz" ;;
	*) echo "install-packages: no purpose called $purpose" >&2 && exit 2 ;;
	esac
done

missing=""
for package in $wanted; do
	# a node that did not come from Debian does as well
	case "$package" in
	nodejs) command -v node >/dev/null && continue ;;
	npm) command -v npm >/dev/null && continue ;;
	esac
	dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "ok installed" ||
		missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
	as_root=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
	as_root="sudo"
else
	echo "These packages are missing; run this once, as root, and start again:" >&2
	echo "  apt-get install --no-install-recommends$missing" >&2
	exit 1
fi

echo "Installing with apt-get:$missing"
# Debian asks policy-rc.d whether a package may start its service: 101 says no.
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
	$as_root chmod 755 $policy
	made=yes
fi
status=0
log=$(mktemp)
($as_root apt-get update && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y \
	--no-install-recommends $missing) >"$log" 2>&1 || status=$?
[ -z "$made" ] || $as_root rm -f $policy
[ $status -eq 0 ] || cat "$log" >&2
rm -f "$log"
exit $status
