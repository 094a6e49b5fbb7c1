# sluice: one Makefile for everything.
#
#   make run          start it all on 127.0.0.1:8080 with a mock provider (PORT=, VAR=); Ctrl-C ends it
#   make test         every test: unit, fuzz replay, real web servers, SDK, browser (under 10 minutes)
#   make              the three programs, in build/release
#   make check        unit tests, fuzz corpus, house rules: fast, no network   (T=admit only those)
#   make SAN=1 …      the same under address+undefined sanitizers, in build/san
#   make TSAN=1 …     the same under the thread sanitizer, in build/tsan
#   make bench        ratios to nginx and friends; tests/bench/README.md explains
#   make soak         what takes longer than make test
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

ROOMS ?= base conf store board wire web admit route forward settle gateway manage cli

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
LIBS       = -lfcgi -lcurl -ldb-5.3 -lcjson -lcrypto -luv -lpthread

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
	$(CC) $(ALL_CFLAGS) $(LINK) -o $@ $^ $(LIBS)

$O/libsluice.a: $(OBJ)
	@rm -f $@
	@ar rcs $@ $^

$O/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# ---- tests that need no network ----

$(UNIT): $O/%: $O/%.o $O/libsluice.a
	$(CC) $(ALL_CFLAGS) $(LINK) -o $@ $^ $(LIBS) -lcmocka

# A fuzz target without a fuzzer replays its corpus.
$O/tests/fuzz/replay.o: tests/fuzz/replay.c
$(REPLAY): $O/%: $O/%.o $O/tests/fuzz/replay.o $O/libsluice.a
	$(CC) $(ALL_CFLAGS) $(LINK) -o $@ $^ $(LIBS)

check: $(UNIT) $(REPLAY) layers
	@set -e; for t in $(UNIT); do echo "== $$t"; $$t; done
	@set -e; for t in $(REPLAY); do echo "== $$t"; n=$$(basename $$t _fuzz); $$t tests/fuzz/corpus/$$n; done

layers:
	@sh tests/tools/layers.sh

.PHONY: all check layers
-include $(shell find $O -name '*.d' 2>/dev/null)
