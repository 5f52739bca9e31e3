/* A machine driven by text, for unit tests and transcripts: one request as one line (a txn as a
 * bracketed group), the answer as text. The request takes the way it takes in a member: validated,
 * packed, encoded as a command, decoded, applied.
 *
 *   put KEY VALUE [lease=N] [prev] [ignore_value] [ignore_lease]
 *   del KEY [END] [prev]
 *   range KEY [END] [limit=N] [rev=N] [order=none|ascend|descend] [by=key|version|create|mod|value]
 *         [keys_only] [count_only] [serializable] [min_mod=N] [max_mod=N] [min_create=N]
 *         [max_create=N]
 *   txn [ if TARGET KEY [END] OP OPERAND ... then REQUEST ... else REQUEST ... ]
 *         TARGET version|create|mod|value|lease; OP = > < !=; `[`, `]`, if, then, else are words;
 *         every if, then and else introduces one compare or one request
 *   compact REV
 *   alarm activate|deactivate MEMBER none|nospace|corrupt
 *   space raise|clear MEMBER        as that member's quota proposes it
 *   downgrade VERSION|off
 *   publish MEMBER NAME [URL]
 *   grant ID TTL        revoke ID        leases (id, TTL, keys of each, by id)
 *   expire ID TERM [GRANT]                   as the leader of that term proposes it, in an entry
 *   checkpoint ID REMAINING_MS TERM [GRANT]  of term 1; without GRANT: of the lease as it is
 *   member add ID URL [learner]   member remove|promote ID   member update ID URL
 *   member replace ID NEW_ID
 *   odd ID | split ID | agrees ID  what the leader has found about a member's state
 *   drop TERM REASON               the first change of members, as the leader of that term proposes
 *                                  it, in an entry of term 1; REASON a number of kvdpb.MemberDrop
 *   configure ID ADDRESS voter|learner ...   a configuration of the log
 *   as NAME [REV] | as nobody | as member    who asks from here on; REV: logged in then, not now
 *   auth enable|disable | auth user NAME [none] | auth no_user NAME | auth password NAME
 *   auth grant NAME ROLE | auth revoke NAME ROLE | auth role ROLE | auth no_role ROLE
 *   auth permit ROLE read|write|readwrite KEY [END] | auth forbid ROLE KEY [END]
 *   auth nothing ROLE
 *
 *   login NAME REV    as the member proposes it that has checked the password at that revision
 *
 *   users    whether auth is on, its revision, users and roles
 *
 *   state    revision, compact revision, keys, downgrade, alarms (and who raised them), members,
 *            removed ones, changes that wait
 *
 *   sweep    runs pending compaction work to its end
 *
 * Words are split at blanks; "" is the empty word, \xHH a byte. Everything is static: a header so
 * that each test program stays one file. */
#ifndef KVD_TESTS_LIB_MACHINE_TEXT_H
#define KVD_TESTS_LIB_MACHINE_TEXT_H

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "proto/command.pb-c.h"
#include "server/auth_store.h"
#include "server/machine.h"
#include "server/machine_internal.h"
#include "server/permit.h"
#include "server/status.h"
#include "server/validate.h"

struct machine_text {
    struct machine *machine;
    struct arena arena;
    struct buf out;
    struct slice *words;
    size_t word_count, next;
    size_t ops_max;
    bool wrong; /* the text is not a request */
    struct author author;
    bool author_is_current; /* its revision is that of the store */
    char user[64];
};

static UNUSED void machine_text_init(struct machine_text *t)
{
    static char *urls_1[] = {"http://127.0.0.1:1"}, *urls_2[] = {"http://127.0.0.1:2"};
    const struct machine_member members[] = {
        {.id = 2, .peer_urls = urls_2, .peer_url_count = 1},
        {.id = 1, .peer_urls = urls_1, .peer_url_count = 1},
    };

    *t = (struct machine_text){.machine = machine_new(1, members, 2), .ops_max = 128};
    arena_init(&t->arena);
    buf_init(&t->out, SIZE_MAX / 2);
}

static UNUSED void machine_text_release(struct machine_text *t)
{
    machine_free(t->machine);
    arena_release(&t->arena);
    buf_release(&t->out);
}

/* ---- words ---- */

static void mt__split(struct machine_text *t, const char *text)
{
    size_t count_max = strlen(text) + 1;

    t->words = arena_alloc(&t->arena, count_max * sizeof *t->words);
    t->word_count = t->next = 0;
    while (*text != '\0') {
        uint8_t *word;
        size_t len = 0;
        const char *end = text;

        while (*end != '\0' && !isspace((unsigned char)*end))
            end++;
        if (end == text) {
            text++;
            continue;
        }
        word = arena_alloc(&t->arena, (size_t)(end - text));
        if (end - text == 2 && text[0] == '"' && text[1] == '"')
            text = end;
        while (text < end) {
            if (end - text >= 4 && text[0] == '\\' && text[1] == 'x') {
                char hex[3] = {text[2], text[3], '\0'};

                word[len++] = (uint8_t)strtoul(hex, NULL, 16);
                text += 4;
            } else {
                word[len++] = (uint8_t)*text++;
            }
        }
        t->words[t->word_count++] = slice_of(word, len);
    }
}

static struct slice mt__word(struct machine_text *t)
{
    if (t->next >= t->word_count) {
        t->wrong = true;
        return slice_str("");
    }
    return t->words[t->next++];
}

