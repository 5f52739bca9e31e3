#include "client/ctl/fanout.h"

/* ---- which endpoints ---- */

static void take_client_urls(struct ctl *ctl, const Etcdserverpb__MemberListResponse *response,
                             struct flag_list *out)
{
    size_t count = 0, i, j;

    for (i = 0; i < response->n_members; i++)
        count += response->members[i]->n_clienturls;
    out->items = arena_alloc(&ctl->arena, (count + 1) * sizeof *out->items);
    out->len = 0;
    for (i = 0; i < response->n_members; i++) {
        for (j = 0; j < response->members[i]->n_clienturls; j++) {
            const char *url = response->members[i]->clienturls[j];
            struct slice copy = arena_copy(&ctl->arena, slice_of(url, strlen(url) + 1));

            out->items[out->len++] = (const char *)copy.data;
        }
    }
}

int fanout_cluster_endpoints(struct ctl *ctl, struct flag_list *out)
{
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    struct kv_client *client = NULL;
    struct kv_result result;
    int code;

    code = ctl_connect(ctl, NULL, &client);
    if (code != 0)
        return code;
    request.linearizable = true;
    if (kv_call(client, &kv_method_member_list, &request.base, NULL, &result) == 0)
        take_client_urls(ctl, (const void *)result.message, out);
    else
        code =
            ctl_fail(ctl, CTL_ERROR, "failed to fetch endpoints from etcd cluster member list: %s",
                     result.err.text);
    kv_result_release(&result);
    kv_client_free(client);
    return code;
}

/* ---- the calls ---- */

static void on_done(struct kv_call *call)
{
    struct fanout_target *target = CONTAINER_OF(call, struct fanout_target, call);

    target->took_ns = uv_hrtime() - target->started_ns;
    target->running = false;
}

static void finish(struct fanout *fanout)
{
    int rc;

    (void)uv_run(&fanout->loop, UV_RUN_DEFAULT); /* until the last handle is closed */
    rc = uv_loop_close(&fanout->loop);
    ASSERT(rc == 0);
}

int fanout_open(struct ctl *ctl, const char *const *endpoints, size_t len, struct fanout *out)
{
    struct kv_options options = ctl_kv_options(ctl);
    struct err err = ERR_INIT;

    *out = (struct fanout){.len = 0};
    out->targets = arena_calloc(&ctl->arena, (len + 1) * sizeof *out->targets);
    if (uv_loop_init(&out->loop) != 0)
        return ctl_fail(ctl, CTL_ERROR, "starting an event loop: out of file descriptors?");
    options.endpoints_len = 1;
    for (; out->len < len; out->len++) {
        struct fanout_target *target = &out->targets[out->len];

        target->endpoint = endpoints[out->len];
        options.endpoints = &target->endpoint;
        if (kv_client_open(&out->loop, &options, &target->client, &err) != 0) {
            fanout_close(out);
            return ctl_fail(ctl, CTL_BAD_ARGS, "%s", err.text);
        }
    }
    return 0;
}

static bool any_running(const struct fanout *fanout)
{
    size_t i;

    for (i = 0; i < fanout->len; i++) {
        if (fanout->targets[i].running)
            return true;
    }
    return false;
}

void fanout_call(struct fanout *fanout, const struct kv_method *method,
                 const ProtobufCMessage *request, int flags)
{
    struct kv_call_options options = {.flags = flags};
    size_t i;

    for (i = 0; i < fanout->len; i++) {
        struct fanout_target *target = &fanout->targets[i];
        struct err err = ERR_INIT;

        kv_result_release(&target->call.result);
        if (target->skip)
            continue;
        target->started_ns = uv_hrtime();
        target->running = kv_call_start(target->client, &target->call, method, request, &options,
                                        on_done, &err) == 0;
        if (!target->running)
            target->call.result.err = err;
    }
    while (any_running(fanout))
        (void)uv_run(&fanout->loop, UV_RUN_ONCE);
}

void fanout_close(struct fanout *fanout)
{
    size_t i;

    for (i = 0; i < fanout->len; i++) {
        kv_result_release(&fanout->targets[i].call.result);
        kv_client_close(fanout->targets[i].client, NULL, NULL);
    }
    finish(fanout);
}
