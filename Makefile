# kvd: build, run, test. `make help` lists what there is.
#
# Every folder becomes one static library; programs and tests link what they use of them.
# BUILD is the output folder, so that variants (ASan) live side by side.

BUILD ?= build
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
LDLIBS    = $(PKG_LIBS) -lraft -lpthread -lm

FOLDERS := base wal snapshot mvcc proto net raft server client
PROTOS  := $(wildcard proto/*.proto)
PROTO_C := $(PROTOS:proto/%.proto=$(BUILD)/proto/%.pb-c.c)
PROTO_H := $(PROTO_C:.c=.h)

src = $(filter-out server/main.c,$(wildcard $(1)/*.c))
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(call src,$(1)))
LIBS := $(foreach f,$(FOLDERS),$(BUILD)/lib/lib$(f).a)

PROGRAMS := $(BUILD)/kvd $(BUILD)/kvctl $(BUILD)/kvbench
UNIT_SRC := $(sort $(wildcard tests/unit/*/test_*.c) $(wildcard tests/golden/test_*.c))
UNIT     := $(UNIT_SRC:tests/%.c=$(BUILD)/tests/%)
SIM_SRC  := $(wildcard tests/sim/*.c)

.PHONY: all help deps run stop test unit sim soak compat cluster bench asan format format-check clean
all: $(PROGRAMS)

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

# ---- building ----

$(BUILD)/proto/%.pb-c.c $(BUILD)/proto/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	protoc-c --proto_path=proto --c_out=$(BUILD)/proto $<

$(BUILD)/obj/proto/%.o: $(BUILD)/proto/%.pb-c.c | $(PROTO_H)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(filter-out $(WARN),$(CFLAGS)) -MMD -MP -c -o $@ $<

$(BUILD)/obj/%.o: %.c | $(PROTO_H)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/lib/libproto.a: $(PROTO_C:$(BUILD)/proto/%.c=$(BUILD)/obj/proto/%.o)
$(foreach f,$(filter-out proto,$(FOLDERS)),$(eval $(BUILD)/lib/lib$(f).a: $(call obj,$(f))))
$(BUILD)/lib/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

link = $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(LIBS) -Wl,--end-group

$(BUILD)/kvd: $(BUILD)/obj/server/main.o $(LIBS)
	$(link) $(LDLIBS)
$(BUILD)/kvctl: $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard client/ctl/*.c)) $(LIBS)
	$(link) $(LDLIBS)
$(BUILD)/kvbench: $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard bench/*.c)) $(LIBS)
	$(link) $(LDLIBS)
$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(LIBS)
	@mkdir -p $(@D)
	$(link) $(LDLIBS) -lcmocka
$(BUILD)/tests/golden/%: $(BUILD)/obj/tests/golden/%.o $(LIBS)
	@mkdir -p $(@D)
	$(link) $(LDLIBS) -lcmocka
$(BUILD)/kvsim: $(patsubst %.c,$(BUILD)/obj/%.o,$(SIM_SRC)) $(LIBS)
	$(link) $(LDLIBS)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
.SECONDARY:
