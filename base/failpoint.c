#include "base/failpoint.h"

#ifdef KVD_FAILPOINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/util.h"

enum action { NOTHING, CRASH, SLEEP, ERROR };

struct point {
    const char *name, *where;
    enum action action;
    unsigned long ms, nth; /* nth 0: every time */
    atomic_ulong hits;
};

static struct point points[] = {
    {.name = "disk-write", .where = "before any write to a file"},
    {.name = "disk-sync", .where = "before any fdatasync"},
    {.name = "wal-write", .where = "before a flush of the log is written"},
    {.name = "wal-sync", .where = "written, not synced"},
    {.name = "wal-synced", .where = "synced, nobody knows yet"},
    {.name = "wal-next-header", .where = "before the next segment gets its header"},
    {.name = "wal-next-rename", .where = "before it gets its name"},
    {.name = "wal-next-renamed", .where = "before that name is durable"},
    {.name = "wal-recycle", .where = "before a segment becomes a spare or goes"},
    {.name = "wal-recycled", .where = "after that"},
    {.name = "checkpoint-open", .where = "a checkpoint's file was made"},
    {.name = "checkpoint-write", .where = "before some of it is written"},
    {.name = "checkpoint-sync", .where = "before it is synced"},
    {.name = "checkpoint-rename", .where = "before it gets its name"},
    {.name = "checkpoint-renamed", .where = "before that name is durable"},
    {.name = "checkpoint-read-back", .where = "before it is read back"},
    {.name = "checkpoint-done", .where = "before the log behind it is dropped"},
    {.name = "checkpoint-remove", .where = "before an older one loses its name"},
    {.name = "checkpoint-shrink", .where = "before each piece of that is cut off"},
    {.name = "checkpoint-send", .where = "before a piece is sent to another member"},
    {.name = "receive-write", .where = "before a piece from another member is written"},
    {.name = "receive-sync", .where = "all is there, not synced"},
    {.name = "receive-load", .where = "before the state is made of it"},
    {.name = "install", .where = "before going over to the state of another member"},
    {.name = "installed", .where = "after that"},
    {.name = "apply", .where = "before an entry is applied"},
    {.name = "compact", .where = "before a piece of a compaction"},
    {.name = "send", .where = "before a frame to another member"},
    {.name = "watch-send", .where = "before watchers get events"},
};

static struct point *find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(points); i++)
        if (strlen(points[i].name) == len && memcmp(points[i].name, name, len) == 0)
            return &points[i];
    return NULL;
}

static _Noreturn void refuse(const char *text)
{
    fprintf(stderr,
            "KVD_FAILPOINTS: %s: it is NAME=crash|sleep:MS|error[@N],..., with these names:\n",
            text);
    for (size_t i = 0; i < ARRAY_LEN(points); i++)
        fprintf(stderr, "%s: %s\n", points[i].name, points[i].where);
    exit(2);
}

static void set(char *text)
{
    char *what = strchr(text, '='), *end = "", *nth;
    struct point *point = what == NULL ? NULL : find(text, (size_t)(what - text));

    if (point == NULL)
        refuse(text);
    nth = strchr(what, '@');
    if (nth != NULL) {
        *nth = '\0';
        point->nth = strtoul(nth + 1, &end, 10);
    }
    if (*end != '\0' || (nth != NULL && point->nth == 0))
        refuse(text);
    if (strcmp(what, "=crash") == 0)
        point->action = CRASH;
    else if (strcmp(what, "=error") == 0)
        point->action = ERROR;
    else if (sscanf(what, "=sleep:%lu", &point->ms) == 1)
        point->action = SLEEP;
    else
        refuse(text);
}

/* Before main(), so that a wrong one is refused at once. */
__attribute__((constructor)) static void read_environment(void)
{
    const char *text = getenv("KVD_FAILPOINTS");
    char *copy, *rest = NULL;

    if (text == NULL)
        return;
    copy = xstrdup(text);
    for (char *one = strtok_r(copy, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest))
        set(one);
    free(copy);
}

int failpoint_hit(const char *name, struct err *err)
{
    struct point *point = find(name, strlen(name));
    struct timespec time;

    ASSERT(point != NULL); /* in the table above */
    if (point->action == NOTHING)
        return 0;
    if (atomic_fetch_add(&point->hits, 1) + 1 != point->nth && point->nth != 0)
        return 0;
    switch (point->action) {
    case CRASH:
        (void)kill(getpid(), SIGKILL);
        (void)pause(); /* until it comes */
        return 0;
    case SLEEP:
        time = (struct timespec){.tv_sec = (time_t)(point->ms / 1000),
                                 .tv_nsec = (long)(point->ms % 1000) * 1000000};
        (void)nanosleep(&time, NULL); /* shorter, if a signal comes */
        return 0;
    default:
        fprintf(stderr, "failpoint %s: error\n", name);
        return err_set(err, KV_EIO, "failpoint %s", name);
    }
}

#else
typedef int failpoint_is_empty; /* ISO C wants something in a file */
#endif
