# sluice: one Makefile for everything.
#
#   make run          start it all on 127.0.0.1:8080 with a mock provider (PORT=, VAR=); Ctrl-C ends it
#   make test         every test: unit, fuzz replay, real web servers, SDK, browser (under 10 minutes)
#   make              the three programs, in build/release
#   make check        unit tests, fuzz corpus, house rules: fast, no network   (T=admit only those)
#   make SAN=1 …      the same under address+undefined sanitizers, in build/san
#   make TSAN=1 …     the same under the thread sanitizer, in build/tsan; in both a report in any
#                     program's log fails its test.  SAN=1 test and TSAN=1 test take minutes
#   make bench        ratios to nginx and friends; tests/bench/README.md explains
#   make soak         what takes longer than make test, 10,000 exchanges under valgrind among it
#   make fuzz         fuzz each reader for FUZZ_SECONDS (60)
#   make lint         clang-format, clang-tidy, cppcheck
#   make cov          line coverage, at least 90 % outside cli/
#   make install      DESTDIR= PREFIX=/usr/local
#   make dist         sluice-VERSION.tar.gz
#
# ROOMS="base web" builds only those rooms and their tests.

VERSION = 0.1.0
PREFIX ?= /usr/local
PORT   ?= 8080
VAR    ?= var
CC     ?= gcc
FUZZ_SECONDS ?= 60

# On all cores, unless told otherwise.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

ROOMS ?= base conf store board wire web admit route forward settle quote errand gateway manage cli

CSTD    = -std=c17 -D_GNU_SOURCE
WARN    = -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror
CFLAGS ?= -O2 -g
HARDEN  = -fPIE -fstack-protector-strong
LINK    = -pie -Wl,-z,relro,-z,now -Wl,--as-needed

ifdef SAN
O       = build/san
CFLAGS  = -O1 -g -fno-omit-frame-pointer
FLAVOUR = -fsanitize=address,undefined -fno-sanitize-recover=all
else ifdef TSAN
O       = build/tsan
CFLAGS  = -O1 -g -fno-omit-frame-pointer
FLAVOUR = -fsanitize=thread
else ifdef COV
O       = build/cov
CFLAGS  = -O0 -g
FLAVOUR = --coverage -fprofile-update=atomic
else
O      ?= build/release
HARDEN += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif

ALL_CFLAGS = $(CSTD) $(WARN) $(CFLAGS) $(HARDEN) $(FLAVOUR) -Isrc -DSLUICE_VERSION='"$(VERSION)"' -MMD -MP
LIBS       = -lfcgi -lcurl -ldb-5.3 -lcjson -lcrypto -luv -lpthread -lm

