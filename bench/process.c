#include "bench/process.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"

/* The process's CPU clock: nanoseconds, where /proc/PID/stat has ticks of 10 ms. */
static double cpu_seconds(int pid)
{
    struct timespec used;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
        return 0;
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* A line of /proc/PID/status ("VmRSS:   123 kB") or /proc/PID/io ("write_bytes: 123"). */
static void take_line(const char *line, const char *name, unsigned unit, uint64_t *sum)
{
    unsigned long long value;
    size_t len = strlen(name);

    if (strncmp(line, name, len) == 0 && sscanf(line + len, " %llu", &value) == 1)
        *sum += value * unit;
}

static void add_file_of(int pid, const char *file, struct process_sample *sum)
{
    enum { KIB = 1024 };
    char path[64], line[256];
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    f = fopen(path, "r");
    if (f == NULL)
        return;
    while (fgets(line, sizeof line, f) != NULL) {
        take_line(line, "VmRSS:", KIB, &sum->rss_bytes);
        take_line(line, "RssAnon:", KIB, &sum->anon_bytes);
        take_line(line, "VmHWM:", KIB, &sum->peak_bytes);
        take_line(line, "write_bytes:", 1, &sum->written_bytes);
    }
    (void)fclose(f); /* read only */
}

/* Of /proc/diskstats, disks only: partitions and devices on top of others would count twice. */
static uint64_t disk_bytes(void)
{
    enum { SECTOR = 512 };
    char line[512], name[64], path[128];
    unsigned long long sectors;
    uint64_t sum = 0;
    FILE *f = fopen("/proc/diskstats", "r");

    if (f == NULL)
        return 0;
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%*u %*u %63s %*u %*u %*u %*u %*u %*u %llu", name, &sectors) != 2)
            continue;
        (void)snprintf(path, sizeof path, "/sys/block/%s/device", name);
        if (access(path, F_OK) == 0)
            sum += sectors * SECTOR;
    }
    (void)fclose(f); /* read only */
    return sum;
}

struct process_sample process_sample(const int *pids, size_t count)
{
    struct process_sample sum = {.disk_bytes = disk_bytes()};

    for (size_t i = 0; i < count; i++) {
        sum.cpu_s += cpu_seconds(pids[i]);
        add_file_of(pids[i], "status", &sum);
        add_file_of(pids[i], "io", &sum);
    }
    return sum;
}

bool process_alive(int pid)
{
    return kill(pid, 0) == 0 || errno == EPERM;
}

static uint64_t tree_bytes;

static int add_file(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    enum { BLOCK = 512 };

    (void)path;
    (void)where;
    if (kind == FTW_F)
        tree_bytes += (uint64_t)info->st_blocks * BLOCK;
    return 0;
}

/* "--data-dir=DIR" or "--data-dir" "DIR", of the process's command line. false: neither. */
static bool find_data_dir(int pid, char *out, size_t size)
{
    static const char flag[] = "--data-dir";
    char path[64], words[4096];
    bool is_next = false;
    size_t len;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    f = fopen(path, "r");
    if (f == NULL)
        return false;
    len = fread(words, 1, sizeof words - 1, f);
    words[len] = 0;
    (void)fclose(f); /* read only */
    for (const char *word = words; word < words + len; word += strlen(word) + 1) {
        if (is_next || strncmp(word, "--data-dir=", sizeof flag) == 0) {
            (void)snprintf(out, size, "%s", is_next ? word : word + sizeof flag);
            return true;
        }
        is_next = strcmp(word, flag) == 0;
    }
    return false;
}

uint64_t process_data_dir_bytes(const int *pids, size_t count)
{
    uint64_t largest = 0;
    char dir[4096];

    for (size_t i = 0; i < count; i++) {
        tree_bytes = 0;
        if (find_data_dir(pids[i], dir, sizeof dir))
            (void)nftw(dir, add_file, 16, FTW_PHYS); /* what can not be read counts nothing */
        largest = MAX(largest, tree_bytes);
    }
    return largest;
}

bool process_reset_peak(const int *pids, size_t count)
{
    bool all = true;

    for (size_t i = 0; i < count; i++) {
        char path[64];
        FILE *f;

        (void)snprintf(path, sizeof path, "/proc/%d/clear_refs", pids[i]);
        f = fopen(path, "w");
        if (f == NULL) {
            all = false;
            continue;
        }
        if (fputs("5", f) < 0)
            all = false;
        if (fclose(f) != 0)
            all = false;
    }
    return all;
}

double process_own_cpu_s(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage); /* cannot fail for RUSAGE_SELF */
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

double process_load_average(void)
{
    double load = 0;
    FILE *f = fopen("/proc/loadavg", "r");

    if (f == NULL)
        return 0;
    if (fscanf(f, "%lf", &load) != 1)
        load = 0;
    (void)fclose(f); /* read only */
    return load;
}
