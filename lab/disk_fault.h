/* How the lab makes a member's disk slow or full, without root and with the very kvd that is in
 * use: a small library (lab/preload/disk.c) is loaded into the member by LD_PRELOAD and stands
 * before the C library's calls that write and sync files. Both sides map the same file; this is
 * what lies in it. */
#ifndef KVD_LAB_DISK_FAULT_H
#define KVD_LAB_DISK_FAULT_H

#include <stdatomic.h>
#include <stdint.h>

#define LAB_DISK_ENV "KVLAB_DISK" /* names the file */

struct lab_disk_fault {
    _Atomic uint32_t loaded;  /* 1: the library is in the process and has mapped this */
    _Atomic uint32_t sync_ms; /* each fsync and fdatasync takes so much longer */
    _Atomic uint32_t full;    /* 1: what needs room fails with ENOSPC, overwriting too */
    _Atomic uint32_t syncs;   /* how many there were */
    _Atomic uint32_t refused; /* how many calls failed for want of room */
};

#endif
