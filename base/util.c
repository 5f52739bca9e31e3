#include "base/util.h"

#include <stdio.h>
#include <stdlib.h>

void assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "%s:%d: internal error, invariant broken: %s\n", file, line, cond);
    abort();
}