static bool mt__is(struct slice word, const char *text)
{
    return slice_eq(word, slice_str(text));
}

static bool mt__take(struct machine_text *t, const char *text)
{
    if (t->next >= t->word_count || !mt__is(t->words[t->next], text))
        return false;
    t->next++;
    return true;
}

static char *mt__text(struct machine_text *t, struct slice word)
{
    char *text = arena_alloc(&t->arena, word.len + 1);

    if (word.len != 0)
        memcpy(text, word.data, word.len);
    text[word.len] = '\0';
    return text;
}

static int64_t mt__number(struct machine_text *t)
{
    char *text = mt__text(t, mt__word(t)), *end;
    int64_t value = (int64_t)strtoll(text, &end, 10);

    if (end == text || *end != '\0')
        t->wrong = true;
    return value;
}

/* Takes "name=N" if that is next. */
static bool mt__option(struct machine_text *t, const char *name, int64_t *value)
{
    size_t len = strlen(name);
    char *text, *end;

    if (t->next >= t->word_count || t->words[t->next].len <= len + 1 ||
        memcmp(t->words[t->next].data, name, len) != 0 || t->words[t->next].data[len] != '=')
        return false;
    text = mt__text(t, t->words[t->next++]);
    *value = (int64_t)strtoll(text + len + 1, &end, 10);
    if (*end != '\0')
        t->wrong = true;
    return true;
}

static const char *const mt__keywords[] = {
    "]", "if", "then",         "else",      "prev", "ignore_value", "=",           ">",
    "<", "!=", "ignore_lease", "keys_only", "op4",  "count_only",   "serializable"};

/* A word that is neither an option nor a bracket: an end of range. */
static bool mt__plain_next(const struct machine_text *t)
{
    if (t->next >= t->word_count)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(mt__keywords); i++)
        if (mt__is(t->words[t->next], mt__keywords[i]))
            return false;
    return t->words[t->next].len == 0 ||
           memchr(t->words[t->next].data, '=', t->words[t->next].len) == NULL;
}

static ProtobufCBinaryData mt__bytes(struct machine_text *t)
{
    return pb_of_slice(mt__word(t));
}

static ProtobufCBinaryData mt__end(struct machine_text *t)
{
    return mt__plain_next(t) ? mt__bytes(t) : (ProtobufCBinaryData){0, NULL};
}

/* ---- requests ---- */

static Etcdserverpb__PutRequest *mt__put(struct machine_text *t)
{
    Etcdserverpb__PutRequest *put = arena_alloc(&t->arena, sizeof *put);

    etcdserverpb__put_request__init(put);
    put->key = mt__bytes(t);
    put->value = mt__bytes(t);
    for (;;) {
        if (mt__option(t, "lease", &put->lease))
            continue;
        if (mt__take(t, "prev"))
            put->prev_kv = true;
        else if (mt__take(t, "ignore_value"))
            put->ignore_value = true;
        else if (mt__take(t, "ignore_lease"))
            put->ignore_lease = true;
        else
            return put;
    }
}

static Etcdserverpb__DeleteRangeRequest *mt__del(struct machine_text *t)
{
    Etcdserverpb__DeleteRangeRequest *del = arena_alloc(&t->arena, sizeof *del);

    etcdserverpb__delete_range_request__init(del);
    del->key = mt__bytes(t);
    del->range_end = mt__end(t);
    del->prev_kv = mt__take(t, "prev");
    return del;
}

/* Takes "name=CHOICE". A number is taken as it is, to get outside the enum. */
static bool mt__choice(struct machine_text *t, const char *name, const char *const *choices,
                       size_t count, int *out)
{
    char text[64];

    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "%s=%s", name, choices[i]);
        if (mt__take(t, text)) {
            *out = (int)i;
            return true;
        }
    }
    return false;
}

static Etcdserverpb__RangeRequest *mt__range(struct machine_text *t)
{
    static const char *const orders[] = {"none", "ascend", "descend", "3"};
    static const char *const targets[] = {"key", "version", "create", "mod", "value", "5"};
    Etcdserverpb__RangeRequest *range = arena_alloc(&t->arena, sizeof *range);
    int order = 0, target = 0;

    etcdserverpb__range_request__init(range);
    range->key = mt__bytes(t);
    range->range_end = mt__end(t);
    for (;;) {
        if (mt__option(t, "limit", &range->limit) || mt__option(t, "rev", &range->revision) ||
            mt__option(t, "min_mod", &range->min_mod_revision) ||
            mt__option(t, "max_mod", &range->max_mod_revision) ||
            mt__option(t, "min_create", &range->min_create_revision) ||
            mt__option(t, "max_create", &range->max_create_revision) ||
            mt__choice(t, "order", orders, ARRAY_LEN(orders), &order) ||
            mt__choice(t, "by", targets, ARRAY_LEN(targets), &target))
            continue;
        if (mt__take(t, "keys_only"))
            range->keys_only = true;
        else if (mt__take(t, "count_only"))
            range->count_only = true;
        else if (mt__take(t, "serializable"))
            range->serializable = true;
        else
            break;
    }
    range->sort_order = (Etcdserverpb__RangeRequest__SortOrder)order;
    range->sort_target = (Etcdserverpb__RangeRequest__SortTarget)target;
    return range;
}

