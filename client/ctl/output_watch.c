#include "client/ctl/output_watch.h"

#include <inttypes.h>

#include "base/util.h"
#include "client/ctl/gotext.h"
#include "client/ctl/json.h"

/* ---- simple ---- */

static const char *event_name(const Mvccpb__Event *event)
{
    return event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE ? "DELETE" : "PUT";
}

void output__simple_watch(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__WatchResponse *response = (const void *)message;
    size_t i;

    for (i = 0; i < response->n_events; i++) {
        fprintf(output->out, "%s\n", event_name(response->events[i]));
        if (response->events[i]->prev_kv != NULL)
            output__simple_kv(output, response->events[i]->prev_kv);
        if (response->events[i]->kv != NULL)
            output__simple_kv(output, response->events[i]->kv);
    }
}

void output__simple_lease_grant(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__LeaseGrantResponse *response = (const void *)message;

    fprintf(output->out, "lease %016" PRIx64 " granted with TTL(%" PRId64 "s)\n",
            (uint64_t)response->id, response->ttl);
}

/* The answer does not name the lease; lease revoke sets it for us. */
void output__simple_lease_revoke(struct output *output, const ProtobufCMessage *message)
{
    (void)message;
    fprintf(output->out, "lease %016" PRIx64 " revoked\n", (uint64_t)output->lease);
}

void output__simple_lease_keep_alive(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__LeaseKeepAliveResponse *response = (const void *)message;

    fprintf(output->out, "lease %016" PRIx64 " keepalived with TTL(%" PRId64 ")\n",
            (uint64_t)response->id, response->ttl);
}

void output__simple_lease_time_to_live(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__LeaseTimeToLiveResponse *response = (const void *)message;
    size_t i;

    if (response->grantedttl == 0 && response->ttl == -1) {
        fprintf(output->out, "lease %016" PRIx64 " already expired\n", (uint64_t)response->id);
        return;
    }
    fprintf(output->out,
            "lease %016" PRIx64 " granted with TTL(%" PRId64 "s), remaining(%" PRId64 "s)",
            (uint64_t)response->id, response->grantedttl, response->ttl);
    if (output->lease_keys) {
        fputs(", attached keys([", output->out);
        for (i = 0; i < response->n_keys; i++) {
            fputs(i == 0 ? "" : " ", output->out);
            if (response->keys[i].len != 0)
                fwrite(response->keys[i].data, 1, response->keys[i].len, output->out);
        }
        fputs("])", output->out);
    }
    fputc('\n', output->out);
}

void output__simple_lease_leases(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__LeaseLeasesResponse *response = (const void *)message;
    size_t i;

    fprintf(output->out, "found %zu leases\n", response->n_leases);
    for (i = 0; i < response->n_leases; i++)
        fprintf(output->out, "%016" PRIx64 "\n", (uint64_t)response->leases[i]->id);
}

/* ---- fields ---- */

void output__fields_watch(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__WatchResponse *response = (const void *)message;
    size_t i;

    output__fields_header(output, response->header);
    for (i = 0; i < response->n_events; i++) {
        fprintf(output->out, "\"Type\" : %s\n", event_name(response->events[i]));
        if (response->events[i]->prev_kv != NULL)
            output__fields_kv(output, "Prev", response->events[i]->prev_kv);
        if (response->events[i]->kv != NULL)
            output__fields_kv(output, "", response->events[i]->kv);
    }
}

static void lease_field(struct output *output, int64_t id)
{
    if (output->hex)
        fprintf(output->out, "\"ID\" : %016" PRIx64 "\n", (uint64_t)id);
    else
        fprintf(output->out, "\"ID\" : %" PRId64 "\n", id);
}

void output__fields_lease_grant(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__LeaseGrantResponse *response = (const void *)message;

    output__fields_header(output, response->header);
    lease_field(output, response->id);
    fprintf(output->out, "\"TTL\" : %" PRId64 "\n", response->ttl);
}

void output__fields_lease_revoke(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__LeaseRevokeResponse *response = (const void *)message;

    output__fields_header(output, response->header);
}

