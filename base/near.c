#include "base/near.h"

#include "base/util.h"

size_t near_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[33], i, j, before, left;

    if (a_len > 32 || b_len > 32)
        return 32;
    for (j = 0; j <= b_len; j++)
        row[j] = j;
    for (i = 1; i <= a_len; i++) {
        before = row[0];
        row[0] = i;
        for (j = 1; j <= b_len; j++) {
            left = row[j];
            row[j] = MIN(MIN(row[j], row[j - 1]) + 1, before + (a[i - 1] != b[j - 1]));
            before = left;
        }
    }
    return row[b_len];
}