static Etcdserverpb__Compare *mt__compare(struct machine_text *t)
{
    static const char *const targets[] = {"version", "create", "mod", "value", "lease", "target5"};
    static const char *const operators[] = {"=", ">", "<", "!=", "op4"};
    Etcdserverpb__Compare *compare = arena_alloc(&t->arena, sizeof *compare);
    int target = -1, oper = -1;

    etcdserverpb__compare__init(compare);
    for (size_t i = 0; i < ARRAY_LEN(targets); i++)
        if (target < 0 && mt__take(t, targets[i]))
            target = (int)i;
    compare->key = mt__bytes(t);
    compare->range_end = mt__end(t);
    for (size_t i = 0; i < ARRAY_LEN(operators); i++)
        if (oper < 0 && mt__take(t, operators[i]))
            oper = (int)i;
    if (target < 0 || oper < 0)
        t->wrong = true;
    compare->target = (Etcdserverpb__Compare__CompareTarget)MAX(target, 0);
    compare->result = (Etcdserverpb__Compare__CompareResult)MAX(oper, 0);
    if (mt__take(t, "unset"))
        return compare;
    switch (target) {
    case 3:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        compare->value = mt__bytes(t);
        break;
    case 0:
    case 1:
    case 2:
        compare->target_union_case = (Etcdserverpb__Compare__TargetUnionCase)(4 + target);
        compare->version = mt__number(t);
        break;
    default:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
        compare->lease = mt__number(t);
        break;
    }
    return compare;
}

static Etcdserverpb__TxnRequest *mt__txn(struct machine_text *t);

static Etcdserverpb__RequestOp *mt__op(struct machine_text *t)
{
    Etcdserverpb__RequestOp *op = arena_alloc(&t->arena, sizeof *op);

    etcdserverpb__request_op__init(op);
    if (mt__take(t, "put")) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = mt__put(t);
    } else if (mt__take(t, "del")) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        op->request_delete_range = mt__del(t);
    } else if (mt__take(t, "range")) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        op->request_range = mt__range(t);
    } else if (mt__take(t, "txn")) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
        op->request_txn = mt__txn(t);
    } else if (!mt__take(t, "nothing")) {
        t->wrong = true;
    }
    return op;
}

static Etcdserverpb__TxnRequest *mt__txn(struct machine_text *t)
{
    Etcdserverpb__TxnRequest *txn = arena_alloc(&t->arena, sizeof *txn);

    etcdserverpb__txn_request__init(txn);
    txn->compare = arena_alloc(&t->arena, t->word_count * sizeof(void *));
    txn->success = arena_alloc(&t->arena, t->word_count * sizeof(void *));
    txn->failure = arena_alloc(&t->arena, t->word_count * sizeof(void *));
    if (!mt__take(t, "["))
        t->wrong = true;
    while (!t->wrong && !mt__take(t, "]")) {
        if (mt__take(t, "if"))
            txn->compare[txn->n_compare++] = mt__compare(t);
        else if (mt__take(t, "then"))
            txn->success[txn->n_success++] = mt__op(t);
        else if (mt__take(t, "else"))
            txn->failure[txn->n_failure++] = mt__op(t);
        else
            t->wrong = true;
    }
    return txn;
}

/* ---- answers ---- */

static void mt__print_bytes(struct machine_text *t, ProtobufCBinaryData bytes)
{
    if (bytes.len == 0)
        (void)buf_printf(&t->out, "\"\"");
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i] > 0x20 && bytes.data[i] < 0x7f)
            (void)buf_append_u8(&t->out, bytes.data[i]);
        else
            (void)buf_printf(&t->out, "\\x%02x", bytes.data[i]);
    }
}

static void mt__print_kv(struct machine_text *t, const Mvccpb__KeyValue *kv)
{
    mt__print_bytes(t, kv->key);
    (void)buf_printf(&t->out, "=");
    mt__print_bytes(t, kv->value);
    (void)buf_printf(&t->out, " c%" PRId64 " m%" PRId64 " v%" PRId64, kv->create_revision,
                     kv->mod_revision, kv->version);
    if (kv->lease != 0)
        (void)buf_printf(&t->out, " l%" PRId64, kv->lease);
}

static void mt__line(struct machine_text *t, int indent)
{
    (void)buf_printf(&t->out, "\n%*s", indent, "");
}

static void mt__print_put(struct machine_text *t, const Etcdserverpb__PutResponse *put, int indent)
{
    (void)buf_printf(&t->out, "revision %" PRId64, put->header->revision);
    if (put->prev_kv != NULL) {
        mt__line(t, indent);
        (void)buf_printf(&t->out, "prev ");
        mt__print_kv(t, put->prev_kv);
    }
}

static void mt__print_del(struct machine_text *t, const Etcdserverpb__DeleteRangeResponse *del,
                          int indent)
{
    (void)buf_printf(&t->out, "revision %" PRId64 " deleted %" PRId64, del->header->revision,
                     del->deleted);
    for (size_t i = 0; i < del->n_prev_kvs; i++) {
        mt__line(t, indent);
        (void)buf_printf(&t->out, "prev ");
        mt__print_kv(t, del->prev_kvs[i]);
    }
}

static void mt__print_range(struct machine_text *t, const Etcdserverpb__RangeResponse *range,
                            int indent)
{
    (void)buf_printf(&t->out, "revision %" PRId64 " count %" PRId64 "%s", range->header->revision,
                     range->count, range->more ? " more" : "");
    for (size_t i = 0; i < range->n_kvs; i++) {
        mt__line(t, indent);
        mt__print_kv(t, range->kvs[i]);
    }
}

