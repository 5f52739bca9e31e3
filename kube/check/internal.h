/* Shared inside kube/check only. */
#ifndef KVD_KUBE_CHECK_INTERNAL_H
#define KVD_KUBE_CHECK_INTERNAL_H

#include "base/arena.h"
#include "base/slice.h"
#include "base/util.h"
#include "kube/check/normal.h"
#include "kube/check/rules.h"

/* "%.*s" of a slice. */
#define TEXT(slice) (int)(slice).len, (const char *)(slice).data

/* printf into the arena. */
const char *check__print(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The text as Go's %q and encoding/json quote it: with its quotes, terminated. */
const char *check__quote(struct arena *arena, struct slice text);
/* A value as compact JSON, terminated; how messages show lists, maps and structs. */
const char *check__json(struct arena *arena, const struct json *value);

/* As kube_quantity(), kube_time(), kube_duration(); NULL or why it is none, in upstream's words. */
const char *check__quantity(struct arena *arena, struct slice text, struct slice *out);
const char *check__time(struct arena *arena, struct slice text, bool micro, struct slice *out);
const char *check__duration(struct arena *arena, struct slice text, struct slice *out);
/* Standard base64 as Go's decoder takes it (line ends are skipped). *out is its canonical text,
 * without line ends. NULL, or "illegal base64 data at input byte N". */
const char *check__base64(struct arena *arena, struct slice text, struct slice *out);
/* The base64 of raw bytes. */
struct slice check__base64_encode(struct arena *arena, struct slice raw);

#endif
