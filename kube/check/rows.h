/* The rows of rule tables (struct check__rule), for the files that hold them. path NULL with CALL:
 * the value itself. Every path is relative to the value that the table is for. */
#ifndef KVD_KUBE_CHECK_ROWS_H
#define KVD_KUBE_CHECK_ROWS_H

#include "kube/check/internal.h"

/* clang-format off */
#define ROW(at, is, ...) {.path = (at), .what = (is), __VA_ARGS__}
#define MUST(path) ROW(path, CHECK_REQUIRED, .text = NULL)
#define MUST_SAYING(path, why) ROW(path, CHECK_REQUIRED, .text = (why))
#define ONE_OF(path, values) ROW(path, CHECK_ENUM, .text = (values))
#define NOT_NEGATIVE(path) ROW(path, CHECK_NOT_NEGATIVE, .text = NULL)
#define RANGE(path, least, most, why) \
    ROW(path, CHECK_RANGE, .text = (why), .low = (least), .high = (most))
#define PORT(path) ROW(path, CHECK_PORT, .text = NULL)
#define NAME(path, check) ROW(path, CHECK_NAME, .name = (check))
#define LABELS(path) ROW(path, CHECK_LABELS, .text = NULL)
#define SELECTOR(path) ROW(path, CHECK_SELECTOR, .text = NULL)
#define IMMUTABLE(path) ROW(path, CHECK_IMMUTABLE, .text = NULL)
#define IMMUTABLE_SAYING(path, why) ROW(path, CHECK_IMMUTABLE, .text = (why))
#define UNIQUE(path, key) ROW(path, CHECK_UNIQUE, .text = (key))
#define IN(path, rows) ROW(path, CHECK_IN, .table = (rows))
#define EACH(path, rows) ROW(path, CHECK_EACH, .table = (rows))
#define CALL(at, function) ROW(at, CHECK_CALL, .call = (function))
#define END {.what = CHECK_END}
/* clang-format on */

#endif
