/* A member: its ports and files, and its process. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "lab/internal.h"

enum { PORT_FIRST = 10000, PORT_COUNT = 20000, PORT_TRIES = 100 };

static bool is_free(uint16_t port)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool free = fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0;

    if (fd >= 0)
        (void)close(fd); /* nothing was sent */
    return free;
}

/* A port that is free at this moment, below those that the kernel gives to outgoing connections
 * (32768 and up): any client could have got one of them before the member listens. Should somebody
 * take it all the same, its process ends with words that say so, and they are shown. */
static int free_port(uint16_t *out, struct err *err)
{
    for (int i = 0; i < PORT_TRIES; i++) {
        *out = (uint16_t)(PORT_FIRST + arc4random_uniform(PORT_COUNT));
        if (is_free(*out))
            return 0;
    }
    return err_set(err, KV_EBUSY, "no free port on 127.0.0.1 from %d to %d", PORT_FIRST,
                   PORT_FIRST + PORT_COUNT - 1);
}

static int map_disk_fault(struct lab_member *member, struct err *err)
{
    int fd = open(member->disk_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    void *at = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, sizeof *member->disk) == 0)
        at = mmap(NULL, sizeof *member->disk, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        int rc = err_set_errno(err, errno, "making %s", member->disk_path);

        if (fd >= 0)
            (void)close(fd);
        return rc;
    }
    (void)close(fd); /* the mapping stays */
    member->disk = at;
    return 0;
}

/* ---- news ---- */

/* What a member says of itself that it did not say before. */
static void on_view(struct lab_observer *observer)
{
    struct lab_member *member = observer->ctx;
    struct lab *lab = member->lab;
    const struct lab_view *view = &observer->view;

    member->id = view->id;
    if (view->role == LAB_LEADER &&
        (member->seen_role != LAB_LEADER || member->seen_term != view->term)) {
        lab__say(lab, LAB_HAPPENS, member->n, view->term, "m%u leads, term %llu", member->n,
                 (unsigned long long)view->term);
        lab__experiment_leader(lab, view->term);
    }
    if (view->role == LAB_FOLLOWER && member->seen_role == LAB_LEADER)
        lab__say(lab, LAB_HAPPENS, member->n, view->term, "m%u no longer leads, term %llu",
                 member->n, (unsigned long long)view->term);
    if (view->role == LAB_CANDIDATE && member->seen_role != LAB_CANDIDATE)
        lab__say(lab, LAB_HAPPENS, member->n, view->term, "m%u asks for votes, term %llu",
                 member->n, (unsigned long long)view->term);
    member->seen_role = view->role;
    member->seen_term = view->term;
    lab->highest_term = MAX(lab->highest_term, view->term);
}

/* ---- a member's life ---- */

int lab__member_add(struct lab *lab, unsigned n, struct err *err)
{
    struct lab_member *member = &lab->members[n];
    int rc;

    *member = (struct lab_member){.lab = lab, .n = n, .resume_at_ms = -1};
    member->data_dir = xasprintf("%s/m%u", lab->dir, n);
    member->log_path = xasprintf("%s/m%u.log", lab->dir, n);
    member->disk_path = xasprintf("%s/m%u.disk", lab->dir, n);
    rc = map_disk_fault(member, err);
    if (rc == 0)
        rc = free_port(&member->client_port, err);
    if (rc == 0)
        rc = free_port(&member->peer_port, err);
    if (rc == 0)
        rc = lab_relays_add(lab->relays, n, member->peer_port, &member->door_port, err);
    lab_observer_init(&member->observer, &lab->loop, member->client_port, on_view, member);
    return rc;
}

int lab__member_admit(struct lab_member *member, struct err *err)
{
    member->used = true;
    return lab_load_add(&member->lab->load, member->n, member->client_port, err);
}

void lab__member_dismiss(struct lab_member *member)
{
    struct lab *lab = member->lab;

    lab__member_kill(member);
    for (size_t i = 0; i < ARRAY_LEN(lab->holders); i++)
        lab__holder_leave(&lab->holders[i], lab->load.clients[member->n].client);
    lab_load_remove(&member->lab->load, member->n);
    member->used = false;
}

