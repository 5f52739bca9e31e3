/* The error table of etcd-api.md section 14, written down a second time as that page has it: code,
 * texts separated by bars, prefix or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "server/status.h"

struct row {
    int code;
    const char *prefix;
    const char *texts;
};

static const struct row rows[] = {
    {3, "etcdserver: ",
     "key is not provided|key not found|value is provided|lease is provided|too many operations in "
     "txn request|duplicate key given in txn request|invalid sort option|invalid client api "
     "version|given member URLs are invalid|request is too large|user name is empty|role name is "
     "empty|authentication failed, invalid user ID or password|permission not given|invalid auth "
     "management|revision of auth store is old|wrong downgrade target version format|invalid "
     "downgrade target version"},
    {5, "etcdserver: ", "requested lease not found|member not found"},
    {7, "etcdserver: ", "permission denied"},
    {8, "etcdserver: ", "mvcc: database space exceeded"},
    {9, "etcdserver: ",
     "lease already exists|member ID already exist|Peer URLs already exists|can only promote a "
     "learner member|can only promote a learner member which is in sync with leader|too many "
     "learner members in cluster|cluster ID mismatch|root user does not exist|root user does not "
     "have root role|user name already exists|user name not found|role name already exists|role "
     "name not found|role is not granted to the user|permission is not granted to the "
     "role|authentication is not enabled|not leader|bad leader transferee|cluster has a downgrade "
     "job in progress|no inflight downgrade job|not capable|rpc not supported for learner|cluster "
     "version not found during downgrade"},
    {11, "etcdserver: ",
     "mvcc: required revision has been compacted|mvcc: required revision is a future revision|too "
     "large lease TTL"},
    {14, "etcdserver: ",
     "no leader|leader changed|server stopped|request timed out|request timed out, possibly due to "
     "previous leader failure|request timed out, possibly due to connection lost|request timed "
     "out, waiting for the applied index took too long|unhealthy cluster"},
    {15, "etcdserver: ", "corrupt cluster"},
    {16, "etcdserver: ", "invalid auth token"},
    {1, "etcdserver: ", "watch canceled|request canceled"},
    {1, "", "context canceled"},
    {4, "", "context deadline exceeded"},
    {2, "etcdserver: ",
     "too many requests|re-configuration failed due to not enough started members|request timed "
     "out, leader transfer took too long|unknown method"},
    {2, "",
     "mutex: session is expired|election: session is expired|election: not leader|election: no "
     "leader|\"leader\" field must be provided|"
     "auth: authentication failed, password was given for no password user|bcrypt: password length "
     "exceeds 72 bytes|auth: token signing attempted with verify-only key"},
    {5, "", "unknown service"},
    {13, "", "grpc: error unmarshalling request: malformed message"},
    {12, "",
     "RangeStream does not support custom sort orders|RangeStream does not support revision "
     "filters"},
    /* Ours. */
    {8, "etcdserver: ",
     "long ranges under way take too much memory: ask for fewer keys at a time, without sorting, "
     "or read faster|the ranges of the txn give too many keys to answer: ask for fewer at a time"},
};

static const struct status_line *find(const char *prefix, const char *text, size_t len)
{
    for (int i = STATUS_OK + 1; i < STATUS_COUNT; i++) {
        const struct status_line *line = status_line((enum status)i);

        if (strncmp(line->text, prefix, strlen(prefix)) == 0 &&
            strlen(line->text) == strlen(prefix) + len &&
            strncmp(line->text + strlen(prefix), text, len) == 0)
            return line;
    }
    return NULL;
}

static void every_text_of_the_reference_is_there_with_its_code(void **state)
{
    int found = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *text = rows[i].texts;

        while (*text != '\0') {
            size_t len = strcspn(text, "|");
            const struct status_line *line = find(rows[i].prefix, text, len);

            if (line == NULL)
                fail_msg("missing: %.*s", (int)len, text);
            else
                assert_int_equal(line->code, rows[i].code);
            found++;
            text += len + (text[len] == '|');
        }
    }
    /* And nothing else, but the text for what can not happen. */
    assert_int_equal(found, STATUS_COUNT - 2);
}

static void no_text_stands_there_twice(void **state)
{
    (void)state;
    for (int i = STATUS_OK + 1; i < STATUS_COUNT; i++)
        for (int j = STATUS_OK + 1; j < i; j++)
            assert_string_not_equal(status_line((enum status)i)->text,
                                    status_line((enum status)j)->text);
}

static void api_errors_of_ours_map_to_their_etcd_text(void **state)
{
    static const struct {
        int error;
        const char *text;
    } map[] = {
        {KV_ECOMPACTED, "etcdserver: mvcc: required revision has been compacted"},
        {KV_EFUTURE, "etcdserver: mvcc: required revision is a future revision"},
        {KV_EKEYNOTFOUND, "etcdserver: key not found"},
        {KV_ELEASENOTFOUND, "etcdserver: requested lease not found"},
        {KV_ENOQUOTA, "etcdserver: mvcc: database space exceeded"},
        {KV_ECORRUPT, "etcdserver: corrupt cluster"},
        {KV_EBUSY, "etcdserver: cluster has a downgrade job in progress"},
        {KV_ETOOBIG, "etcdserver: request is too large"},
        {KV_ETIMEDOUT, "etcdserver: request timed out"},
        {KV_ENOLEADER, "etcdserver: no leader"},
        {KV_ELEADERCHANGED, "etcdserver: leader changed"},
        {KV_ENOTLEADER, "etcdserver: not leader"},
        {KV_ESTOPPED, "etcdserver: server stopped"},
        {KV_EPROTO, "grpc: error unmarshalling request: malformed message"},
        {KV_EIO, "etcdserver: internal error"},
        {-1, "etcdserver: internal error"},
    };

    (void)state;
    assert_int_equal(status_of_error(0), STATUS_OK);
    for (size_t i = 0; i < ARRAY_LEN(map); i++)
        assert_string_equal(status_line(status_of_error(map[i].error))->text, map[i].text);
}

static void every_error_of_ours_has_a_status_that_is_not_ok(void **state)
{
    (void)state;
#define X(name, text) assert_int_not_equal(status_of_error(name), STATUS_OK);
    KV_ERROR_MAP(X)
#undef X
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_of_the_reference_is_there_with_its_code),
        cmocka_unit_test(no_text_stands_there_twice),
        cmocka_unit_test(api_errors_of_ours_map_to_their_etcd_text),
        cmocka_unit_test(every_error_of_ours_has_a_status_that_is_not_ok),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
