/* Rows of text cells, printed as etcdctl prints tables up to 3.6:
 *
 * +------------------+---------+
 * |        ID        | STATUS  |     headings upper case, centred
 * +------------------+---------+
 * | 8e9e05c52164694d | started |     cells to the right; more than 30 columns wrap at spaces
 * +------------------+---------+
 */
#ifndef KVD_CLIENT_CTL_TABLE_H
#define KVD_CLIENT_CTL_TABLE_H

#include <stddef.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/util.h"

enum { TABLE_COLUMNS_MAX = 16 };

struct table {
    struct arena *arena; /* holds all text */
    size_t columns;
    const char *const *headings;
    const char *(*rows)[TABLE_COLUMNS_MAX];
    size_t rows_len, rows_cap, filled; /* filled: cells of the last row */
};

void table_init(struct table *table, struct arena *arena, const char *const *headings,
                size_t columns);
/* The next cell; begins a row when the last one is full. The text is copied. */
void table_cell(struct table *table, const char *fmt, ...) PRINTF_LIKE(2, 3);

void table_print(const struct table *table, FILE *out);
/* The rows alone, cells separated by ", ". */
void table_print_csv(const struct table *table, FILE *out);

#endif
