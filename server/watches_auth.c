/* Watchers whose right is taken away end (faults.md section 6), where etcd lets them run on: after
 * a change of users, roles or permissions all that are open are checked anew, some 1000 a turn. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "server/auth_calls.h"
#include "server/service.h"
#include "server/watches.h"

enum {
    SLICE_NS = 1000000, /* per turn */
    CHECKS_PER_LOOK = 64,
    ERROR_TEXT_SIZE = 256,
};

const char *watches_error_text(enum status status, struct arena *arena)
{
    const struct status_line *line = status_line(status);
    char *text = arena_alloc(arena, ERROR_TEXT_SIZE);

    (void)snprintf(text, ERROR_TEXT_SIZE, "rpc error: code = %s desc = %s",
                   grpc_status_name(line->code), line->text);
    return text;
}

static void set_user(struct watch_call *watch, struct slice user)
{
    if (watch->user != NULL && slice_eq(slice_str(watch->user), user))
        return;
    watch->user = arena_calloc(grpc_call_arena(watch->call), user.len + 1);
    memcpy(watch->user, user.data, user.len);
}

enum status watches_permit(struct watch_call *watch, struct mvcc_span span)
{
    struct member *member = watch->watches->member;
    struct author author;
    enum status status = auth_author(member, watch->call, &author);

    if (status == STATUS_OK)
        status =
            status_of_error(permit_keys(member->machine, &author, AUTH_READ, span.key, span.end));
    if (status == STATUS_OK && author.kind == AUTHOR_USER)
        set_user(watch, author.user);
    return status;
}

/* ---- one watcher ---- */

static int check(const struct watch_call *watch, struct mvcc_span span)
{
    const struct machine *machine = watch->watches->member->machine;
    struct author author = {.kind = AUTHOR_NOBODY};

    if (watch->user != NULL)
        author = (struct author){.kind = AUTHOR_USER,
                                 .user = slice_str(watch->user),
                                 .revision = machine->auth->revision};
    return permit_keys(machine, &author, AUTH_READ, span.key, span.end);
}

/* False: its stream has ended. */
static bool check_watcher(struct watch_call *watch, int64_t id)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    const struct machine *machine = watch->watches->member->machine;
    struct arena arena = ARENA_INIT;
    struct mvcc_span span;
    bool alive;
    int code;

    if (!watch_watcher_span(watch->stream, id, &span))
        return true;
    code = check(watch, span);
    if (code == 0)
        return true;
    if (watch->on_denied != NULL) {
        watch->on_denied(watch, status_of_error(code));
        return false;
    }
    (void)watch_cancel(watch->stream, id); /* is there, as just seen */
    response.watch_id = id;
    response.canceled = true;
    response.cancel_reason =
        (char *)(uintptr_t)watches_error_text(status_of_error(code), &arena); /* only read */
    alive = watches_answer(watch, mvcc_revision(machine->mvcc), &response);
    arena_release(&arena);
    return alive;
}

/* ---- all of them ---- */

static void forget_call(struct watch_rights *rights)
{
    free(rights->ids);
    rights->ids = NULL;
    rights->call = NULL;
    rights->count = 0;
    rights->at = 0;
}

void watches_uncheck(struct watch_call *watch)
{
    if (watch->watches->rights.call == watch)
        forget_call(&watch->watches->rights);
}

/* Whether something has changed since the last look. */
static bool notice(struct watches *watches)
{
    const struct auth_store *store = watches->member->machine->auth;
    struct watch_rights *rights = &watches->rights;

    if (rights->revision == store->revision && rights->enabled == store->enabled)
        return false;
    rights->revision = store->revision;
    rights->enabled = store->enabled;
    rights->change++;
    forget_call(rights);
    return true;
}

static struct watch_call *next_call(struct watches *watches)
{
    LIST_EACH (node, &watches->calls) {
        struct watch_call *watch = LIST_ENTRY(node, struct watch_call, link);

        if (watch->checked != watches->rights.change)
            return watch;
    }
    return NULL;
}

/* False: none is left. */
static bool begin_call(struct watches *watches)
{
    struct watch_rights *rights = &watches->rights;

    rights->call = next_call(watches);
    if (rights->call == NULL)
        return false;
    rights->call->checked = rights->change;
    rights->count = watch_stream_count(rights->call->stream);
    rights->ids = xcalloc(rights->count + 1, sizeof *rights->ids);
    rights->at = 0;
    watch_stream_ids(rights->call->stream, rights->ids);
    return true;
}

/* Some of them; false: all are done. */
static bool check_some(struct watches *watches)
{
    struct watch_rights *rights = &watches->rights;

    for (size_t n = 0; n < CHECKS_PER_LOOK; n++) {
        if (rights->call == NULL && !begin_call(watches))
            return false;
        if (rights->at < rights->count && !check_watcher(rights->call, rights->ids[rights->at++]))
            continue; /* the call is gone, and forgotten here */
        if (rights->call != NULL && rights->at == rights->count)
            forget_call(rights);
    }
    return true;
}

bool watches_check_rights(struct watches *watches)
{
    struct watch_rights *rights = &watches->rights;
    uint64_t end;

    if (notice(watches))
        rights->pending = rights->enabled;
    if (!rights->pending)
        return false;
    end = uv_hrtime() + SLICE_NS;
    do
        rights->pending = check_some(watches);
    while (rights->pending && uv_hrtime() < end);
    return rights->pending;
}
