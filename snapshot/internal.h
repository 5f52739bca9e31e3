/* The bytes of checkpoint files, for writer.c and reader.c: docs/format/checkpoint.md. */
#ifndef KVD_SNAPSHOT_INTERNAL_H
#define KVD_SNAPSHOT_INTERNAL_H

#include "snapshot/snapshot.h"

enum {
    SNAPSHOT__VERSION = 1,
    SNAPSHOT__HEADER_SIZE = 64, /* before the configuration */
    SNAPSHOT__BLOCK_HEADER = 16,
    SNAPSHOT__FOOTER_SIZE = 28,
    SNAPSHOT__FOOTER_KIND = 255,
    SNAPSHOT__MAGIC_SIZE = 8,
};

#define SNAPSHOT__MAGIC "KVDCKP\r\n"
#define SNAPSHOT__TMP_NAME "new.tmp"
#define SNAPSHOT__INCOMING_NAME "incoming.tmp"
#define SNAPSHOT__OLD_NAME "old.tmp"

/* What the footer says of the blocks before it. */
struct snapshot__totals {
    uint64_t blocks;
    uint64_t items;
    uint32_t checksum; /* over the checksums of all blocks, in order */
};

/* Checksum of a block: of the file it belongs to, its place in it, its own header and payload.
 * head: SNAPSHOT__BLOCK_HEADER bytes, of which the last four, where it goes, do not count. */
uint32_t snapshot__block_crc(uint32_t file_id, uint64_t offset, const uint8_t *head,
                             struct slice payload);
void snapshot__count(struct snapshot__totals *totals, uint32_t items, uint32_t crc);

/* Writes the file's name durably. */
int snapshot__rename(struct disk disk, const char *dir, const char *from, uint64_t index,
                     uint64_t term, struct err *err);

#endif