static void mt__print_txn(struct machine_text *t, const Etcdserverpb__TxnResponse *txn, int indent)
{
    (void)buf_printf(&t->out, "revision %" PRId64 " %s", txn->header->revision,
                     txn->succeeded ? "succeeded" : "failed");
    for (size_t i = 0; i < txn->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = txn->responses[i];

        mt__line(t, indent);
        switch (op->response_case) {
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
            (void)buf_printf(&t->out, "put ");
            mt__print_put(t, op->response_put, indent + 2);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
            (void)buf_printf(&t->out, "del ");
            mt__print_del(t, op->response_delete_range, indent + 2);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
            (void)buf_printf(&t->out, "range ");
            mt__print_range(t, op->response_range, indent + 2);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN:
            (void)buf_printf(&t->out, "txn ");
            mt__print_txn(t, op->response_txn, indent + 2);
            break;
        default:
            (void)buf_printf(&t->out, "nothing");
            break;
        }
    }
}

static void mt__print_alarm(struct machine_text *t, const Etcdserverpb__AlarmResponse *alarm)
{
    (void)buf_printf(&t->out, "revision %" PRId64, alarm->header->revision);
    for (size_t i = 0; i < alarm->n_alarms; i++)
        (void)buf_printf(&t->out, " alarm %" PRIu64 " %d", alarm->alarms[i]->memberid,
                         (int)alarm->alarms[i]->alarm);
}

static void mt__print_state(struct machine_text *t)
{
    const struct machine *machine = t->machine;

    (void)buf_printf(&t->out, "revision %" PRId64 " compacted %" PRId64 " keys %zu",
                     mvcc_revision(machine->mvcc), mvcc_compact_revision(machine->mvcc),
                     mvcc_key_count(machine->mvcc));
    if (machine->downgrade_target != NULL) {
        mt__line(t, 2);
        (void)buf_printf(&t->out, "downgrade to %s", machine->downgrade_target);
    }
    for (size_t i = 0; i < machine->alarm_count; i++) {
        mt__line(t, 2);
        (void)buf_printf(&t->out, "alarm %" PRIu64 " %" PRIu32 "%s", machine->alarms[i].member,
                         machine->alarms[i].type,
                         machine->alarms[i].by_quota  ? " by quota"
                         : machine->alarms[i].healing ? " healing"
                                                      : "");
    }
    for (size_t i = 0; i < machine->member_count; i++) {
        const struct machine_member *member = &machine->members[i];

        mt__line(t, 2);
        (void)buf_printf(&t->out, "member %" PRIu64 " \"%s\" %s", member->id, member->name,
                         member->peer_url_count > 0 ? member->peer_urls[0] : "nowhere");
        for (size_t j = 0; j < member->client_url_count; j++)
            (void)buf_printf(&t->out, " %s", member->client_urls[j]);
        if (member->learner)
            (void)buf_printf(&t->out, " learner");
    }
    for (size_t i = 0; i < machine->removed_count; i++) {
        mt__line(t, 2);
        (void)buf_printf(&t->out, "removed %" PRIu64, machine->removed[i]);
    }
    for (size_t i = 0; i < machine->change_count; i++) {
        static const char *const kinds[] = {"add", "remove", "update", "promote"};
        const struct machine_change *change = &machine->changes[i];

        mt__line(t, 2);
        (void)buf_printf(&t->out, "waits: %s %" PRIu64 "%s%s%s", kinds[change->kind], change->id,
                         change->url_count > 0 ? " " : "",
                         change->url_count > 0 ? change->urls[0] : "",
                         change->learner ? " learner" : "");
    }
}

/* ---- running ---- */

static void mt__print_status(struct machine_text *t, enum status status)
{
    (void)buf_printf(&t->out, "%s", status_line(status)->text);
}

static struct author mt__author(const struct machine_text *t)
{
    struct author author = t->author;

    if (t->author_is_current)
        author.revision = t->machine->auth->revision;
    return author;
}

/* Packed, encoded, decoded, applied. */
static void mt__apply(struct machine_text *t, enum command_kind kind,
                      const ProtobufCMessage *request, struct machine_result *result)
{
    size_t len = protobuf_c_message_get_packed_size(request);
    struct command command = {.origin = 1, .ticket = 7, .kind = kind, .author = mt__author(t)};
    struct command decoded;
    struct buf bytes;
    struct slice rest;

    buf_init(&bytes, SIZE_MAX / 2);
    command.body = slice_of(arena_alloc(&t->arena, len), len);
    (void)protobuf_c_message_pack(request, (uint8_t *)(uintptr_t)command.body.data);
    ASSERT(command_encode(&command, &bytes) == 0);
    rest = arena_copy(&t->arena, buf_slice(&bytes));
    buf_release(&bytes);
    ASSERT(command_decode(&rest, &decoded) == 0);
    ASSERT(rest.len == 0);
    decoded.term = 1;
    machine_apply(t->machine, &decoded, true, &t->arena, result);
    if (result->code != 0)
        mt__print_status(t, status_of_error(result->code));
}

static void mt__run_put(struct machine_text *t)
{
    const Etcdserverpb__PutRequest *put = mt__put(t);
    enum status status = validate_put(put);
    struct machine_result result;

    if (status != STATUS_OK) {
        mt__print_status(t, status);
        return;
    }
    mt__apply(t, COMMAND_PUT, &put->base, &result);
    if (result.code == 0)
        mt__print_put(t, result.response, 2);
}

