/* Every method and every command has a rule; what has none is denied. The table is written down
 * here a second time, from etcd-api.md section 10: a method that is new has to be thought about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/util.h"
#include "server/auth_calls.h"
#include "server/services.h"

static const struct {
    const char *method;
    enum call_rule rule;
} expected[] = {
    {"etcdserverpb.KV/Range", CALL_REQUEST},
    {"etcdserverpb.KV/RangeStream", CALL_REQUEST},
    {"etcdserverpb.KV/Put", CALL_COMMAND},
    {"etcdserverpb.KV/DeleteRange", CALL_COMMAND},
    {"etcdserverpb.KV/Txn", CALL_REQUEST},
    {"etcdserverpb.KV/Compact", CALL_COMMAND},
    {"etcdserverpb.Watch/Watch", CALL_REQUEST},
    {"etcdserverpb.Lease/LeaseGrant", CALL_COMMAND},
    {"etcdserverpb.Lease/LeaseRevoke", CALL_COMMAND},
    {"etcdserverpb.Lease/LeaseLeases", CALL_REQUEST},
    {"etcdserverpb.Lease/LeaseTimeToLive", CALL_REQUEST},
    {"etcdserverpb.Lease/LeaseKeepAlive", CALL_REQUEST},
    {"etcdserverpb.Cluster/MemberAdd", CALL_ROOT},
    {"etcdserverpb.Cluster/MemberRemove", CALL_ROOT},
    {"etcdserverpb.Cluster/MemberUpdate", CALL_ROOT},
    {"etcdserverpb.Cluster/MemberList", CALL_USER},
    {"etcdserverpb.Cluster/MemberPromote", CALL_ROOT},
    {"etcdserverpb.Maintenance/Alarm", CALL_USER}, /* and what changes is a command */
    {"etcdserverpb.Maintenance/Status", CALL_USER},
    {"etcdserverpb.Maintenance/Defragment", CALL_ROOT},
    {"etcdserverpb.Maintenance/Hash", CALL_ROOT},
    {"etcdserverpb.Maintenance/HashKV", CALL_ROOT},
    {"etcdserverpb.Maintenance/Snapshot", CALL_ROOT},
    {"etcdserverpb.Maintenance/MoveLeader", CALL_ROOT},
    {"etcdserverpb.Maintenance/Downgrade", CALL_ROOT},
    {"etcdserverpb.Auth/AuthEnable", CALL_COMMAND},
    {"etcdserverpb.Auth/AuthDisable", CALL_COMMAND},
    {"etcdserverpb.Auth/AuthStatus", CALL_REQUEST},
    {"etcdserverpb.Auth/Authenticate", CALL_OPEN},
    {"etcdserverpb.Auth/UserAdd", CALL_COMMAND},
    {"etcdserverpb.Auth/UserGet", CALL_REQUEST},
    {"etcdserverpb.Auth/UserList", CALL_REQUEST},
    {"etcdserverpb.Auth/UserDelete", CALL_COMMAND},
    {"etcdserverpb.Auth/UserChangePassword", CALL_COMMAND},
    {"etcdserverpb.Auth/UserGrantRole", CALL_COMMAND},
    {"etcdserverpb.Auth/UserRevokeRole", CALL_COMMAND},
    {"etcdserverpb.Auth/RoleAdd", CALL_COMMAND},
    {"etcdserverpb.Auth/RoleGet", CALL_REQUEST},
    {"etcdserverpb.Auth/RoleList", CALL_REQUEST},
    {"etcdserverpb.Auth/RoleDelete", CALL_COMMAND},
    {"etcdserverpb.Auth/RoleGrantPermission", CALL_COMMAND},
    {"etcdserverpb.Auth/RoleRevokePermission", CALL_COMMAND},
    {"v3lockpb.Lock/Lock", CALL_COMMAND},
    {"v3lockpb.Lock/Unlock", CALL_COMMAND},
    {"v3electionpb.Election/Campaign", CALL_COMMAND},
    {"v3electionpb.Election/Proclaim", CALL_COMMAND},
    {"v3electionpb.Election/Leader", CALL_REQUEST},
    {"v3electionpb.Election/Observe", CALL_REQUEST},
    {"v3electionpb.Election/Resign", CALL_COMMAND},
    {"grpc.health.v1.Health/Check", CALL_OPEN},
    {"grpc.health.v1.Health/Watch", CALL_OPEN},
};

static enum call_rule expected_rule(const struct grpc_method *method)
{
    char name[128];

    (void)snprintf(name, sizeof name, "%s/%s", method->service, method->name);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        if (strcmp(expected[i].method, name) == 0)
            return expected[i].rule;
    fail_msg("%s has no row here: what must who calls it be allowed?", name);
    return CALL_DENIED;
}

static void every_method_has_the_rule_it_should_have(void **state)
{
    const struct grpc_method *methods;
    size_t count;

    (void)state;
    methods = services_methods(&count);
    for (size_t i = 0; i < count; i++) {
        assert_int_not_equal(auth_rule(&methods[i]), CALL_DENIED);
        assert_int_equal(auth_rule(&methods[i]), expected_rule(&methods[i]));
    }
    assert_int_equal(count, ARRAY_LEN(expected));
}

/* ---- commands ---- */

/* What members make for themselves, and what checks by itself. */
static bool is_members_own(int kind)
{
    return kind == COMMAND_PUBLISH || kind == COMMAND_LEASE_EXPIRE ||
           kind == COMMAND_LEASE_CHECKPOINT || kind == COMMAND_SPACE ||
           kind == COMMAND_AUTHENTICATE;
}

/* Bodies are empty messages: none of these may do even nothing. */
static void every_command_of_nobody_is_denied(void **state)
{
    struct machine *machine = machine_new(1, NULL, 0);
    struct arena arena = ARENA_INIT;

    (void)state;
    machine->auth->enabled = true;
    for (int kind = 0; kind <= COMMAND_KIND_MAX; kind++) {
        struct command command = {.kind = (enum command_kind)kind};
        struct machine_result result;

        machine_apply(machine, &command, true, &arena, &result);
        if (!is_members_own(kind))
            assert_true(result.code == KV_EUSEREMPTY || result.code == KV_EPROTO);
        /* A kind that has no rule is root's. */
        if (!is_members_own(kind) && kind != COMMAND_PUT && kind != COMMAND_DELETE &&
            kind != COMMAND_TXN && kind != COMMAND_LEASE_GRANT && kind != COMMAND_LEASE_REVOKE)
            assert_int_equal(permit_command(machine, &command, NULL), KV_EUSEREMPTY);
    }
    arena_release(&arena);
    machine_free(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_has_the_rule_it_should_have),
        cmocka_unit_test(every_command_of_nobody_is_denied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
