/* CRC-32C (Castagnoli polynomial, reflected, init and final xor 0xFFFFFFFF), as iSCSI, ext4 and
 * etcd use it. By SSE4.2 or the ARM CRC extension where the CPU has them. */
#ifndef KVD_BASE_CRC32C_H
#define KVD_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Value of the bytes seen so far followed by data: crc32c_extend(crc32c_extend(0, a), b) is the
 * checksum of a then b. */
uint32_t crc32c_extend(uint32_t crc, const void *data, size_t len);

/* The table version whatever the CPU; for tests. */
uint32_t crc32c_extend_portable(uint32_t crc, const void *data, size_t len);

#endif
