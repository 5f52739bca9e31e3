/* A disk in memory that can lose what was not synced, tear what was being written, fill up and
 * fail: implements base/disk.h for the simulator and for tests. Deterministic from its seed. One
 * thread. */
#ifndef KVD_TESTS_LIB_MEMDISK_H
#define KVD_TESTS_LIB_MEMDISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/disk.h"

struct memdisk;

struct memdisk *memdisk_new(uint64_t seed);
void memdisk_free(struct memdisk *memdisk);
struct disk memdisk_disk(struct memdisk *memdisk);

/* Power cut: of every file, each 512-byte sector written since its last sync survives or not, by
 * one of several drawn patterns (none, all, a prefix, any subset, the last one half-written); names
 * made, renamed or removed since the folder's last sync survive or not. Open files are dead
 * afterwards and may only be closed. */
void memdisk_crash(struct memdisk *memdisk);
/* The plain one: nothing that was not synced survives. */
void memdisk_crash_to_synced(struct memdisk *memdisk);

/* The power goes at the nth write, sync or change of a name from now: it and all later ones fail
 * with KV_EIO, those before it count. To be followed by memdisk_crash(). */
void memdisk_cut_power(struct memdisk *memdisk, uint64_t nth);
/* The next syncs do nothing although they report success (a disk that lies): planted bug. */
void memdisk_lie(struct memdisk *memdisk, bool lie);
/* The nth write (sync) from now fails with KV_EIO; 0: none. */
void memdisk_fail_write(struct memdisk *memdisk, uint64_t nth);
void memdisk_fail_sync(struct memdisk *memdisk, uint64_t nth);
/* Bytes that all files together may take; 0: no limit. Over it KV_ENOSPC. */
void memdisk_limit(struct memdisk *memdisk, uint64_t bytes);

/* Direct access for tests that damage files: content of a file by path, NULL if there is none.
 * Valid until the file is next written, resized or removed. */
uint8_t *memdisk_content(struct memdisk *memdisk, const char *path, uint64_t *out_len);
uint64_t memdisk_syncs(const struct memdisk *memdisk);

#endif
