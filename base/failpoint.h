/* Places where a test has the program crash, wait or fail: nothing at all unless it is built with
 * -DKVD_FAILPOINTS (make build/failpoints/kvd). The environment says what happens where:
 *
 *   KVD_FAILPOINTS=checkpoint-rename=crash@2,wal-sync=sleep:50,disk-write=error@7
 *
 * crash is SIGKILL, so nothing is flushed and nobody says goodbye; sleep takes milliseconds; error
 * is KV_EIO, where the place can fail, and a line on stderr. @n: at the nth time only, else every
 * time. help lists the places. */
#ifndef KVD_BASE_FAILPOINT_H
#define KVD_BASE_FAILPOINT_H

#include "base/err.h"

#ifdef KVD_FAILPOINTS
/* Any thread. */
int failpoint_hit(const char *name, struct err *err);
#define FAILPOINT(name) ((void)failpoint_hit(name, NULL))
/* 0 or KV_EIO. */
#define FAILPOINT_ERROR(name, err) failpoint_hit(name, err)
#else
#define FAILPOINT(name) ((void)0)
#define FAILPOINT_ERROR(name, err) 0
#endif

#endif