static void mt__run_del(struct machine_text *t)
{
    const Etcdserverpb__DeleteRangeRequest *del = mt__del(t);
    enum status status = validate_delete(del);
    struct machine_result result;

    if (status != STATUS_OK) {
        mt__print_status(t, status);
        return;
    }
    mt__apply(t, COMMAND_DELETE, &del->base, &result);
    if (result.code == 0)
        mt__print_del(t, result.response, 2);
}

static void mt__run_range(struct machine_text *t)
{
    const Etcdserverpb__RangeRequest *request = mt__range(t);
    enum status status = validate_range(request);
    struct mvcc_range_result result;
    struct mvcc_range range;
    struct author author;
    int rc;

    if (status != STATUS_OK) {
        mt__print_status(t, status);
        return;
    }
    author = mt__author(t);
    rc = permit_range(t->machine, &author, request);
    if (rc != 0) {
        mt__print_status(t, status_of_error(rc));
        return;
    }
    ASSERT(machine__range_of(request, &range));
    rc = mvcc_range(t->machine->mvcc, &range, &t->arena, &result);
    if (rc != 0)
        mt__print_status(t, status_of_error(rc));
    else
        mt__print_range(
            t, machine__range_response(&t->arena, &result, mvcc_revision(t->machine->mvcc)), 2);
}

static void mt__run_txn(struct machine_text *t)
{
    const Etcdserverpb__TxnRequest *txn = mt__txn(t);
    struct machine_result result;
    struct author author;
    enum status status;

    if (t->wrong)
        return;
    status = validate_txn(txn, t->ops_max, &t->arena);
    if (status != STATUS_OK) {
        mt__print_status(t, status);
        return;
    }
    if (txn_is_read_only(txn)) {
        author = mt__author(t);
        result.code = permit_txn(t->machine, &author, txn);
        if (result.code == 0)
            machine_read_txn(t->machine, txn, &t->arena, &result);
        if (result.code != 0)
            mt__print_status(t, status_of_error(result.code));
    } else {
        mt__apply(t, COMMAND_TXN, &txn->base, &result);
    }
    if (result.code == 0)
        mt__print_txn(t, result.response, 2);
}

static void mt__run_compact(struct machine_text *t)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    const Etcdserverpb__CompactionResponse *response;
    struct machine_result result;

    request.revision = mt__number(t);
    mt__apply(t, COMMAND_COMPACT, &request.base, &result);
    response = result.response;
    if (result.code == 0)
        (void)buf_printf(&t->out, "revision %" PRId64, response->header->revision);
}

static void mt__run_alarm(struct machine_text *t)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    struct machine_result result;

    if (mt__take(t, "activate"))
        request.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    else if (mt__take(t, "deactivate"))
        request.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
    request.memberid = (uint64_t)mt__number(t);
    if (mt__take(t, "nospace"))
        request.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    else if (mt__take(t, "corrupt"))
        request.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
    else if (!mt__take(t, "none"))
        t->wrong = true;
    mt__apply(t, COMMAND_ALARM, &request.base, &result);
    if (result.code == 0)
        mt__print_alarm(t, result.response);
}

static void mt__run_space(struct machine_text *t)
{
    Kvdpb__SpaceAlarm request = KVDPB__SPACE_ALARM__INIT;
    struct machine_result result;

    request.raised = mt__take(t, "raise");
    if (!request.raised && !mt__take(t, "clear"))
        t->wrong = true;
    request.member_id = (uint64_t)mt__number(t);
    mt__apply(t, COMMAND_SPACE, &request.base, &result);
    if (result.code == 0)
        (void)buf_printf(&t->out, "revision %" PRId64, result.revision);
}

static void mt__run_corrupt(struct machine_text *t, bool raised, bool healing)
{
    Kvdpb__CorruptAlarm request = KVDPB__CORRUPT_ALARM__INIT;
    struct machine_result result;

    request.member_id = (uint64_t)mt__number(t);
    request.raised = raised;
    request.healing = healing;
    mt__apply(t, COMMAND_CORRUPT, &request.base, &result);
    if (result.code == 0)
        (void)buf_printf(&t->out, "revision %" PRId64, result.revision);
    if (result.odd != 0)
        (void)buf_printf(&t->out, " odd %" PRIu64, result.odd);
}

static void mt__run_downgrade(struct machine_text *t)
{
    Kvdpb__Downgrade request = KVDPB__DOWNGRADE__INIT;
    struct machine_result result;

    request.enabled = !mt__take(t, "off");
    if (request.enabled)
        request.target = mt__text(t, mt__word(t));
    mt__apply(t, COMMAND_DOWNGRADE, &request.base, &result);
    if (result.code == 0)
        (void)buf_printf(&t->out, "revision %" PRId64, result.revision);
}

static void mt__print_ended(struct machine_text *t)
{
    const struct machine_change_end *end = &t->machine->ended;

    if (end->origin == 0)
        return;
    (void)buf_printf(&t->out, "the first has ended: ");
    if (end->code == 0)
        (void)buf_printf(&t->out, "done");
    else
        mt__print_status(t, status_of_error(end->code));
}

