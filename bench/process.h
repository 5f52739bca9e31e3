/* What the kernel says about the servers' processes and our own. Blocking reads of /proc, some
 * microseconds each. */
#ifndef KVD_BENCH_PROCESS_H
#define KVD_BENCH_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct process_sample {
    double cpu_s;        /* user + system time so far */
    uint64_t rss_bytes;  /* resident, mapped files included */
    uint64_t anon_bytes; /* of that, what is no file: what memory pressure cannot take back */
    uint64_t peak_bytes; /* highest rss_bytes since the process began or process_reset_peak() */
    /* Written so far to all disks of the machine, by whomever; and by the processes, which is too
     * much where files are cached in large folios (0: they are another user's). */
    uint64_t disk_bytes, written_bytes;
};

/* Sums over all pids; one that is gone counts nothing. */
struct process_sample process_sample(const int *pids, size_t count);
bool process_alive(int pid);
/* Of the largest of their data directories, which their command lines name (--data-dir): what its
 * files take on disk. 0: none is known. */
uint64_t process_data_dir_bytes(const int *pids, size_t count);
/* Lets the peak begin anew (proc(5), clear_refs). false: not allowed for one of them. */
bool process_reset_peak(const int *pids, size_t count);
/* User + system time of this process. */
double process_own_cpu_s(void);
/* Of the last minute; 0 if unknown. */
double process_load_average(void);

#endif
