#include "server/page.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"

/* The file becomes part of the program; the Makefile knows that this object depends on it. */
__asm__(".section .rodata\n"
        ".global page__html_start\n"
        ".global page__html_end\n"
        "page__html_start:\n"
        ".incbin \"server/page.html\"\n"
        "page__html_end:\n"
        ".byte 0\n"
        ".previous\n");
extern const char page__html_start[], page__html_end[];

struct slice page_html(void)
{
    return slice_of(page__html_start, (size_t)(page__html_end - page__html_start));
}

static void add_text(struct json_object *to, const char *name, const char *value)
{
    (void)json_object_object_add(to, name, json_object_new_string(value));
}

static void add_number(struct json_object *to, const char *name, int64_t value)
{
    (void)json_object_object_add(to, name, json_object_new_int64(value));
}

static void add_bool(struct json_object *to, const char *name, bool value)
{
    (void)json_object_object_add(to, name, json_object_new_boolean(value));
}

/* Ids as everywhere for people: hex. JSON numbers end at 2^53. */
static void add_id(struct json_object *to, const char *name, uint64_t id)
{
    char text[20];

    (void)snprintf(text, sizeof text, "%" PRIx64, id);
    add_text(to, name, text);
}

static struct json_object *list_of(char *const *texts, size_t len)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < len; i++)
        (void)json_object_array_add(list, json_object_new_string(texts[i]));
    return list;
}

static void add_connection(const struct member *member, uint64_t id, struct json_object *to)
{
    struct peer_stats stats;
    uint64_t peer;

    for (size_t n = 0; member_peer(member, n, &peer, &stats); n++) {
        if (peer != id)
            continue;
        add_bool(to, "connected", stats.connected);
        add_number(to, "round_trip_us", (int64_t)stats.round_trip_us);
    }
}

static struct json_object *members_of(const struct member *member)
{
    struct json_object *list = json_object_new_array();
    const struct machine_member *table;
    size_t len;

    table = member_table(member, &len);
    for (size_t i = 0; i < len; i++) {
        struct json_object *item = json_object_new_object();

        add_id(item, "id", table[i].id);
        add_text(item, "name", table[i].name);
        (void)json_object_object_add(item, "client_urls",
                                     list_of(table[i].client_urls, table[i].client_url_count));
        (void)json_object_object_add(item, "peer_urls",
                                     list_of(table[i].peer_urls, table[i].peer_url_count));
        add_connection(member, table[i].id, item);
        (void)json_object_array_add(list, item);
    }
    return list;
}

static const char *role_name(enum replica_role role)
{
    switch (role) {
    case REPLICA_LEADER:
        return "leader";
    case REPLICA_CANDIDATE:
        return "candidate";
    case REPLICA_FOLLOWER:
        break;
    }
    return "follower";
}

void page_reply_status(const struct member *member, struct http_request *request)
{
    struct json_object *status = json_object_new_object();
    struct member_info info;
    const char *text;
    size_t len;

    member_info(member, &info);
    add_text(status, "kvd", KVD_VERSION);
    add_text(status, "name", member_name(member));
    add_id(status, "member_id", info.member_id);
    add_id(status, "cluster_id", info.cluster_id);
    add_text(status, "role", role_name(info.raft.role));
    add_number(status, "term", (int64_t)info.raft.term);
    add_id(status, "leader", info.raft.leader);
    add_number(status, "last_index", (int64_t)info.raft.last_index);
    add_number(status, "stored_index", (int64_t)info.raft.stored_index);
    add_number(status, "commit_index", (int64_t)info.raft.commit_index);
    add_number(status, "applied_index", (int64_t)info.raft.applied_index);
    add_number(status, "leader_changes", (int64_t)info.raft.elections);
    add_number(status, "revision", info.revision);
    add_number(status, "compact_revision", info.compact_revision);
    add_number(status, "keys", (int64_t)info.keys);
    add_number(status, "db_size", (int64_t)info.db_size);
    add_number(status, "wal_bytes", (int64_t)info.wal_bytes);
    add_bool(status, "alarm_nospace", info.alarm_nospace);
    add_bool(status, "alarm_corrupt", info.alarm_corrupt);
    (void)json_object_object_add(status, "members", members_of(member));

    text = json_object_to_json_string_length(status, JSON_C_TO_STRING_PLAIN, &len);
    http_reply(request, 200, "application/json", slice_of(text, len));
    (void)json_object_put(status); /* frees the whole tree */
}