static void mt__run_member(struct machine_text *t)
{
    static const char *const kinds[] = {"add", "remove", "update", "promote", "replace"};
    Kvdpb__MemberChange change = KVDPB__MEMBER_CHANGE__INIT;
    struct machine_result result;
    char *url;
    int kind = 0;

    while (kind < 4 && !mt__take(t, kinds[kind]))
        kind++;
    if (kind == 4)
        (void)mt__take(t, kinds[kind]);
    change.kind = (Kvdpb__MemberChange__Kind)kind;
    change.id = (uint64_t)mt__number(t);
    change.max_learners = 1;
    if (kind == 0 || kind == 2) {
        url = mt__text(t, mt__word(t));
        change.peerurls = &url;
        change.n_peerurls = 1;
    }
    if (kind == 4)
        change.new_id = (uint64_t)mt__number(t);
    change.learner = mt__take(t, "learner");
    mt__apply(t, COMMAND_MEMBER, &change.base, &result);
    if (result.code == 0)
        (void)buf_printf(&t->out, "waits");
}

static void mt__run_drop(struct machine_text *t)
{
    const struct machine_change *first = t->machine->changes;
    Kvdpb__MemberDrop drop = KVDPB__MEMBER_DROP__INIT;
    struct machine_result result;

    drop.term = (uint64_t)mt__number(t);
    drop.reason = (Kvdpb__MemberDrop__Reason)mt__number(t);
    if (t->machine->change_count > 0) {
        drop.origin = first->origin;
        drop.ticket = first->ticket;
    }
    mt__apply(t, COMMAND_MEMBER_DROP, &drop.base, &result);
    mt__print_ended(t);
}

static void mt__run_configure(struct machine_text *t)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    size_t count = 0;

    while (t->next < t->word_count && count < REPLICA_MEMBERS_MAX) {
        members[count].id = (uint64_t)mt__number(t);
        members[count].address = mt__text(t, mt__word(t));
        members[count].voter = mt__take(t, "voter");
        if (!members[count].voter && !mt__take(t, "learner"))
            t->wrong = true;
        count++;
    }
    machine_configure(t->machine, members, count);
    mt__print_ended(t);
}

static void mt__run_publish(struct machine_text *t)
{
    Kvdpb__Publish request = KVDPB__PUBLISH__INIT;
    struct machine_result result;
    char *url;

    request.member_id = (uint64_t)mt__number(t);
    request.name = mt__text(t, mt__word(t));
    if (t->next < t->word_count) {
        url = mt__text(t, mt__word(t));
        request.client_urls = &url;
        request.n_client_urls = 1;
    }
    mt__apply(t, COMMAND_PUBLISH, &request.base, &result);
    if (result.code == 0)
        (void)buf_printf(&t->out, "revision %" PRId64, result.revision);
}

static void mt__run_grant(struct machine_text *t)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    const Etcdserverpb__LeaseGrantResponse *response;
    struct machine_result result;

    request.id = mt__number(t);
    request.ttl = mt__number(t);
    mt__apply(t, COMMAND_LEASE_GRANT, &request.base, &result);
    response = result.response;
    if (result.code == 0)
        (void)buf_printf(&t->out, "revision %" PRId64 " lease %" PRId64 " ttl %" PRId64,
                         response->header->revision, response->id, response->ttl);
}

static void mt__run_revoke(struct machine_text *t)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    const Etcdserverpb__LeaseRevokeResponse *response;
    struct machine_result result;

    request.id = mt__number(t);
    mt__apply(t, COMMAND_LEASE_REVOKE, &request.base, &result);
    response = result.response;
    if (result.code == 0)
        (void)buf_printf(&t->out, "revision %" PRId64, response->header->revision);
}

static void mt__run_expire(struct machine_text *t)
{
    Kvdpb__LeaseExpire request = KVDPB__LEASE_EXPIRE__INIT;
    struct machine_result result;

    request.id = mt__number(t);
    request.term = (uint64_t)mt__number(t);
    request.grant = t->next < t->word_count ? (uint64_t)mt__number(t)
                                            : leases_grant_number(t->machine->leases, request.id);
    mt__apply(t, COMMAND_LEASE_EXPIRE, &request.base, &result);
    if (result.code == 0)
        (void)buf_printf(&t->out, "revision %" PRId64, result.revision);
}

static void mt__run_checkpoint(struct machine_text *t)
{
    Kvdpb__LeaseCheckpoint request = KVDPB__LEASE_CHECKPOINT__INIT;
    Kvdpb__LeaseRemaining each = KVDPB__LEASE_REMAINING__INIT, *leases = &each;
    struct machine_result result;

    each.id = mt__number(t);
    each.remaining_ms = (uint64_t)mt__number(t);
    request.term = (uint64_t)mt__number(t);
    each.grant = t->next < t->word_count ? (uint64_t)mt__number(t)
                                         : leases_grant_number(t->machine->leases, each.id);
    request.leases = &leases;
    request.n_leases = 1;
    mt__apply(t, COMMAND_LEASE_CHECKPOINT, &request.base, &result);
    if (result.code == 0)
        (void)buf_printf(&t->out, "revision %" PRId64, result.revision);
}

static void mt__print_lease_key(void *ctx, struct slice key)
{
    struct machine_text *t = ctx;

    (void)buf_printf(&t->out, " ");
    mt__print_bytes(t, pb_of_slice(key));
}

