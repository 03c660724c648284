# make             build/canvass, optimised
# make MODE=asan   build/asan/canvass; also debug, tsan, cover, fuzz
# make test        unit tests, fuzz inputs and black-box tests (MODE=asan: under sanitizers)
# make fuzz        looks for new inputs that break a promise: FUZZ_TIME=60 seconds for each target, FUZZ_RUNS=N
#                  instead, FUZZ_TARGETS="json url" for some of them; then random worlds for as long
# make simulate   counts false alarms and what is found of planted differences
# make lint bench install clean; V=1 shows the commands

MODE   ?= release
ifeq ($(MODE)$(origin CC),fuzzdefault)
CC     := clang
endif
PREFIX ?= /usr/local
PYTHON ?= /usr/bin/python3
V      ?= 0
Q      := $(if $(filter 0,$(V)),@,)
# make's first word of flags is its short ones: -s wants no more than warnings and errors
silent  = $(findstring s,$(filter-out --%,$(firstword -$(MAKEFLAGS))))
say     = $(if $(silent),,$(if $(filter 0,$(V)),@printf '  %-5s %s\n' $(1) $(patsubst $(OUT)/%,%,$@)))
OUT    := $(if $(filter release,$(MODE)),build,build/$(MODE))

# libcurl, libmicrohttpd and ICU are loaded when they are first called: base/late.h.
LINKED := libcjson openssl
PKGS   := $(LINKED) lua5.4 sqlite3 libcurl libmicrohttpd icu-uc
ifneq ($(filter-out clean install-deps,$(or $(MAKECMDGOALS),all)),)
PKG_OK := $(shell pkg-config --exists $(PKGS) cmocka && echo yes)
$(if $(PKG_OK),,$(error libraries are missing: run scripts/install-deps, or see what `pkg-config --print-errors --exists $(PKGS) cmocka' says))
endif

WARN   := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
          -Wvla -Wundef -Wformat=2 -Wno-overlength-strings
OPT.release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
OPT.debug   := -O0 -g3
OPT.asan    := -O1 -g3 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
OPT.tsan    := -O1 -g3 -fsanitize=thread
OPT.cover   := -O0 -g3 --coverage
OPT.fuzz    := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
OPT    := $(or $(OPT.$(MODE)),$(error unknown MODE=$(MODE): use release, debug, asan, tsan, cover or fuzz))

ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -Isrc -I$(OUT)/gen $(WARN) $(OPT) $(shell pkg-config --cflags $(PKGS)) $(CFLAGS)
# Lua, SQLite and libev become part of the program where the system has their archives: what it does most is calls
# into these, and costs a tenth less so. With ARCHIVES=no they stay libraries.
archive     = $(if $(findstring /,$(if $(filter no,$(ARCHIVES)),,$(shell $(CC) -print-file-name=lib$(1).a))),-l:lib$(1).a,-l$(1))
ALL_LIBS   := $(foreach lib,lua5.4 sqlite3 ev,$(call archive,$(lib))) $(shell pkg-config --libs $(LINKED)) \
              -lpthread -ldl -lm $(LDLIBS)

SRC     := $(sort $(wildcard src/*/*.c))
LUA     := $(sort $(shell find lua -name '*.lua'))
WEB     := $(sort $(wildcard src/serve/web/*))
OBJ     := $(SRC:%.c=$(OUT)/%.o) $(OUT)/gen/builtin_lua.o $(OUT)/gen/assets.o
LIB     := $(filter-out $(OUT)/src/cli/main.o,$(OBJ))
TESTS   := $(sort $(wildcard tests/unit/test_*.c))
TESTBIN := $(TESTS:%.c=$(OUT)/%)
FUZZ    := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZBIN := $(FUZZ:%.c=$(OUT)/%)
SEARCH  := $(sort $(wildcard tests/search/*.c))
SEARCHBIN := $(OUT)/tests/search/fault_search

all: $(OUT)/canvass

$(OUT)/canvass: $(OBJ)
	$(call say,LINK)
	$(Q)$(CC) $(OPT) $(LDFLAGS) -o $@ $^ $(ALL_LIBS)

$(OUT)/tests/unit/%: $(OUT)/tests/unit/%.o $(OUT)/libcanvass.a
	$(call say,LINK)
	$(Q)$(CC) $(OPT) $(LDFLAGS) -o $@ $^ $(ALL_LIBS) $(shell pkg-config --libs cmocka)

# The same target, driven by libFuzzer or by a main that replays what is checked in.
FUZZMAIN := $(if $(filter fuzz,$(MODE)),,$(OUT)/tests/fuzz/replay.o)
$(OUT)/tests/fuzz/fuzz_%: $(OUT)/tests/fuzz/fuzz_%.o $(FUZZMAIN) $(OUT)/libcanvass.a
	$(call say,LINK)
	$(Q)$(CC) $(OPT) $(if $(FUZZMAIN),,-fsanitize=fuzzer) $(LDFLAGS) -o $@ $^ $(ALL_LIBS)

$(SEARCHBIN): $(SEARCH:%.c=$(OUT)/%.o) $(OUT)/libcanvass.a
	$(call say,LINK)
	$(Q)$(CC) $(OPT) $(LDFLAGS) -o $@ $^ $(ALL_LIBS)

$(OUT)/libcanvass.a: $(LIB)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(OUT)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(OUT)/gen/builtin_lua.c: $(LUA) scripts/embed
	@mkdir -p $(@D)
	$(call say,EMBED)
	$(Q)scripts/embed lua $(LUA) > $@

$(OUT)/gen/assets.c: $(WEB) scripts/embed
	@mkdir -p $(@D)
	$(call say,EMBED)
	$(Q)scripts/embed web $(WEB) > $@

$(OUT)/gen/%.o: $(OUT)/gen/%.c
	$(Q)$(CC) -std=c11 -Isrc $(OPT) -c -o $@ $<

unit-tests: $(TESTBIN) $(FUZZBIN) $(SEARCHBIN)

fault-search: $(SEARCHBIN)

test: $(OUT)/canvass unit-tests
	scripts/run-tests $(OUT) $(PYTHON)

fuzz-targets: $(FUZZBIN)

fuzz:
	scripts/install-deps fuzz
	$(Q)$(MAKE) --no-print-directory MODE=fuzz fuzz-targets
	scripts/fuzz build/fuzz
	$(Q)$(MAKE) --no-print-directory fault-search
	build/tests/search/fault_search --for $(or $(FUZZ_TIME),60)

# How often the comparison of regions is right, over thousands of jobs whose truth is known: a few minutes.
simulate: $(OUT)/tests/unit/test_analysis
	$< simulate

lint:
	scripts/check-layers
	@! LC_ALL=C.UTF-8 grep -nE '.{121}' src/*/*.[ch] tests/*/*.[ch] $(LUA)
	@set -e; for h in src/*/*.h; do $(CC) $(ALL_CFLAGS) -Werror -fsyntax-only -x c $$h; done
	luacheck --quiet --config .luacheckrc lua examples tests/lua

bench: $(OUT)/canvass
	scripts/bench $(OUT)

install: $(OUT)/canvass
	install -Dm755 $< $(DESTDIR)$(PREFIX)/bin/canvass

clean:
	rm -rf build

-include $(OBJ:.o=.d) $(TESTBIN:%=%.d) $(FUZZBIN:%=%.d) $(SEARCH:%.c=$(OUT)/%.d)
.PHONY: all simulate unit-tests fault-search test fuzz fuzz-targets lint bench install clean
.SECONDARY:
