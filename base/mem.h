/* Allocation that cannot fail: when memory is out the process aborts. Sizes that come from outside
 * are bounded before they get here. */
#ifndef KVD_BASE_MEM_H
#define KVD_BASE_MEM_H

#include <stddef.h>

/* Says so and aborts. */
void out_of_memory(void) __attribute__((noreturn));
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *ptr, size_t size);
void *xmemdup(const void *data, size_t size);
char *xstrdup(const char *text);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