static void mt__print_leases(struct machine_text *t)
{
    const struct leases *leases = t->machine->leases;
    size_t count = leases_count(leases);
    int64_t *ids = arena_alloc(&t->arena, count * sizeof *ids);
    struct lease_time time;

    leases_list(leases, ids);
    (void)buf_printf(&t->out, "leases %zu", count);
    for (size_t i = 0; i < count; i++) {
        leases_time(leases, ids[i], 0, &time);
        mt__line(t, 2);
        (void)buf_printf(&t->out, "%" PRId64 " ttl %" PRId64, ids[i], time.ttl);
        leases_each_key(leases, ids[i], mt__print_lease_key, t);
    }
}

/* Runs one request; the answer is valid until the next call. */
/* ---- authentication ---- */

static void mt__run_as(struct machine_text *t)
{
    struct slice name = mt__word(t);

    t->author = (struct author){.kind = AUTHOR_NOBODY};
    if (mt__is(name, "member"))
        t->author.kind = AUTHOR_MEMBER;
    if (mt__is(name, "member") || mt__is(name, "nobody"))
        return;
    if (name.len >= sizeof t->user) {
        t->wrong = true;
        return;
    }
    memcpy(t->user, name.data, name.len);
    t->author.kind = AUTHOR_USER;
    t->author.user = slice_of(t->user, name.len);
    t->author_is_current = t->next == t->word_count;
    if (!t->author_is_current)
        t->author.revision = (uint64_t)mt__number(t);
}

static Authpb__Permission *mt__permission(struct machine_text *t)
{
    static const char *const types[] = {"read", "write", "readwrite"};
    Authpb__Permission *permission = arena_alloc(&t->arena, sizeof *permission);
    struct slice type = mt__word(t);
    size_t i = 0;

    authpb__permission__init(permission);
    while (i < ARRAY_LEN(types) && !mt__is(type, types[i]))
        i++;
    t->wrong = t->wrong || i == ARRAY_LEN(types);
    permission->permtype = (Authpb__Permission__Type)i;
    permission->key = mt__bytes(t);
    permission->range_end = mt__end(t);
    return permission;
}

