#include "server/bootstrap.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/identity.h"

static const struct config_peer *find_self(const struct config *config)
{
    for (size_t i = 0; i < config->initial_cluster_len; i++)
        if (strcmp(config->initial_cluster[i].name, config->name) == 0)
            return &config->initial_cluster[i];
    return NULL;
}

static bool has_url(const struct config_urls *urls, const char *url)
{
    for (size_t i = 0; i < urls->len; i++)
        if (strcmp(urls->text[i], url) == 0)
            return true;
    return false;
}

/* The URLs we advertise and those the initial cluster has for us must be the same set: the member
 * id is made of them, and the others compute it from the list. */
static int check_self(const struct config *config, const struct config_peer *self, struct err *err)
{
    if (self == NULL)
        return err_set(err, KV_EINVAL,
                       "couldn't find local name \"%s\" in the initial cluster configuration",
                       config->name);
    if (self->urls.len == 0)
        return err_set(err, KV_EINVAL, "--initial-cluster has no URL for %s", config->name);
    for (size_t i = 0; i < self->urls.len; i++)
        if (!has_url(&config->advertise_peer, self->urls.text[i]))
            return err_set(err, KV_EINVAL,
                           "--initial-cluster has %s=%s but missing from "
                           "--initial-advertise-peer-urls",
                           config->name, self->urls.text[i]);
    for (size_t i = 0; i < config->advertise_peer.len; i++)
        if (!has_url(&self->urls, config->advertise_peer.text[i]))
            return err_set(err, KV_EINVAL,
                           "--initial-advertise-peer-urls has %s but missing from "
                           "--initial-cluster=%s=...",
                           config->advertise_peer.text[i], config->name);
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const struct machine_member *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static void add_members(const struct config *config, const struct config_peer *self,
                        struct bootstrap *out)
{
    for (size_t i = 0; i < config->initial_cluster_len; i++) {
        const struct config_peer *peer = &config->initial_cluster[i];
        struct machine_member *member = &out->members[out->member_count++];

        member->id =
            identity_member_id(peer->urls.text, peer->urls.len, config->initial_cluster_token);
        member->peer_urls = peer->urls.text;
        member->peer_url_count = peer->urls.len;
        if (peer == self)
            out->member_id = member->id;
        else
            out->peers[out->peer_count++] =
                (struct peer_config){.id = member->id, .addr = peer->urls.addr[0]};
    }
    qsort(out->members, out->member_count, sizeof *out->members, by_id);
    for (size_t i = 0; i < out->member_count; i++)
        out->voters[i] = out->members[i].id;
    out->cluster_id = identity_cluster_id(out->voters, out->member_count);
}

int bootstrap_from_config(const struct config *config, struct bootstrap *out, struct err *err)
{
    const struct config_peer *self = find_self(config);
    size_t count = config->initial_cluster_len;
    struct bootstrap boot = {0};
    int rc;

    rc = check_self(config, self, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < count; i++)
        if (config->initial_cluster[i].urls.len == 0)
            return err_set(err, KV_EINVAL, "--initial-cluster has no URL for %s",
                           config->initial_cluster[i].name);

    boot.members = xcalloc(count, sizeof *boot.members);
    boot.voters = xcalloc(count, sizeof *boot.voters);
    boot.peers = xcalloc(count, sizeof *boot.peers);
    add_members(config, self, &boot);
    for (size_t i = 1; i < count; i++) {
        if (boot.voters[i] != boot.voters[i - 1])
            continue;
        bootstrap_release(&boot);
        return err_set(err, KV_EINVAL,
                       "two members of --initial-cluster have the same peer URLs, which makes them "
                       "one member");
    }
    *out = boot;
    return 0;
}

char **bootstrap_addresses(const struct bootstrap *bootstrap)
{
    char **addresses = xcalloc(bootstrap->member_count + 1, sizeof *addresses);

    for (size_t i = 0; i < bootstrap->member_count; i++) {
        const struct machine_member *each = &bootstrap->members[i];
        struct buf text;

        buf_init(&text, SIZE_MAX);
        for (size_t j = 0; j < each->peer_url_count; j++)
            (void)buf_printf(&text, "%s%s", j > 0 ? "," : "", each->peer_urls[j]);
        (void)buf_append_u8(&text, '\0'); /* no bound */
        addresses[i] = (char *)text.data;
    }
    return addresses;
}

void bootstrap_free_addresses(char **addresses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(addresses[i]);
    free(addresses);
}

void bootstrap_release(struct bootstrap *bootstrap)
{
    free(bootstrap->members);
    free(bootstrap->voters);
    free(bootstrap->peers);
    *bootstrap = (struct bootstrap){0};
}
