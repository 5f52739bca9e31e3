# kvd: build, run, test. `make help` lists what there is.
#
# Every folder becomes one static library; programs and tests link what they use of them.
# BUILD is the output folder, so that variants (ASan) live side by side.

BUILD ?= build
V     ?= 0
CC    ?= cc
OPT   ?= -O2
SAN   ?=
WERROR ?= -Werror

WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wvla $(WERROR)
PKGS := libuv libnghttp2 libprotobuf-c openssl yaml-0.1 json-c
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   = $(shell pkg-config --libs $(PKGS) 2>/dev/null)

CPPFLAGS += -D_GNU_SOURCE -iquote . -iquote $(BUILD)
CFLAGS   += -std=c11 -g $(OPT) -fno-omit-frame-pointer $(WARN) $(SAN)
LDFLAGS  += $(SAN)
LDLIBS    = $(PKG_LIBS) -lraft -lcrypt -lpthread -lm

FOLDERS := base wal snapshot mvcc proto net raft server offline client lab bench kube
PROTOS  := $(wildcard proto/*.proto)
PROTO_C := $(PROTOS:proto/%.proto=$(BUILD)/proto/%.pb-c.c)
PROTO_H := $(PROTO_C:.c=.h)

src = $(filter-out server/main.c bench/main.c kube/main.c,$(wildcard $(1)/*.c) $(PARTS_$(1)))
PARTS_kube = $(wildcard kube/*/*.c)
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(call src,$(1)))
lib = $(foreach f,$(1),$(BUILD)/lib/lib$(f).a)
LIBS := $(call lib,$(FOLDERS))

# What each folder may include beside itself: downward only (tests/unit/base/layers checks it).
NEEDS_base     :=
NEEDS_wal      := base
NEEDS_snapshot := base
NEEDS_mvcc     := base
NEEDS_proto    :=
NEEDS_net      := base
NEEDS_raft     := wal snapshot net base
NEEDS_server   := raft net proto mvcc wal snapshot base
NEEDS_offline  := server raft net proto mvcc wal snapshot base
NEEDS_client   := net proto base
NEEDS_lab      := client raft net proto wal base
NEEDS_ctl      := lab client offline raft net proto wal snapshot mvcc base
NEEDS_bench    := net proto base
NEEDS_kube     := client net proto base