#define MT_CHANGE(member, CASE, Type, init_name)                                                   \
    change.member = arena_alloc(&t->arena, sizeof(Etcdserverpb__##Type));                          \
    etcdserverpb__##init_name##__init(change.member);                                              \
    change.change_case = KVDPB__AUTH_CHANGE__CHANGE_##CASE

static void mt__run_auth(struct machine_text *t)
{
    /* base64 of "$2a$", as good as any: nobody checks it here */
    static char hash[] = "JDJhJA==";
    Kvdpb__AuthChange change = KVDPB__AUTH_CHANGE__INIT;
    struct machine_result result;

    if (mt__take(t, "enable")) {
        MT_CHANGE(enable, ENABLE, AuthEnableRequest, auth_enable_request);
    } else if (mt__take(t, "disable")) {
        MT_CHANGE(disable, DISABLE, AuthDisableRequest, auth_disable_request);
    } else if (mt__take(t, "user")) {
        MT_CHANGE(user_add, USER_ADD, AuthUserAddRequest, auth_user_add_request);
        change.user_add->name = mt__text(t, mt__word(t));
        change.user_add->hashedpassword = hash;
        if (mt__take(t, "none")) {
            change.user_add->options = arena_alloc(&t->arena, sizeof(Authpb__UserAddOptions));
            authpb__user_add_options__init(change.user_add->options);
            change.user_add->options->no_password = true;
        }
    } else if (mt__take(t, "no_user")) {
        MT_CHANGE(user_delete, USER_DELETE, AuthUserDeleteRequest, auth_user_delete_request);
        change.user_delete->name = mt__text(t, mt__word(t));
    } else if (mt__take(t, "password")) {
        MT_CHANGE(user_change_password, USER_CHANGE_PASSWORD, AuthUserChangePasswordRequest,
                  auth_user_change_password_request);
        change.user_change_password->name = mt__text(t, mt__word(t));
        change.user_change_password->hashedpassword = hash;
    } else if (mt__take(t, "grant")) {
        MT_CHANGE(user_grant_role, USER_GRANT_ROLE, AuthUserGrantRoleRequest,
                  auth_user_grant_role_request);
        change.user_grant_role->user = mt__text(t, mt__word(t));
        change.user_grant_role->role = mt__text(t, mt__word(t));
    } else if (mt__take(t, "revoke")) {
        MT_CHANGE(user_revoke_role, USER_REVOKE_ROLE, AuthUserRevokeRoleRequest,
                  auth_user_revoke_role_request);
        change.user_revoke_role->name = mt__text(t, mt__word(t));
        change.user_revoke_role->role = mt__text(t, mt__word(t));
    } else if (mt__take(t, "role")) {
        MT_CHANGE(role_add, ROLE_ADD, AuthRoleAddRequest, auth_role_add_request);
        change.role_add->name = mt__text(t, mt__word(t));
    } else if (mt__take(t, "no_role")) {
        MT_CHANGE(role_delete, ROLE_DELETE, AuthRoleDeleteRequest, auth_role_delete_request);
        change.role_delete->role = mt__text(t, mt__word(t));
    } else if (mt__take(t, "permit")) {
        MT_CHANGE(role_grant_permission, ROLE_GRANT_PERMISSION, AuthRoleGrantPermissionRequest,
                  auth_role_grant_permission_request);
        change.role_grant_permission->name = mt__text(t, mt__word(t));
        change.role_grant_permission->perm = mt__permission(t);
    } else if (mt__take(t, "nothing")) {
        MT_CHANGE(role_grant_permission, ROLE_GRANT_PERMISSION, AuthRoleGrantPermissionRequest,
                  auth_role_grant_permission_request);
        change.role_grant_permission->name = mt__text(t, mt__word(t));
    } else if (mt__take(t, "forbid")) {
        MT_CHANGE(role_revoke_permission, ROLE_REVOKE_PERMISSION, AuthRoleRevokePermissionRequest,
                  auth_role_revoke_permission_request);
        change.role_revoke_permission->role = mt__text(t, mt__word(t));
        change.role_revoke_permission->key = mt__bytes(t);
        change.role_revoke_permission->range_end = mt__end(t);
    } else {
        t->wrong = true;
    }
    if (t->wrong)
        return;
    mt__apply(t, COMMAND_AUTH, &change.base, &result);
    if (result.code == 0)
        (void)buf_printf(&t->out, "auth revision %" PRIu64, t->machine->auth->revision);
}

static void mt__run_login(struct machine_text *t)
{
    static uint8_t hash[32];
    Kvdpb__Authenticate login = KVDPB__AUTHENTICATE__INIT;
    struct machine_result result;

    login.name = mt__text(t, mt__word(t));
    login.revision = (uint64_t)mt__number(t);
    login.token_hash = (ProtobufCBinaryData){.data = hash, .len = sizeof hash};
    mt__apply(t, COMMAND_AUTHENTICATE, &login.base, &result);
    if (result.code == 0)
        (void)buf_printf(&t->out, "auth revision %" PRIu64, t->machine->auth->revision);
}

static void mt__print_users(struct machine_text *t)
{
    static const char *const types[] = {"read", "write", "readwrite"};
    const struct auth_store *store = t->machine->auth;

    (void)buf_printf(&t->out, "%s revision %" PRIu64, store->enabled ? "on" : "off",
                     store->revision);
    for (size_t i = 0; i < store->user_count; i++) {
        const struct auth_user *user = store->users[i];

        mt__line(t, 1);
        (void)buf_printf(&t->out, "user %s%s:", user->name, user->no_password ? " none" : "");
        for (size_t j = 0; j < user->role_count; j++)
            (void)buf_printf(&t->out, " %s", user->roles[j]);
    }
    for (size_t i = 0; i < store->role_count; i++) {
        const struct auth_role *role = store->roles[i];

        mt__line(t, 1);
        (void)buf_printf(&t->out, "role %s:", role->name);
        for (size_t j = 0; j < role->permission_count; j++) {
            const struct auth_permission *each = &role->permissions[j];

            (void)buf_printf(&t->out, " %s ", types[each->type]);
            mt__print_bytes(t, pb_of_slice(each->key));
            if (each->range_end.len > 0)
                (void)buf_printf(&t->out, "..");
            if (each->range_end.len > 0)
                mt__print_bytes(t, pb_of_slice(each->range_end));
        }
    }
}

static UNUSED const char *machine_text_run(struct machine_text *t, const char *text)
{
    arena_reset(&t->arena);
    buf_reset(&t->out);
    t->wrong = false;
    mt__split(t, text);

    if (mt__take(t, "put"))
        mt__run_put(t);
    else if (mt__take(t, "del"))
        mt__run_del(t);
    else if (mt__take(t, "range"))
        mt__run_range(t);
    else if (mt__take(t, "txn"))
        mt__run_txn(t);
    else if (mt__take(t, "compact"))
        mt__run_compact(t);
    else if (mt__take(t, "alarm"))
        mt__run_alarm(t);
    else if (mt__take(t, "space"))
        mt__run_space(t);
    else if (mt__take(t, "odd"))
        mt__run_corrupt(t, true, true);
    else if (mt__take(t, "split"))
        mt__run_corrupt(t, true, false);
    else if (mt__take(t, "agrees"))
        mt__run_corrupt(t, false, true);
    else if (mt__take(t, "downgrade"))
        mt__run_downgrade(t);
    else if (mt__take(t, "publish"))
        mt__run_publish(t);
    else if (mt__take(t, "member"))
        mt__run_member(t);
    else if (mt__take(t, "drop"))
        mt__run_drop(t);
    else if (mt__take(t, "configure"))
        mt__run_configure(t);
    else if (mt__take(t, "grant"))
        mt__run_grant(t);
    else if (mt__take(t, "revoke"))
        mt__run_revoke(t);
    else if (mt__take(t, "expire"))
        mt__run_expire(t);
    else if (mt__take(t, "checkpoint"))
        mt__run_checkpoint(t);
    else if (mt__take(t, "as"))
        mt__run_as(t);
    else if (mt__take(t, "auth"))
        mt__run_auth(t);
    else if (mt__take(t, "login"))
        mt__run_login(t);
    else if (mt__take(t, "users"))
        mt__print_users(t);
    else if (mt__take(t, "leases"))
        mt__print_leases(t);
    else if (mt__take(t, "state"))
        mt__print_state(t);
    else if (mt__take(t, "sweep"))
        while (mvcc_compact_step(t->machine->mvcc, 7))
            ;
    else
        t->wrong = true;
    if (t->next != t->word_count)
        t->wrong = true;
    if (t->wrong) {
        buf_reset(&t->out);
        (void)buf_printf(&t->out, "NOT A REQUEST: %s", text);
    }
    (void)buf_append_u8(&t->out, '\0');
    return (const char *)t->out.data;
}

#endif
