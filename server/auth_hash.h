/* Passwords as bcrypt has them, in etcd's form ("$2a$10$..."), and a bounded pool that makes and
 * checks them off the loop: each costs some 50 ms on purpose. */
#ifndef KVD_SERVER_AUTH_HASH_H
#define KVD_SERVER_AUTH_HASH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/job.h"
#include "base/list.h"

enum {
    BCRYPT_COST_MIN = 4,
    BCRYPT_COST_MAX = 31,
    BCRYPT_COST_DEFAULT = 10,
    BCRYPT_PASSWORD_MAX = 72, /* bytes; bcrypt looks at no more */
    BCRYPT_TEXT_SIZE = 61,    /* of a hash, with its end */
};

/* Any thread; blocks. A random salt. False: the cost is out of range. */
bool bcrypt_make(const char *password, unsigned cost, char out[BCRYPT_TEXT_SIZE]);
/* Any thread; blocks. Compares in constant time. A hash that is none fits nothing. */
bool bcrypt_fits(const char *password, const char *hash);

/* ---- the pool: loop thread only ---- */

enum { AUTH_POOL_RUNNING_MAX = 2, AUTH_POOL_WAITING_MAX = 256 };

struct auth_pool {
    struct job_runner runner;
    struct list waiting;
    size_t waiting_count, running;
};

struct auth_job {
    struct job job;
    struct list link; /* in pool->waiting */
    struct auth_pool *pool;
    void (*work)(struct auth_job *job); /* something else than passwords; NULL: those */
    void (*done)(struct auth_job *job); /* gets the job back and frees what it is part of */
    char *password;                     /* its own copy; wiped when it has been used */
    char hash[BCRYPT_TEXT_SIZE];        /* to make: the result; to check: what it should fit */
    unsigned cost;                      /* to make; 0: to check */
    bool ok;                            /* made, or fits */
};

void auth_pool_init(struct auth_pool *pool, struct job_runner runner);
/* Jobs that wait are given back with ok false. Those that run have ended before. */
void auth_pool_release(struct auth_pool *pool);
/* password is copied. done follows later, never from inside. False: too many wait already. */
bool auth_pool_run(struct auth_pool *pool, struct auth_job *job, const char *password);

#endif
