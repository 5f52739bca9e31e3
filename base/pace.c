#include "base/pace.h"

#include <time.h>

enum { NS_PER_S = 1000000000 };

void pace_init(struct pace *pace, uint64_t bytes_per_second)
{
    *pace = (struct pace){.bytes_per_second = bytes_per_second, .hurry = false};
}

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* always there */
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

void pace_wait(struct pace *pace, uint64_t bytes)
{
    uint64_t now, due;
    struct timespec pause;

    if (pace->bytes_per_second == 0 || pace->hurry)
        return;
    now = now_ns();
    pace->bytes += bytes;
    due = pace->started_ns +
          (uint64_t)((double)pace->bytes / (double)pace->bytes_per_second * NS_PER_S);
    if (pace->started_ns == 0 || now > due + NS_PER_S) {
        pace->started_ns = now;
        pace->bytes = 0;
        return;
    }
    if (due <= now)
        return;
    pause = (struct timespec){.tv_sec = (time_t)((due - now) / NS_PER_S),
                              .tv_nsec = (long)((due - now) % NS_PER_S)};
    (void)nanosleep(&pause, NULL); /* cut short: then it is a little faster */
}
