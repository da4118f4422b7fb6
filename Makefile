# neap: everything a developer, a user or CI runs is a target here.
#
# MODE picks a build folder, so that switching never forces a rebuild: release
# (the default) is in build/, every other mode in build/MODE/.

MODE ?= release
# What the test targets build; `make test TEST_MODE=release` tries another.
TEST_MODE ?= $(if $(filter release,$(MODE)),debug,$(MODE))

ifeq ($(MODE),release)
B ?= build
else
B ?= build/$(MODE)
endif
O := $(B)/obj

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR := $(PREFIX)/bin
LIBDIR := $(PREFIX)/lib
INCLUDEDIR := $(PREFIX)/include
LUA_CDIR := $(LIBDIR)/lua/5.4
LUA_LDIR := $(PREFIX)/share/lua/5.4

VERSION := $(shell sed -n 's/^\#define NEAP_VERSION "\(.*\)"/\1/p' \
  src/include/neap.h)
SOVERSION := 0
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

# ---- Lua and libuv ---------------------------------------------------------

LUA ?= lua5.4
BUSTED ?= /usr/bin/busted
PKG_CONFIG ?= pkg-config
LUA_PC := $(shell for p in lua5.4 lua-5.4 lua54 lua; do \
  $(PKG_CONFIG) --exists $$p 2>/dev/null && echo $$p && exit; done; \
  echo lua5.4)
LUA_CFLAGS := $(or $(shell $(PKG_CONFIG) --cflags $(LUA_PC) 2>/dev/null), \
  -I/usr/include/lua5.4)
LUA_LIBS := $(or $(shell $(PKG_CONFIG) --libs $(LUA_PC) 2>/dev/null),-llua5.4)
UV_CFLAGS := $(shell $(PKG_CONFIG) --cflags libuv 2>/dev/null)
UV_LIBS := $(or $(shell $(PKG_CONFIG) --libs libuv 2>/dev/null),-luv)
# The host holds Lua itself, so that it does not depend on a shared liblua.
LUA_LIBDIR := $(shell $(PKG_CONFIG) --variable=libdir $(LUA_PC) 2>/dev/null)
LUA_A ?= $(or $(wildcard $(LUA_LIBDIR)/liblua5.4.a), \
  $(wildcard $(LUA_LIBDIR)/liblua.a),-l:liblua5.4.a)

# ---- flags -----------------------------------------------------------------

IS_CLANG := $(findstring clang,$(shell $(CC) --version))
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wundef -Wformat=2 \
  -Wwrite-strings -Wstrict-prototypes -Wmissing-prototypes \
  -Wimplicit-fallthrough
OPT ?= -O2
# Further flags of the caller's, e.g. EXTRA_CFLAGS=-flto EXTRA_LDFLAGS=-flto.
EXTRA_CFLAGS ?=
EXTRA_LDFLAGS ?=

ifeq ($(MODE),release)
MODE_CFLAGS := $(OPT) -DNDEBUG
else ifeq ($(MODE),debug)
MODE_CFLAGS := -O0 -g3 -DNEAP_DEBUG
WERROR ?= -Werror
else ifeq ($(MODE),asan)
SANITIZE := -fsanitize=address,undefined
MODE_CFLAGS := -O1 -g -DNEAP_DEBUG -fno-omit-frame-pointer $(SANITIZE) \
  -fno-sanitize-recover=undefined
MODE_LDFLAGS := $(SANITIZE)
SANITIZE_LIB := libasan.so
WERROR ?= -Werror
else ifeq ($(MODE),tsan)
SANITIZE := -fsanitize=thread
MODE_CFLAGS := -O1 -g -DNEAP_DEBUG -fno-omit-frame-pointer $(SANITIZE)
# The stack that it keeps of calls would fill up: Lua's errors jump over their ends.
MODE_CFLAGS += $(if $(IS_CLANG),-mllvm -tsan-instrument-func-entry-exit=0, \
  --param=tsan-instrument-func-entry-exit=0)
MODE_LDFLAGS := $(SANITIZE)
SANITIZE_LIB := libtsan.so
WERROR ?= -Werror
else
$(error MODE is release, debug, asan or tsan)
endif
WERROR ?=