char *lab__initial_cluster(const struct lab *lab)
{
    struct buf text;

    buf_init(&text, 4096);
    for (unsigned n = 1; n <= LAB_MEMBERS_MAX; n++) {
        if (lab->members[n].used)
            (void)buf_printf(&text, "%sm%u=http://127.0.0.1:%u", text.len != 0 ? "," : "", n,
                             lab->members[n].door_port);
    }
    (void)buf_append_u8(&text, 0);
    return (char *)text.data; /* moved to the caller */
}

/* Ours, without what would configure a member behind the lab's back. */
static char **environment(const struct lab_member *member)
{
    const struct lab *lab = member->lab;
    size_t len = 0, count = 0;
    char **env;

    while (lab->options.env[count] != NULL)
        count++;
    env = xcalloc(count + 3, sizeof *env);
    for (size_t i = 0; i < count; i++) {
        const char *entry = lab->options.env[i];

        if (strncmp(entry, "ETCD_", 5) != 0 && strncmp(entry, "KVD_", 4) != 0 &&
            strncmp(entry, "NOTIFY_SOCKET=", 14) != 0 && strncmp(entry, "LD_PRELOAD=", 11) != 0)
            env[len++] = xstrdup(entry);
    }
    env[len++] = xasprintf("LD_PRELOAD=%s", lab->preload_path);
    env[len] = xasprintf(LAB_DISK_ENV "=%s", member->disk_path);
    return env;
}

static void free_words(char **words)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        free(words[i]);
    free(words);
}

static char **arguments(const struct lab_member *member)
{
    const struct lab *lab = member->lab;
    const struct lab_script *script = lab->options.script;
    char **argv = xcalloc(16 + LAB_FLAGS_MAX, sizeof *argv);
    size_t len = 0;

    argv[len++] = xstrdup(lab->kvd);
    argv[len++] = xasprintf("--name=m%u", member->n);
    argv[len++] = xasprintf("--data-dir=%s", member->data_dir);
    argv[len++] = xasprintf("--listen-client-urls=http://127.0.0.1:%u", member->client_port);
    argv[len++] = xasprintf("--advertise-client-urls=http://127.0.0.1:%u", member->client_port);
    argv[len++] = xasprintf("--listen-peer-urls=http://127.0.0.1:%u", member->peer_port);
    argv[len++] = xasprintf("--initial-advertise-peer-urls=http://127.0.0.1:%u", member->door_port);
    argv[len++] = xasprintf("--initial-cluster=%s", member->initial_cluster);
    argv[len++] = xasprintf("--initial-cluster-token=%s-%u", lab->token, lab->generation);
    argv[len++] = xasprintf("--initial-cluster-state=%s", member->joins ? "existing" : "new");
    argv[len++] = xstrdup("--log-format=json");
    for (size_t i = 0; script != NULL && i < script->commands[0].flag_count; i++)
        argv[len++] = xasprintf("--%s", script->commands[0].flags[i]);
    return argv;
}

int lab__member_start(struct lab_member *member, struct err *err)
{
    char **argv, **env;
    int rc;

    if (lab__is_ending(member))
        return err_set(err, KV_EBUSY, "m%u was told to stop and has not ended yet: kill %u ends it",
                       member->n, member->n);
    if (member->process.pid != 0)
        return err_set(err, KV_EBUSY, "m%u runs already", member->n);
    if (member->initial_cluster == NULL)
        member->initial_cluster = lab__initial_cluster(member->lab);
    atomic_store(&member->disk->loaded, 0);
    argv = arguments(member);
    env = environment(member);
    rc = lab_process_start(&member->process, argv, env, member->log_path, err);
    free_words(argv);
    free_words(env);
    member->expected = rc == 0;
    member->seen_role = LAB_NO_ROLE;
    return rc;
}

bool lab__is_ending(const struct lab_member *member)
{
    return member->process.pid != 0 && !member->expected;
}

void lab__member_kill(struct lab_member *member)
{
    member->expected = false;
    member->resume_at_ms = -1;
    lab_process_kill(&member->process);
    lab_observer_forget(&member->observer);
}

void lab__member_release(struct lab_member *member)
{
    if (member->lab == NULL)
        return;
    lab__member_kill(member);
    if (member->observer.loop != NULL)
        lab_observer_release(&member->observer);
    if (member->disk != NULL)
        (void)munmap(member->disk, sizeof *member->disk); /* it is ours: cannot fail */
    free(member->data_dir);
    free(member->log_path);
    free(member->disk_path);
    free(member->initial_cluster);
    member->lab = NULL;
}
