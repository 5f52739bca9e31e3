#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/metrics_internal.h"

struct process_stat {
    double cpu_seconds;
    double start_ticks; /* after boot */
    uint64_t virtual_bytes;
    uint64_t resident_bytes;
};

/* /proc/self/stat, proc(5). The command name in it may hold blanks and brackets: what counts starts
 * after the last bracket. */
static bool read_stat(struct process_stat *out)
{
    FILE *file = fopen("/proc/self/stat", "re");
    char line[1024];
    unsigned long user, system;
    unsigned long long start, virtual_bytes;
    long pages;
    char *rest;
    bool ok;

    if (file == NULL)
        return false;
    ok = fgets(line, sizeof line, file) != NULL;
    (void)fclose(file); /* only read */
    rest = ok ? strrchr(line, ')') : NULL;
    if (rest == NULL || sscanf(rest + 1,
                               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d "
                               "%*d %*d %*d %llu %llu %ld",
                               &user, &system, &start, &virtual_bytes, &pages) != 5)
        return false;
    out->cpu_seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    out->start_ticks = (double)start;
    out->virtual_bytes = virtual_bytes;
    out->resident_bytes = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}

/* Unix time of the boot, from /proc/stat; 0 if unknown. */
static uint64_t boot_time(void)
{
    FILE *file = fopen("/proc/stat", "re");
    char *line = NULL;
    size_t cap = 0;
    unsigned long long seconds = 0;

    if (file == NULL)
        return 0;
    while (getline(&line, &cap, file) > 0 && sscanf(line, "btime %llu", &seconds) != 1)
        ;
    free(line);
    (void)fclose(file); /* only read */
    return seconds;
}

static uint64_t open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    uint64_t count = 0;

    if (dir == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    (void)closedir(dir);               /* only read */
    return count != 0 ? count - 1 : 0; /* dir itself was one of them */
}

void metrics__print_process(struct buf *out)
{
    struct process_stat stat;
    struct rlimit files = {.rlim_cur = 0}, space;
    uint64_t boot = boot_time();
    uint64_t open = open_files();

    if (read_stat(&stat)) {
        metrics__double(out, "process_cpu_seconds_total", "counter",
                        "Total user and system CPU time spent in seconds.", stat.cpu_seconds);
        metrics__uint(out, "process_resident_memory_bytes", "gauge",
                      "Resident memory size in bytes.", stat.resident_bytes);
        metrics__uint(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
                      stat.virtual_bytes);
        if (boot != 0)
            metrics__double(out, "process_start_time_seconds", "gauge",
                            "Start time of the process since unix epoch in seconds.",
                            (double)boot + stat.start_ticks / (double)sysconf(_SC_CLK_TCK));
    }
    metrics__uint(out, "process_open_fds", "gauge", "Number of open file descriptors.", open);
    metrics__uint(out, "os_fd_used", "gauge", "The number of used file descriptors.", open);
    if (getrlimit(RLIMIT_AS, &space) == 0)
        metrics__double(out, "process_virtual_memory_max_bytes", "gauge",
                        "Maximum amount of virtual memory available in bytes.",
                        (double)space.rlim_cur);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        metrics__uint(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
                      files.rlim_cur);
        metrics__uint(out, "os_fd_limit", "gauge", "The file descriptor limit.", files.rlim_cur);
    }
}
