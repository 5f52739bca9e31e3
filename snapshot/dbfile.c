#include "snapshot/dbfile.h"

#include "base/util.h"

static const char *const bucket_names[] = {
#define X(name, text) text,
    DBFILE_BUCKET_MAP(X)
#undef X
};

enum dbfile_bucket dbfile_bucket_named(struct slice name)
{
    enum dbfile_bucket at = 0;

    while (at < DBFILE_BUCKET_COUNT && !slice_eq(name, slice_str(bucket_names[at])))
        at++;
    return at;
}

const char *dbfile_bucket_name(enum dbfile_bucket bucket)
{
    return bucket_names[bucket];
}

uint64_t dbfile__meta_checksum(const uint8_t *meta)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < DBFILE__META_CHECKSUM; i++)
        hash = (hash ^ meta[i]) * UINT64_C(0x100000001b3);
    return hash;
}