PROGRAMS := $(BUILD)/kvd $(BUILD)/kvctl $(BUILD)/kvbench $(BUILD)/kvapi
UNIT_SRC := $(sort $(wildcard tests/unit/*/test_*.c) $(wildcard tests/golden/test_*.c))
UNIT     := $(UNIT_SRC:tests/%.c=$(BUILD)/tests/%)
SIM_SRC  := $(wildcard tests/sim/*.c)

# `make V=1` shows whole commands.
ifeq ($(V),0)
say = @printf '  %-8s %s\n' $(1) $@;
else
say =
endif

.PHONY: all help deps run stop test unit sim soak compat cluster bench asan fuzz format format-check clean
all: $(PROGRAMS)

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

# ---- building ----

$(BUILD)/proto/%.pb-c.c $(BUILD)/proto/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	$(call say,PROTOC)protoc-c --proto_path=proto --c_out=$(BUILD)/proto $<

$(BUILD)/obj/proto/%.pb-c.o: $(BUILD)/proto/%.pb-c.c | $(PROTO_H)
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(filter-out $(WARN),$(CFLAGS)) -MMD -MP -c -o $@ $<

$(BUILD)/obj/%.o: %.c | $(PROTO_H)
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/obj/server/page.o: server/page.html
$(BUILD)/obj/lab/report.o: lab/page.html
$(BUILD)/obj/lab/lessons.o: $(wildcard lab/lessons/*.lab)

# What the lab loads into members, to make their disks slow or full; part of kvctl as bytes. Without
# sanitizers: their runtime would have to be the first library of the process.
$(BUILD)/kvlab_disk.so: lab/preload/disk.c lab/disk_fault.h
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(CPPFLAGS) $(filter-out $(SAN),$(CFLAGS)) -fPIC -shared -o $@ $<
$(BUILD)/obj/lab/folder.o: $(BUILD)/kvlab_disk.so
$(BUILD)/obj/lab/folder.o: CPPFLAGS += -DLAB_PRELOAD='"$(BUILD)/kvlab_disk.so"'

$(BUILD)/lib/libproto.a: $(PROTO_C:$(BUILD)/proto/%.c=$(BUILD)/obj/proto/%.o)
$(foreach f,$(filter-out proto,$(FOLDERS)),$(eval $(BUILD)/lib/lib$(f).a: $(call obj,$(f))))
$(BUILD)/lib/libctl.a: $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out client/ctl/main.c,$(wildcard client/ctl/*.c)))
$(BUILD)/lib/libtests.a: $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/lib/*.c))
$(BUILD)/lib/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR)ar rcs $@ $^

link = $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group

$(BUILD)/kvd: $(BUILD)/obj/server/main.o $(call lib,server $(NEEDS_server))
	$(call say,LINK)$(link) $(LDLIBS)
$(BUILD)/kvctl: $(BUILD)/obj/client/ctl/main.o $(call lib,ctl $(NEEDS_ctl) $(NEEDS_offline))
	$(call say,LINK)$(link) $(LDLIBS)
$(BUILD)/kvbench: $(BUILD)/obj/bench/main.o $(call lib,bench $(NEEDS_bench))
	$(call say,LINK)$(link) $(LDLIBS)
$(BUILD)/kvapi: $(BUILD)/obj/kube/main.o $(call lib,kube $(NEEDS_kube))
	$(call say,LINK)$(link) $(LDLIBS)
TESTED_WITH_client := ctl $(NEEDS_ctl) $(NEEDS_offline)
TESTED_WITH_lab    := snapshot mvcc
define unit_rule
$(BUILD)/tests/unit/$(1)/%: $(BUILD)/obj/tests/unit/$(1)/%.o $(call lib,tests $(1) $(NEEDS_$(1)) $(TESTED_WITH_$(1)))
	@mkdir -p $$(@D)
	$$(call say,LINK)$$(link) $$(LDLIBS) -lcmocka
endef
$(foreach f,$(FOLDERS),$(eval $(call unit_rule,$(f))))
$(BUILD)/tests/golden/%: $(BUILD)/obj/tests/golden/%.o $(call lib,tests server $(NEEDS_server))
	@mkdir -p $(@D)
	$(call say,LINK)$(link) $(LDLIBS) -lcmocka
$(BUILD)/watchcheck: $(BUILD)/obj/tests/cluster/watchcheck.o $(call lib,tests mvcc base)
	$(call say,LINK)$(link) $(LDLIBS)
$(BUILD)/kubestore: $(BUILD)/obj/tests/cluster/kubestore.o $(call lib,kube $(NEEDS_kube))
	$(call say,LINK)$(link) $(LDLIBS)
$(BUILD)/kvsim: $(patsubst %.c,$(BUILD)/obj/%.o,$(SIM_SRC)) $(call lib,tests server $(NEEDS_server))
	$(call say,LINK)$(link) $(LDLIBS)

$(BUILD)/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(call lib,kube base)
	$(call say,LINK)$(link) -fsanitize=fuzzer $(LDLIBS)
# kube/json beside the json-c and jansson of this machine.
$(BUILD)/json-speed: $(BUILD)/obj/tests/bench/json_speed.o $(call lib,kube base)
	$(call say,LINK)$(link) -lm

$(BUILD)/kubeload: $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard bench/kubeload/*.c)) $(call lib,bench $(NEEDS_bench))
	$(call say,LINK)$(link) $(LDLIBS)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
.SECONDARY:

# ---- installing ----
#
# libkv.a is client/ and what it needs as one object: what its headers name is visible, nothing
# else, so that it can meet any program. Its headers are installed as <kvd/...>.

PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
OBJCOPY    ?= objcopy

LIBKV_FOLDERS := client net proto base
LIBKV_HEADERS := base/err.h base/list.h base/slice.h base/util.h net/grpc.h net/tls.h
LIBKV_PROTO   := $(BUILD)/proto/rpc.pb-c.h $(BUILD)/proto/kv.pb-c.h $(BUILD)/proto/auth.pb-c.h
LIBKV_SYMBOLS := 'kv_*' 'err_*' 'grpc_status_*' 'net_tls_*' 'etcdserverpb__*' 'mvccpb__*' 'authpb__*' assert_failed
KVD_VERSION    = $(shell sed -n 's/.*define KVD_VERSION "\(.*\)"/\1/p' base/version.h)

$(BUILD)/libkv.a: $(call lib,$(LIBKV_FOLDERS))
	$(call say,LIB)$(CC) -r -nostdlib -o $(BUILD)/libkv.o -Wl,--whole-archive $^ -Wl,--no-whole-archive
	@$(OBJCOPY) -w $(LIBKV_SYMBOLS:%=--keep-global-symbol=%) $(BUILD)/libkv.o
	@rm -f $@ && ar rcs $@ $(BUILD)/libkv.o && rm -f $(BUILD)/libkv.o

# Only a name changes: "base/err.h" is <kvd/base/err.h> out there.
$(BUILD)/include/kvd: client/kv.h $(LIBKV_HEADERS) $(LIBKV_PROTO) Makefile
	@mkdir -p $@/base $@/net $@/proto
	@for h in $(LIBKV_HEADERS); do \
		sed -E 's#^(.include) "((base|net|proto)/.*)"#\1 <kvd/\2>#' $$h >$@/$$h || exit 1; done
	@sed -E 's#^(.include) "((base|net|proto)/.*)"#\1 <kvd/\2>#' client/kv.h >$@/kv.h
	@cp $(LIBKV_PROTO) $@/proto/
	@touch $@

install: all $(BUILD)/libkv.a $(BUILD)/include/kvd
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 755 $(PROGRAMS) $(DESTDIR)$(BINDIR)
	install -m 644 $(BUILD)/libkv.a $(DESTDIR)$(LIBDIR)
	cd $(BUILD)/include && for h in $$(find kvd -name '*.h'); do \
		install -D -m 644 $$h $(DESTDIR)$(INCLUDEDIR)/$$h || exit 1; done
	printf '%s\n' 'Name: libkv' 'Description: calls to a kvd or etcd v3 cluster' \
		'Version: $(KVD_VERSION)' 'Requires: libuv libnghttp2 libprotobuf-c openssl' \
		'Cflags: -I$(INCLUDEDIR)' 'Libs: -L$(LIBDIR) -lkv -lpthread' \
		>$(DESTDIR)$(LIBDIR)/pkgconfig/libkv.pc
uninstall:
	rm -f $(PROGRAMS:$(BUILD)/%=$(DESTDIR)$(BINDIR)/%) $(DESTDIR)$(LIBDIR)/libkv.a \
		$(DESTDIR)$(LIBDIR)/pkgconfig/libkv.pc
	rm -rf $(DESTDIR)$(INCLUDEDIR)/kvd
.PHONY: install uninstall

# ---- what people call ----

## make            build kvd, kvctl, kvbench and kvapi into build/
## make run        install what is missing, build, start 3 members and kvapi on top, show them working
## make stop       stop the cluster that `make run` left running
## make test       install what is missing, build, run every test
## make unit | sim | compat | cluster    one kind of test
## make sim SEED=1 SEEDS=1000    seeds of the simulator, and how fast they went; how to replay and shrink what fails
## make asan       unit tests and simulator under address and undefined-behaviour sanitizers
## make clang      everything built by clang, warnings as errors
## make fuzz       parsers of what clients send, by libFuzzer (SECONDS=20 for each)
## make soak       thousands of simulator seeds and long fault runs (SEED=1 SEEDS=20000)
## make bench      kvd beside Debian's etcd on this machine, a quarter of an hour (BENCH=--quick: three minutes)
## make bench-kube   kvapi beside a kube-apiserver's figures, one minute (BENCH=--etcd: on Debian's etcd)
## make format     clang-format everything
## make install    programs, libkv.a, headers, libkv.pc (PREFIX=/usr/local, DESTDIR=); uninstall
## make clean      remove build/

deps:
	@tools/install-packages build
deps-test:
	@tools/install-packages build test

run: deps
	@$(MAKE) --no-print-directory -j2 all
	@tools/cluster demo
stop:
	@tools/cluster stop

test: deps-test
	@$(MAKE) --no-print-directory -j2 all unit-programs $(BUILD)/kvsim $(BUILD)/watchcheck $(BUILD)/kubestore
	@$(MAKE) --no-print-directory -j2 $(BUILD)/failpoints/kvd
	@tools/run-tests
unit: unit-programs
	@tools/run-tests unit
sim: $(BUILD)/kvsim
	@tools/run-tests sim
compat: all
	@tools/run-tests compat
cluster: all $(BUILD)/watchcheck $(BUILD)/kubestore $(BUILD)/failpoints/kvd
	@tools/run-tests cluster
soak: all $(BUILD)/kvsim $(BUILD)/watchcheck $(BUILD)/kubestore
	@tools/run-tests soak
# A kvd that can be told to crash, wait or fail at named places (base/failpoint.h). For tests only.
ifeq ($(filter %/failpoints,$(BUILD)),)
$(BUILD)/failpoints/kvd: FORCE
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/failpoints OPT=-O1 SAN=-DKVD_FAILPOINTS $@
endif
FORCE:
.PHONY: FORCE

unit-programs: $(UNIT) $(BUILD)/json-speed

ASAN_FLAGS := BUILD=build/asan OPT=-O1 \
	SAN='-fsanitize=address,undefined -fno-sanitize-recover=undefined'
asan:
	@$(MAKE) --no-print-directory -j2 $(ASAN_FLAGS) unit-programs build/asan/kvsim
	@BUILD=build/asan SEED=1 SEEDS=$${SEEDS:-200} tools/run-tests unit sim

clang:
	@$(MAKE) --no-print-directory -s -j2 CC=clang BUILD=build/clang V=1 all unit-programs build/clang/kvsim build/clang/watchcheck build/clang/kubestore
	@echo "built by clang without a warning"

SECONDS ?= 20
fuzz:
	@tests/fuzz/run.py --seconds $(SECONDS)

bench: all
	@bench/run $(BENCH)
bench-kube: all $(BUILD)/kubeload
	@bench/kube $(BENCH)
.PHONY: bench-kube

C_FILES = $(shell git ls-files '*.c' '*.h')
format:
	clang-format -i $(C_FILES)
format-check:
	@clang-format --dry-run --Werror $(C_FILES)

print-needs:
	@$(foreach f,$(FOLDERS),echo $(f) $(NEEDS_$(f));)
	@echo client/ctl client $(NEEDS_ctl)

clean:
	rm -rf $(BUILD)
.PHONY: clang deps-test unit-programs print-needs format-check
