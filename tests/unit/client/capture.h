/* A stream that ends up in memory. */
#ifndef KVD_TESTS_UNIT_CLIENT_CAPTURE_H
#define KVD_TESTS_UNIT_CLIENT_CAPTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"

struct capture {
    FILE *file;
    char *text;
    size_t len;
};

static UNUSED void capture_open(struct capture *capture)
{
    capture->file = open_memstream(&capture->text, &capture->len);
    ASSERT(capture->file != NULL);
}

/* What was written so far; ends with a NUL. */
static UNUSED const char *captured(struct capture *capture)
{
    (void)fflush(capture->file);
    return capture->text;
}

static UNUSED void capture_close(struct capture *capture)
{
    (void)fclose(capture->file);
    free(capture->text);
}

#endif