SRC      := $(sort $(foreach r,$(ROOMS),$(wildcard src/$r/*.c)))
OBJ       = $(SRC:%.c=$O/%.o)
PROGRAMS  = $O/sluice.fcgi $O/sluice-manage.fcgi $O/sluice
UNIT_SRC := $(sort $(foreach r,$(ROOMS),$(wildcard tests/unit/$r/*_test.c)))
ifdef T
UNIT_SRC := $(foreach f,$(UNIT_SRC),$(if $(findstring $T,$f),$f))
endif
UNIT      = $(UNIT_SRC:%.c=$O/%)
FUZZ_SRC := $(sort $(foreach r,$(ROOMS),$(wildcard tests/fuzz/$r/*_fuzz.c)))
REPLAY    = $(FUZZ_SRC:%.c=$O/%)

all: $(PROGRAMS)

$O/sluice.fcgi:        $O/src/main_gateway.o $O/libsluice.a
$O/sluice-manage.fcgi: $O/src/main_manage.o  $O/libsluice.a
$O/sluice:             $O/src/main_command.o $O/libsluice.a
$(PROGRAMS):
	@echo "link $@"
	@$(CC) $(ALL_CFLAGS) $(LINK) -o $@ $^ $(LIBS)

$O/libsluice.a: $(OBJ)
	@rm -f $@
	@ar rcs $@ $^

$O/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "cc   $<"
	@$(CC) $(ALL_CFLAGS) -c -o $@ $<

# ---- tests that need no network ----

$(UNIT): $O/%: $O/%.o $O/libsluice.a
	@$(CC) $(ALL_CFLAGS) $(LINK) -o $@ $^ $(LIBS) -lcmocka

# A fuzz target without a fuzzer replays its corpus.
$O/tests/fuzz/replay.o: tests/fuzz/replay.c
$(REPLAY): $O/%: $O/%.o $O/tests/fuzz/replay.o $O/libsluice.a
	@$(CC) $(ALL_CFLAGS) $(LINK) -o $@ $^ $(LIBS)

# Side by side, each one's output in one piece; all of them run, whoever fails.
check: layers
	@$(MAKE) --no-print-directory --keep-going --output-sync=target $(UNIT:%=%.run) $(REPLAY:%=%.run)

$(UNIT:%=%.run): %.run: %
	@echo "== $<"; $<
$(REPLAY:%=%.run): %.run: %
	@echo "== $<"; $< tests/fuzz/corpus/$(patsubst %_fuzz,%,$(<F))

layers:
	@sh tests/tools/layers.sh

# ---- whole runs ----

# Into any flavour's programs: itself in none.
CLOCK = $O/tests/tools/wallclock.so
$(CLOCK): tests/tools/wallclock.c
	@mkdir -p $(@D)
	@$(CC) $(CSTD) $(WARN) -O2 -fPIC -shared -o $@ $<

run:
	@sh contrib/install-packages.sh build run
	@$(MAKE) --no-print-directory all
	@sh contrib/run.sh $O $(PORT) $(VAR)

NODE_MODULES = tests/node_modules/.installed
$(NODE_MODULES): tests/package.json tests/package-lock.json
	@echo "npm  the SDK and browser driver of the tests"
	@cd tests && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# In order: the fast ones first, so that a mistake shows early.
test:
	@sh contrib/install-packages.sh build run test
	@$(MAKE) --no-print-directory all check $(CLOCK) $(NODE_MODULES)
	@cd tests && SLUICE_BUILD=$O node --test --test-concurrency=2 integration/*.test.mjs page/*.test.mjs soak/valgrind.test.mjs

# The same tests, longer, and those that only pay when they run long.
soak:
	@sh contrib/install-packages.sh build run test
	@$(MAKE) --no-print-directory all $(CLOCK) $(NODE_MODULES) $O/tests/soak/usage_soak
	@SLUICE_LONG=1 $(MAKE) --no-print-directory check
	@$O/tests/soak/usage_soak
	@cd tests && SLUICE_LONG=1 SLUICE_BUILD=$O node --test --test-concurrency=1 integration/*.test.mjs soak/*.test.mjs
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=600

bench:
	@sh contrib/install-packages.sh build run bench
	@$(MAKE) --no-print-directory all $(NODE_MODULES) $(BENCHES)
	@cd tests && SLUICE_BUILD=$O node bench/bench.mjs

BENCHES = $O/tests/bench/board_bench $O/tests/bench/ledger_bench $O/tests/bench/route_bench $O/tests/bench/wire_bench
$O/tests/bench/ledger_bench $O/tests/bench/route_bench: $O/tests/bench/store_bench.o
$(BENCHES) $O/tests/soak/usage_soak: %: %.o $O/libsluice.a
	@$(CC) $(ALL_CFLAGS) $(LINK) -o $@ $^ $(LIBS)

FUZZ_FLAGS = $(CSTD) -g -O1 -Isrc -DSLUICE_VERSION='"$(VERSION)"' -fsanitize=fuzzer,address,undefined
fuzz:
	@sh contrib/install-packages.sh build fuzz
	@mkdir -p build/fuzz
	@set -e; for f in $(FUZZ_SRC); do n=$$(basename $$f _fuzz.c); \
		clang $(FUZZ_FLAGS) -o build/fuzz/$$n $$f $(wildcard src/base/*.c src/wire/*.c src/web/*.c) \
			-lcjson -lcrypto -luv -lfcgi; \
		mkdir -p build/fuzz/corpus/$$n; echo "== fuzz $$n for $(FUZZ_SECONDS) s"; \
		build/fuzz/$$n -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -print_final_stats=1 \
			build/fuzz/corpus/$$n tests/fuzz/corpus/$$n 2>&1 | tail -n 12; done

C_FILES = $(wildcard src/*.c src/*/*.c tests/unit/*/*.c tests/tools/*.c tests/fuzz/*.c tests/fuzz/*/*.c tests/bench/*.c tests/soak/*.c)
lint:
	@sh contrib/install-packages.sh build lint
	@clang-format --dry-run -Werror $(C_FILES)
	@cppcheck --quiet --std=c17 --enable=warning,portability --inline-suppr --error-exitcode=1 -Isrc \
		--suppress=missingIncludeSystem --suppress=syntaxError:src/web/web-int.h -DSLUICE_VERSION='"x"' src
	@clang-tidy --quiet --warnings-as-errors='*' $(wildcard src/*.c src/*/*.c) -- $(CSTD) -Isrc \
		-DSLUICE_VERSION='"x"'

# Unit and integration tests on an instrumented build.
cov:
	@sh contrib/install-packages.sh build run test cov
	@$(MAKE) --no-print-directory COV=1 all check $(CLOCK) $(NODE_MODULES)
	@cd tests && SLUICE_BUILD=build/cov node --test --test-concurrency=2 \
		$$(ls integration/*.test.mjs | grep -v disk)
	@lcov --quiet --capture --no-external --directory build/cov --base-directory . -o build/cov/all.info
	@lcov --quiet --remove build/cov/all.info '*/src/cli/*' '*/src/main_*' '*/tests/*' -o build/cov/room.info
	@lcov --list build/cov/room.info
	@lcov --summary build/cov/room.info 2>&1 | awk '/lines/ { print; if ($$2 + 0 < 90) { print "below 90 %"; exit 1 } }'

# ---- to take along ----

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/sluice $(DESTDIR)$(PREFIX)/share/man/man8 \
		$(DESTDIR)$(PREFIX)/share/man/man7 $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/sluice/htdocs \
		$(DESTDIR)$(PREFIX)/share/sluice/conf $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/lib/sluice
	ln -sf ../lib/sluice/sluice $(DESTDIR)$(PREFIX)/bin/sluice
	install -m 644 src/sluice.8 $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 644 src/sluice-routing.7 $(DESTDIR)$(PREFIX)/share/man/man7
	install -m 644 $O/sluice.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5
	cp -R htdocs/. $(DESTDIR)$(PREFIX)/share/sluice/htdocs
	install -m 644 conf/prices.json conf/sluice.conf $(DESTDIR)$(PREFIX)/share/sluice/conf
	sed -e 's|/usr/local|$(PREFIX)|g' contrib/systemd/sluice.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/sluice.service
	for f in conf/*.conf conf/Caddyfile conf/htaccess-*; do case $$f in conf/sluice.conf) continue;; esac; \
		sed -e 's|@PORT@|8080|g' -e 's|@HTDOCS@|$(PREFIX)/share/sluice/htdocs|g' \
			-e 's|@SOCKETS@|/var/lib/sluice/run|g' -e 's|@LOG@|/var/log/sluice|g' \
			-e 's|@PROGRAMS@|$(PREFIX)/lib/sluice|g' -e 's|@CONFIG@|/etc/sluice/sluice.conf|g' \
			-e 's|@SITE@|/var/www/site|g' $$f >$(DESTDIR)$(PREFIX)/share/sluice/$$f; done

all: $O/sluice.conf.5
$O/sluice.conf.5: conf/sluice.conf.5.in $O/sluice
	@$O/sluice config --manual >$@.options
	@sed -e '/@OPTIONS@/{r $@.options' -e 'd;}' $< >$@

dist:
	git archive --prefix=sluice-$(VERSION)/ -o sluice-$(VERSION).tar.gz HEAD

clean:
	rm -rf build

.PHONY: all check layers $(UNIT:%=%.run) $(REPLAY:%=%.run) run test soak bench fuzz lint cov install dist clean
-include $(shell find $O -name '*.d' 2>/dev/null)
