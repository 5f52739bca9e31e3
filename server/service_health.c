/* grpc.health.v1.Health (etcd-api.md section 12): the whole server is "", and serves while it is
 * up. Watch says so once and stays open; its end says that the member stops. */
#include "proto/health.pb-c.h"
#include "server/service.h"

static bool is_known(const Grpc__Health__V1__HealthCheckRequest *request)
{
    return request->service[0] == '\0';
}

void service_health_check(struct grpc_call *call, struct slice message)
{
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    const Grpc__Health__V1__HealthCheckRequest *request;

    request = service_begin(call, message, &grpc__health__v1__health_check_request__descriptor);
    if (request == NULL)
        return;
    if (!is_known(request)) {
        service_fail(call, STATUS_UNKNOWN_SERVICE);
        return;
    }
    response.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    service_reply(call, &response.base);
}

static void cancel_watch(struct waiter *waiter)
{
    struct open_stream *stream = CONTAINER_OF(waiter, struct open_stream, waiter);

    list_remove(&stream->link);
}

void service_health_watch(struct grpc_call *call, struct slice message)
{
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    const Grpc__Health__V1__HealthCheckRequest *request;
    struct open_stream *stream;
    uint8_t *out;

    request = service_begin(call, message, &grpc__health__v1__health_check_request__descriptor);
    if (request == NULL)
        return;
    response.status =
        is_known(request)
            ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
            : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    out = grpc_call_message(call, protobuf_c_message_get_packed_size(&response.base));
    (void)protobuf_c_message_pack(&response.base, out); /* writes the size it said */
    grpc_call_send(call);

    stream = arena_alloc(grpc_call_arena(call), sizeof *stream);
    *stream = (struct open_stream){.waiter.cancel = cancel_watch, .call = call};
    list_push_back(&service_member(call)->streams, &stream->link);
    grpc_call_set_data(call, &stream->waiter);
}
