#include "bench/events.h"

#include <stddef.h>

#include "base/codec.h"

void event_mark(uint8_t value[EVENT_MARK_SIZE], uint64_t run, uint64_t number)
{
    put_le64(value, run);
    put_le64(value + 8, number);
}

const char *event_check_next(struct event_check *check, uint64_t run, struct slice value,
                             int64_t revision, uint64_t *number)
{
    uint64_t expected = check->next;
    int64_t before = check->revision;

    if (value.len < EVENT_MARK_SIZE || get_le64(value.data) != run)
        return "an event that this run's writer has not made";
    *number = get_le64(value.data + 8);
    if (*number < expected)
        return "an event has come twice, or late";
    check->next = *number + 1;
    check->revision = revision;
    if (*number > expected)
        return "events are missing";
    return revision > before ? NULL : "the revision of an event is not above the last one's";
}