CPPFLAGS += -D_GNU_SOURCE -Isrc/include -Isrc $(LUA_CFLAGS) $(UV_CFLAGS)
CFLAGS_ALL := -std=c11 $(WARNINGS) $(WERROR) -fvisibility=hidden \
  $(MODE_CFLAGS) $(CFLAGS) $(EXTRA_CFLAGS)
LDFLAGS_ALL := $(MODE_LDFLAGS) $(LDFLAGS) $(EXTRA_LDFLAGS)
SYS_LIBS := $(UV_LIBS) -lm -ldl -lpthread
# A shared library of ours must not miss a symbol; sanitizers resolve theirs
# only when the program is linked.
NO_UNDEFINED := $(if $(SANITIZE),,-Wl,-z,defs)

# Our small functions call each other across files on every switch: inlining them
# there makes a switch 6 per cent faster. Only gcc needs no further tools for it.
HOST_LTO := $(if $(filter release,$(MODE)),$(if $(IS_CLANG),,-flto=auto))

# ---- sources ---------------------------------------------------------------

CORE_SRC := $(filter-out src/main.c,$(wildcard src/*.c))
LUA_SRC := $(shell test -d lua && find lua -name '*.lua' | sort)
GEN := $(O)/packed.c
PIC_OBJ := $(CORE_SRC:src/%.c=$(O)/pic/%.o) $(O)/pic/packed.o
# The host is linked from objects that are not position independent: faster.
HOST_OBJ := $(CORE_SRC:src/%.c=$(O)/host/%.o) $(O)/host/packed.o \
  $(if $(wildcard src/main.c),$(O)/host/main.o)

TEST_C_SRC := $(wildcard spec/c/test_*.c)
OOM_C_SRC := $(wildcard spec/c/oom_*.c)
TEST_C := $(TEST_C_SRC:spec/c/%.c=$(B)/spec/%)
OOM_C := $(OOM_C_SRC:spec/c/%.c=$(B)/spec/%)
# An example in C that defines luaopen_* is a module for the host, the others
# are programs.
EMBED_SRC := $(wildcard scripts/embed/*.c)
EMBED_MOD_SRC := $(if $(EMBED_SRC),$(shell grep -l luaopen_ $(EMBED_SRC)))
EMBED := \
  $(patsubst scripts/embed/%.c,$(B)/embed/%, \
    $(filter-out $(EMBED_MOD_SRC),$(EMBED_SRC))) \
  $(EMBED_MOD_SRC:scripts/embed/%.c=$(B)/embed/%.so)

C_FILES := $(wildcard scripts/dev/*.h src/*.c src/*.h src/include/*.h spec/c/*.c spec/c/*.h \
  scripts/embed/*.c)
LINT_C := $(wildcard src/*.c) $(EMBED_SRC)
SH_FILES := $(wildcard scripts/dev/*.sh) .ci/run

SUB := $(MAKE) --no-print-directory

# ---- building --------------------------------------------------------------

.PHONY: all
all: $(B)/neap $(B)/libneap.a $(B)/libneap.so $(B)/neap.so $(B)/neap.pc ## the host, the libraries, the module for stock Lua (MODE=release)

.PHONY: debug
debug: ## the same in build/debug: -O0 -g3, assertions, -Werror
	@$(SUB) MODE=debug all

# Written only when the command changes, so that objects follow it.
FLAGS_NOW = $(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(HOST_LTO) $(LDFLAGS_ALL) $(LUA_A)
$(O)/flags: FORCE
	@mkdir -p $(O)/pic $(O)/host $(B)/spec $(B)/embed
	@echo '$(FLAGS_NOW)' | cmp -s - $@ || echo '$(FLAGS_NOW)' >$@
.PHONY: FORCE
FORCE:

$(O)/pic/%.o: src/%.c $(O)/flags
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -fPIC -MMD -MP -c -o $@ $<

$(O)/host/%.o: src/%.c $(O)/flags
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(HOST_LTO) -fno-pie -MMD -MP -c -o $@ $<

$(O)/pic/packed.o: $(GEN) src/embed.h $(O)/flags
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -fPIC -c -o $@ $<

$(O)/host/packed.o: $(GEN) src/embed.h $(O)/flags
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -fno-pie -c -o $@ $<

# The list of files is part of the input: a deleted file must vanish too.
$(GEN): scripts/dev/pack.lua $(LUA_SRC) $(O)/lua_files
	$(LUA) scripts/dev/pack.lua $@ $(LUA_SRC)
$(O)/lua_files: $(O)/flags FORCE
	@echo '$(LUA_SRC)' | cmp -s - $@ || echo '$(LUA_SRC)' >$@

# All of liblua goes in, and -E exports it: packaged C modules look for it.
$(B)/neap: $(HOST_OBJ)
	$(CC) $(HOST_LTO) $(if $(HOST_LTO),$(OPT)) $(LDFLAGS_ALL) -no-pie -Wl,-E -o $@ $^ \
	  -Wl,--whole-archive $(LUA_A) -Wl,--no-whole-archive $(SYS_LIBS)

$(B)/libneap.a: $(PIC_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

# Once loaded they stay: a thread may still be in our code when a Lua state that ends
# unloads its C modules.
STAY_LOADED := -Wl,-z,nodelete

$(B)/libneap.so.$(SOVERSION): $(PIC_OBJ)
	$(CC) $(LDFLAGS_ALL) -shared $(STAY_LOADED) $(NO_UNDEFINED) \
	  -Wl,-soname,libneap.so.$(SOVERSION) -o $@ $^ $(LUA_LIBS) $(SYS_LIBS)

$(B)/libneap.so: $(B)/libneap.so.$(SOVERSION)
	@ln -sf $(notdir $<) $@

# Lua's own symbols come from the interpreter that loads it.
$(B)/neap.so: $(PIC_OBJ)
	$(CC) $(LDFLAGS_ALL) -shared $(STAY_LOADED) -o $@ $^ $(SYS_LIBS)

define PC
prefix=$(PREFIX)
exec_prefix=$${prefix}
libdir=$${prefix}/lib
includedir=$${prefix}/include

Name: neap
Description: asyncio for Lua 5.4, on libuv
Version: $(VERSION)
Requires: $(LUA_PC) libuv
Libs: -L$${libdir} -lneap
Cflags: -I$${includedir}
endef
export PC
$(B)/neap.pc: Makefile src/include/neap.h
	@mkdir -p $(B)
	@echo "$$PC" >$@

$(B)/spec/%: spec/c/%.c $(B)/libneap.a $(O)/flags
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -MMD -MP $(LDFLAGS_ALL) -Wl,-E -o $@ $< \
	  $(B)/libneap.a $(LUA_LIBS) $(SYS_LIBS)

# The examples in C are built as a user would: with the public header alone.
EMBED_CPPFLAGS := -Isrc/include $(LUA_CFLAGS) $(UV_CFLAGS)
$(B)/embed/%.so: scripts/embed/%.c src/include/neap.h $(O)/flags
	$(CC) $(EMBED_CPPFLAGS) -std=gnu11 $(WARNINGS) -Wno-missing-prototypes \
	  $(WERROR) $(MODE_CFLAGS) $(LDFLAGS_ALL) -fPIC -shared -o $@ $<

$(B)/embed/%: scripts/embed/%.c $(B)/libneap.a $(O)/flags
	$(CC) $(EMBED_CPPFLAGS) -std=gnu11 $(WARNINGS) $(WERROR) $(MODE_CFLAGS) \
	  $(LDFLAGS_ALL) -o $@ $< $(B)/libneap.a $(LUA_LIBS) $(SYS_LIBS)

-include $(wildcard $(O)/pic/*.d $(O)/host/*.d $(B)/spec/*.d)

# ---- running and testing ---------------------------------------------------

.PHONY: deps
deps: ## installs what is missing to build and test (apt)
	@scripts/dev/deps.sh

.PHONY: deps-dev
deps-dev: ## the same with what lint, format and ci need
	@scripts/dev/deps.sh dev

.PHONY: run
run: deps ## installs what is missing, builds, runs a demonstration
	@$(SUB) -s -j$(JOBS) all
	@$(B)/neap scripts/demo.lua

# A test target builds in TEST_MODE and then runs the target _NAME there.
.PHONY: test
test: deps ## builds and runs all tests; ends with "N passed, M failed"
	@$(SUB) -s -j$(JOBS) MODE=$(TEST_MODE) _test-build
	@$(SUB) -s MODE=$(TEST_MODE) _test

TESTS := test-c test-lua test-stock test-gc test-oom examples doctest
.PHONY: $(TESTS)
test-c: ## spec/c/test_*.c: the embedding API
test-lua: ## the busted specs in the host; FILTER=name runs spec/name_spec.lua
test-stock: ## the same specs under stock lua5.4 with neap.so
test-gc: ## the specs with a full collection at every park and resume
test-oom: ## spec/c/oom_*.c: the Nth allocation fails, for every N
examples: ## scripts/*.lua and scripts/embed/*.c, their output compared
doctest: ## runs every Lua block of the Markdown files
$(TESTS): deps
	@$(SUB) -s -j$(JOBS) MODE=$(TEST_MODE) _test-build
	@$(SUB) -s MODE=$(TEST_MODE) _$@

.PHONY: record-asyncio
record-asyncio: ## writes spec/asyncio/*.out anew: what /usr/bin/python3 prints
	@/usr/bin/python3 -B spec/asyncio/run.py --record

# In release mode, and without what takes long for reasons of its own: the tag #slow, and
# specs whose time goes to cryptography, other programs, or data.
SEEDLESS := tls_context tls_verify tls_peer fault_tls tty tty_pipe packet cluster \
  process_pool_shutdown
SEED_SPECS = $(if $(FILTER),$(SPECS),$(filter-out $(SEEDLESS:%=spec/%_spec.lua), \
  $(wildcard spec/*_spec.lua)))
SEEDS ?= 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20
.PHONY: test-seeds
test-seeds: deps ## the specs with what is ready in another order, under 20 SEEDS
	@$(SUB) -s -j$(JOBS) all
	@JOBS=$(JOBS) $(HOST_ENV) scripts/dev/each.sh $(B)/seeds "$(SEEDS)" \
	  env SEED={} scripts/dev/busted.sh $(B)/neap $(BUSTED) \
	  --exclude-tags=host,slow $(SEED_SPECS)

FUZZ ?= 10000
# Random rounds of threads take so long.
THREAD_SECONDS ?= 4
.PHONY: fuzz-smoke
fuzz-smoke: deps ## FUZZ random programs (spec/fuzz), 10000 if not given
	@$(SUB) -s -j$(JOBS) MODE=$(TEST_MODE) all
	@$(SUB) -s MODE=$(TEST_MODE) _fuzz-smoke

.PHONY: asan
asan: deps ## builds with address, undefined and leak checking, and runs all tests
	@$(SUB) test MODE=asan

# The specs in which several threads run code of ours, but for those tagged #stuck: the
# signal that stops Lua code does not reach it there.
TSAN_SPECS ?= $(patsubst spec/%_spec.lua,%,$(wildcard $(foreach name, \
  thread* channel* buffer* stuck* select* executor* cluster* remote*, \
  spec/$(name)_spec.lua)))
.PHONY: tsan _tsan-lua
tsan: deps ## builds with race checking; the C tests and the specs of threads
	@$(SUB) -s -j$(JOBS) MODE=tsan _test-build
	@JOBS=$(JOBS) MODE=tsan scripts/dev/stages.sh build/tsan/test tsan-lua test-c
_tsan-lua:
	@JOBS=1 $(HOST_ENV) scripts/dev/each.sh $(B)/specs "$(TSAN_SPECS:%=spec/%_spec.lua)" \
	  scripts/dev/busted.sh $(B)/neap $(BUSTED) --exclude-tags=host,slow,stuck {}
	@$(B)/neap spec/fuzz/thread.lua $(THREAD_SECONDS)

STAGES ?= test-c test-lua test-stock examples doctest
.PHONY: _test _test-build _fuzz-smoke $(TESTS:%=_%)
_test-build: all $(TEST_C) $(OOM_C) $(EMBED)
_test:
	@JOBS=$(JOBS) scripts/dev/stages.sh $(B)/test $(STAGES)

HERE := $(CURDIR)
HOST_ENV := NEAP_HOST=$(HERE)/$(B)/neap NEAP_BUILD=$(HERE)/$(B)
SPECS := $(if $(FILTER),$(or $(wildcard spec/$(FILTER)_spec.lua), \
  --filter='$(FILTER)' spec),spec)
# A sanitized module needs the sanitizer's runtime in stock Lua, which itself
# was not built for it (and whose shell children leak).
ifneq ($(SANITIZE),)
STOCK_ENV := LD_PRELOAD=$(shell $(CC) -print-file-name=$(SANITIZE_LIB)) \
  ASAN_OPTIONS=detect_leaks=0
endif
ifeq ($(MODE),tsan)
export TSAN_OPTIONS ?= suppressions=$(CURDIR)/scripts/dev/tsan.supp second_deadlock_stack=1
endif

_test-c:
	@$(HOST_ENV) scripts/dev/ctest.sh $(TEST_C)
_test-oom:
	@$(HOST_ENV) scripts/dev/ctest.sh $(OOM_C)
_test-lua:
	@$(HOST_ENV) scripts/dev/busted.sh $(B)/neap $(BUSTED) $(SPECS)
# A process for each file: every collection goes through all that busted has loaded.
_test-gc:
	@JOBS=$(JOBS) NEAP_GC_STRESS=1 $(HOST_ENV) scripts/dev/each.sh $(B)/gc \
	  "$(or $(wildcard spec/$(FILTER)_spec.lua),$(wildcard spec/*_spec.lua))" \
	  scripts/dev/busted.sh $(B)/neap $(BUSTED) --exclude-tags=host {}
# The specs of the host itself do not depend on who runs them.
_test-stock:
	@$(HOST_ENV) LUA_CPATH="$(HERE)/$(B)/?.so;;" STOCK_ENV="$(STOCK_ENV)" \
	  scripts/dev/busted.sh $(LUA) $(BUSTED) --exclude-tags=host $(SPECS)
_examples:
	@$(HOST_ENV) LUA="$(LUA)" STOCK_ENV="$(STOCK_ENV)" \
	  scripts/dev/examples.sh $(B) $(EMBED)
_fuzz-smoke:
	@$(B)/neap spec/fuzz/program.lua 1 $(FUZZ)
	@echo "$(FUZZ) random programs ended well"
	@$(B)/neap spec/fuzz/stream.lua 1 $$(($(FUZZ) / 50 + 1))
	@echo "$$(($(FUZZ) / 50 + 1)) random uses of streams ended well"
	@$(B)/neap spec/fuzz/packet.lua 1 $(FUZZ)
	@echo "$(FUZZ) random packets, and others made of them, ended well"
	@$(B)/neap spec/fuzz/thread.lua $(THREAD_SECONDS)
_doctest:
	@$(HOST_ENV) $(LUA) scripts/dev/doctest.lua $(B)/neap

# ---- benchmarks ------------------------------------------------------------

BENCHES ?= spawn idle switch gather queue lock startup
.PHONY: bench
bench: deps ## neap's own benchmarks, one line each
	@$(SUB) -s -j$(JOBS) all
	@scripts/dev/bench.sh $(B)/neap $(BENCHES)

# Beside the same in C: scripts/bench/NAME.lua and scripts/bench/c/NAME.c.
TRANSFERS := $(patsubst scripts/bench/c/%.c,%,$(wildcard scripts/bench/c/*.c))
$(B)/bench_%: scripts/bench/c/%.c
	@$(CC) -O2 $(WARNINGS) -D_GNU_SOURCE $(UV_CFLAGS) -o $@ $< $(UV_LIBS) -lssl -lcrypto
.PHONY: bench-transfer
bench-transfer: deps ## large transfers, beside C on the same libraries
	@$(SUB) -s -j$(JOBS) all $(TRANSFERS:%=$(B)/bench_%)
	@scripts/dev/transfers.sh $(B)

.PHONY: bench-threads
bench-threads: deps ## threads, channels, executors, and what crosses to them
	@$(SUB) -s -j$(JOBS) all
	@$(B)/neap scripts/bench/thread.lua
	@$(B)/neap scripts/bench/channel.lua
	@$(B)/neap scripts/bench/executor.lua threads
	@$(B)/neap scripts/bench/executor.lua processes
	@$(B)/neap scripts/dev/packet_cost.lua

# ../shared is not ours to write to, and run.sh builds beside itself.
PEERS_DIR ?= ../shared/peers
.PHONY: bench-peers
bench-peers: deps ## the same beside other runtimes (needs ../shared/peers)
	@test -d $(PEERS_DIR) || { echo "$(PEERS_DIR) is not here"; exit 1; }
	@$(SUB) -s -j$(JOBS) all
	@mkdir -p build/peers && cp -r $(PEERS_DIR)/. build/peers/
	@SUBJECT=$(B)/neap SUBJECT_DIR=scripts/bench SUBJECT_NAME=neap \
	  build/peers/run.sh spawn idle idle1m switch gather queue lock echo startup

# ---- checks ----------------------------------------------------------------

.PHONY: lint
lint: deps-dev ## luacheck, clang-tidy, cppcheck, shellcheck
	luacheck -q $(wildcard lua spec scripts)
	$(if $(SH_FILES),shellcheck $(SH_FILES))
	cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr \
	  --enable=warning,performance,portability -D__GNUC__ \
	  --suppress=missingIncludeSystem --suppress=nullPointerRedundantCheck \
	  -Isrc -Isrc/include -j$(JOBS) $(LINT_C)
	@echo clang-tidy $(LINT_C)
	@printf '%s\n' $(LINT_C) | xargs -P$(JOBS) -n4 sh -c \
	  'clang-tidy --quiet "$$@" -- -std=c11 $(CPPFLAGS) \
  -include scripts/dev/noreturn.h 2>/dev/null' tidy

.PHONY: check-layers
check-layers: ## the rules of docs/ARCHITECTURE.md that a machine can see
	@$(LUA) scripts/dev/check_layers.lua

.PHONY: check-symbols
check-symbols: deps ## exported symbols compared with spec/c/symbols.txt
	@$(SUB) -s -j$(JOBS) all
	@scripts/dev/check_symbols.sh $(B) spec/c/symbols.txt

.PHONY: format
format: deps-dev ## clang-format over all C
	clang-format -i $(C_FILES)

.PHONY: format-check
format-check: deps-dev ## fails where format would change something
	clang-format --dry-run -Werror $(C_FILES)

# ---- installing ------------------------------------------------------------

.PHONY: install
install: all ## honours PREFIX and DESTDIR
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(INCLUDEDIR) \
	  $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(LUA_CDIR)
	install -m 755 $(B)/neap $(DESTDIR)$(BINDIR)/neap
	install -m 644 src/include/neap.h $(DESTDIR)$(INCLUDEDIR)/neap.h
	install -m 644 $(B)/libneap.a $(DESTDIR)$(LIBDIR)/libneap.a
	install -m 755 $(B)/libneap.so.$(SOVERSION) \
	  $(DESTDIR)$(LIBDIR)/libneap.so.$(VERSION)
	ln -sf libneap.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libneap.so.$(SOVERSION)
	ln -sf libneap.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libneap.so
	install -m 755 $(B)/neap.so $(DESTDIR)$(LUA_CDIR)/neap.so
	@echo "$$PC" >$(DESTDIR)$(LIBDIR)/pkgconfig/neap.pc
	for f in $(LUA_SRC:lua/%=%); do \
	  install -D -m 644 lua/$$f $(DESTDIR)$(LUA_LDIR)/$$f || exit 1; done
	@test -n "$(DESTDIR)" || ldconfig 2>/dev/null || true

.PHONY: uninstall
uninstall: ## removes what install put there
	rm -f $(DESTDIR)$(BINDIR)/neap $(DESTDIR)$(INCLUDEDIR)/neap.h \
	  $(DESTDIR)$(LIBDIR)/libneap.a $(DESTDIR)$(LIBDIR)/libneap.so* \
	  $(DESTDIR)$(LUA_CDIR)/neap.so $(DESTDIR)$(LIBDIR)/pkgconfig/neap.pc
	for f in $(LUA_SRC:lua/%=%); do rm -f $(DESTDIR)$(LUA_LDIR)/$$f; done
	@find $(DESTDIR)$(LUA_LDIR)/neap -type d -empty -delete 2>/dev/null || true
	@test -n "$(DESTDIR)" || ldconfig 2>/dev/null || true

# ---- continuous integration ------------------------------------------------

.PHONY: ci-quick
ci-quick: deps-dev ## format, lint, layers, symbols and all tests
	@$(SUB) format-check
	@$(SUB) lint
	@$(SUB) check-layers
	@$(SUB) check-symbols
	@$(SUB) test

.PHONY: ci
ci: deps-dev ## everything: both compilers, sanitizers, test-gc, test-oom, test
	@scripts/dev/ci.sh

.PHONY: clean
clean: ## removes build/
	rm -rf build

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  %-14s %s\n", $$1, $$2}' \
	  $(MAKEFILE_LIST)

.DEFAULT_GOAL := all
