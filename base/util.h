/* Small macros that every folder uses. */
#ifndef KVD_BASE_UTIL_H
#define KVD_BASE_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/param.h> /* MIN and MAX; uv.h brings it too */

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define UNUSED __attribute__((unused))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* Our own mistakes end the process, in release builds too: a member that stops is safe under Raft,
 * a member that goes on with a broken invariant is not. Never for bytes from disk, peer or client.
 */
#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            assert_failed(#cond, __FILE__, __LINE__);                                              \
    } while (0)

__attribute__((noreturn)) void assert_failed(const char *cond, const char *file, int line);

#endif