void output__fields_lease_keep_alive(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__LeaseKeepAliveResponse *response = (const void *)message;

    output__fields_header(output, response->header);
    lease_field(output, response->id);
    fprintf(output->out, "\"TTL\" : %" PRId64 "\n", response->ttl);
}

void output__fields_lease_time_to_live(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__LeaseTimeToLiveResponse *response = (const void *)message;
    size_t i;

    output__fields_header(output, response->header);
    lease_field(output, response->id);
    fprintf(output->out, "\"TTL\" : %" PRId64 "\n", response->ttl);
    fprintf(output->out, "\"GrantedTTL\" : %" PRId64 "\n", response->grantedttl);
    for (i = 0; i < response->n_keys; i++) {
        fputs("\"Key\" : ", output->out);
        go_quote(output->out, slice_of(response->keys[i].data, response->keys[i].len));
        fputc('\n', output->out);
    }
}

void output__fields_lease_leases(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__LeaseLeasesResponse *response = (const void *)message;
    size_t i;

    output__fields_header(output, response->header);
    for (i = 0; i < response->n_leases; i++)
        lease_field(output, response->leases[i]->id);
}

/* ---- json: these are structs of etcd's client, not its messages ---- */

static void print_and_free(struct output *output, struct json_object *json)
{
    json_print(output->out, json);
    (void)json_object_put(json);
}

static void add(struct json_object *json, const char *name, struct json_object *value)
{
    (void)json_object_object_add(json, name, value);
}

/* The header's fields stand at the top. */
static struct json_object *begin(const Etcdserverpb__ResponseHeader *header)
{
    return header != NULL ? json_of_message(&header->base, false) : json_object_new_object();
}

void output__json_watch(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__WatchResponse *response = (const void *)message;
    struct json_object *json = json_object_new_object();
    struct json_object *events = json_object_new_array();
    size_t i;

    for (i = 0; i < response->n_events; i++)
        (void)json_object_array_add(events, json_of_message(&response->events[i]->base, false));
    add(json, "Header", begin(response->header));
    add(json, "Events", events);
    add(json, "CompactRevision", json_object_new_int64(response->compact_revision));
    add(json, "Canceled", json_object_new_boolean(response->canceled));
    add(json, "Created", json_object_new_boolean(response->created));
    print_and_free(output, json);
}

void output__json_lease_grant(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__LeaseGrantResponse *response = (const void *)message;
    struct json_object *json = begin(response->header);

    add(json, "ID", json_object_new_int64(response->id));
    add(json, "TTL", json_object_new_int64(response->ttl));
    add(json, "Error", json_of_string(response->error));
    print_and_free(output, json);
}

void output__json_lease_revoke(struct output *output, const ProtobufCMessage *message)
{
    print_and_free(output, json_of_message(message, false));
}

void output__json_lease_keep_alive(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__LeaseKeepAliveResponse *response = (const void *)message;
    struct json_object *json = begin(response->header);

    add(json, "ID", json_object_new_int64(response->id));
    add(json, "TTL", json_object_new_int64(response->ttl));
    print_and_free(output, json);
}

void output__json_lease_time_to_live(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__LeaseTimeToLiveResponse *response = (const void *)message;
    struct json_object *json = begin(response->header);
    struct json_object *keys = response->n_keys != 0 ? json_object_new_array() : NULL;
    size_t i;

    for (i = 0; i < response->n_keys; i++)
        (void)json_object_array_add(keys, json_of_bytes(&response->keys[i]));
    add(json, "id", json_object_new_int64(response->id));
    add(json, "ttl", json_object_new_int64(response->ttl));
    add(json, "granted-ttl", json_object_new_int64(response->grantedttl));
    add(json, "keys", keys);
    print_and_free(output, json);
}

void output__json_lease_leases(struct output *output, const ProtobufCMessage *message)
{
    const Etcdserverpb__LeaseLeasesResponse *response = (const void *)message;
    struct json_object *json = begin(response->header);
    struct json_object *leases = json_object_new_array();
    size_t i;

    for (i = 0; i < response->n_leases; i++) {
        struct json_object *lease = json_object_new_object();

        add(lease, "id", json_object_new_int64(response->leases[i]->id));
        (void)json_object_array_add(leases, lease);
    }
    add(json, "leases", leases);
    print_and_free(output, json);
}
