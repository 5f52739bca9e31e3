/* The log of a data dir: all its damage, and as much of it as can be used. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "offline/inspect_internal.h"

#define LOG_ADVICE                                                                                 \
    "What stood there had been stored and may have been acknowledged: kvd refuses to start on "    \
    "this log, and rightly. While the others have a quorum, set this data dir aside and replace "  \
    "the member. If the quorum is lost, give this dir and all others that survived to "            \
    "`kvctl recover`"

struct finding {
    struct inspection *in;
    bool torn; /* said already: what follows a torn place in its segment goes with it */
    uint64_t torn_segment;
};

static const char *words_of(const char *label)
{
    static const char *const words[][2] = {
        {"header", "the header of the segment is damaged"},
        {"hole", "zeros, where a record was stored"},
        {"rot_header", "the header of a record is damaged"},
        {"rot_body", "the content of a record is damaged, or one before it is missing"},
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(words[i][0], label) == 0)
            return words[i][1];
    return label;
}

static void on_damage(void *ctx, const struct wal_damage *damage)
{
    struct finding *finding = ctx;
    char *file;

    if (damage->torn && finding->torn && finding->torn_segment == damage->segment)
        return;
    file = wal_segment_file(finding->in->wal_dir, damage->segment);
    if (damage->torn) {
        finding->torn = true;
        finding->torn_segment = damage->segment;
        inspect__add(finding->in, INSPECT_NOTE,
                     xasprintf("%s: offset %" PRIu64 ": a torn tail", file, damage->offset),
                     xstrdup("As after a power cut: the last write was not finished, and nobody "
                             "was told that it was. kvd cuts it off when it starts; nothing is to "
                             "be done. (Damage to the very last write before a crash looks the "
                             "same.)"));
    } else {
        inspect__add(
            finding->in, INSPECT_DAMAGE,
            xasprintf("%s: offset %" PRIu64 ": %s", file, damage->offset, words_of(damage->what)),
            xstrdup(LOG_ADVICE));
    }
    free(file);
}

static int open_log(struct inspection *in, bool salvage, struct err *err)
{
    const struct wal_options options = {.disk = disk_posix(),
                                        .dir = in->wal_dir,
                                        .cluster_id = in->identity.cluster_id,
                                        .member_id = in->identity.member_id,
                                        .read_only = true,
                                        .salvage = salvage};

    return wal_open(&options, &in->wal, err);
}

static void note_log(struct inspection *in)
{
    in->hard_state = wal_hard_state(in->wal);
    in->first_index = wal_first_index(in->wal);
    in->last_index = wal_last_index(in->wal);
    in->last_term = wal_term(in->wal, in->last_index);
    if (!in->has_identity)
        wal_whose(in->wal, &in->identity.cluster_id, &in->identity.member_id);
}

/* The hint of wal_open() ends what it says; ours is longer. */
static char *without_hint(const char *text)
{
    const char *hint = strstr(text, "; nothing was changed.");
    char *copy = xstrdup(text);

    if (hint != NULL)
        copy[hint - text] = '\0';
    return copy;
}

void inspect__log(struct inspection *in)
{
    struct finding finding = {.in = in};
    struct err err = ERR_INIT;
    size_t before = in->damages;
    int rc = wal_find_damage(disk_posix(), in->wal_dir, on_damage, &finding, &err);

    if (rc == 0)
        rc = open_log(in, false, &err);
    if (rc == KV_EIO)
        inspect__add(in, INSPECT_UNREADABLE, xstrdup(err.text), NULL);
    else if (rc == KV_ENOTFOUND && in->has_identity && in->identity.log_begun)
        inspect__add(in, INSPECT_DAMAGE, xasprintf("%s: the log is gone", in->wal_dir),
                     xstrdup(LOG_ADVICE));
    else if (rc != 0 && rc != KV_ENOTFOUND && (in->damages == before || rc == KV_EMISMATCH))
        inspect__add(in, INSPECT_DAMAGE, without_hint(err.text),
                     xstrdup(rc == KV_EMISMATCH
                                 ? "This log was put here from another data dir, or is of another "
                                   "version of kvd. Put the right one in its place"
                                 : LOG_ADVICE));
    if (rc == KV_ECORRUPT && open_log(in, true, &err) != 0)
        in->wal = NULL;
    if (in->wal != NULL)
        note_log(in);
}
