#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void out_of_memory(void)
{
    fputs("out of memory\n", stderr);
    abort();
}

static void *checked(void *ptr)
{
    if (ptr == NULL)
        out_of_memory();
    return ptr;
}

/* malloc(0) may be NULL; one byte more keeps "never NULL" true. */
void *xmalloc(size_t size)
{
    return checked(malloc(size != 0 ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
    return checked(count != 0 && size != 0 ? calloc(count, size) : calloc(1, 1));
}

void *xrealloc(void *ptr, size_t size)
{
    return checked(realloc(ptr, size != 0 ? size : 1));
}

void *xmemdup(const void *data, size_t size)
{
    void *copy = xmalloc(size);

    if (size != 0)
        memcpy(copy, data, size);
    return copy;
}

char *xstrdup(const char *text)
{
    return xmemdup(text, strlen(text) + 1);
}

char *xasprintf(const char *fmt, ...)
{
    char *out = NULL;
    va_list args;
    int len;

    va_start(args, fmt);
    len = vasprintf(&out, fmt, args);
    va_end(args);
    return checked(len < 0 ? NULL : out);
}
