/* Loaded into a member of the lab (lab/disk_fault.h). The calls here are those that base/disk.c
 * makes for data; logs go through write(2) and are left alone.
 *
 * "Full" refuses overwriting as well as growing, as on a file system that writes every block anew
 * (btrfs, zfs, thin volumes): the log lies in segments that have their room beforehand, and on ext4
 * a full disk would be noticed only megabytes later. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "lab/disk_fault.h"

static struct lab_disk_fault *fault;

__attribute__((constructor)) static void map_fault(void)
{
    const char *path = getenv(LAB_DISK_ENV);
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at;

    if (fd < 0)
        return;
    at = mmap(NULL, sizeof *fault, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (at == MAP_FAILED)
        return;
    fault = at;
    atomic_store(&fault->loaded, 1);
}

static bool is_full(void)
{
    if (fault == NULL || atomic_load(&fault->full) == 0)
        return false;
    (void)atomic_fetch_add(&fault->refused, 1);
    errno = ENOSPC;
    return true;
}

static void wait_for_disk(void)
{
    uint32_t ms = fault != NULL ? atomic_load(&fault->sync_ms) : 0;
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    if (fault != NULL)
        (void)atomic_fetch_add(&fault->syncs, 1);
    while (ms != 0 && nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

int fdatasync(int fd)
{
    wait_for_disk();
    return is_full() ? -1 : REAL(fdatasync)(fd);
}

int fsync(int fd)
{
    wait_for_disk();
    return is_full() ? -1 : REAL(fsync)(fd);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return is_full() ? -1 : REAL(pwrite)(fd, data, len, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    return is_full() ? -1 : REAL(pwrite64)(fd, data, len, offset);
}

int ftruncate(int fd, off_t size)
{
    return is_full() ? -1 : REAL(ftruncate)(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return is_full() ? -1 : REAL(ftruncate64)(fd, size);
}
