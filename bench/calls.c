/* One unary call, and the closed loop made of many. */
#include <stdlib.h>

#include "base/mem.h"
#include "bench/bench.h"

enum { CALL_TIMEOUT_MS = 30000 };

/* ---- one call ---- */

uint64_t call_us(const struct call *call)
{
    return (uv_hrtime() - call->began_ns) / 1000;
}

static void on_message(void *ctx, struct slice message)
{
    struct call *call = ctx;

    call->wrong = call->answered ? "a second answer to one request" : call->check(call, message);
    call->answered = true;
}

static void on_done(void *ctx, enum grpc_status status, const char *message, enum grpc_sent sent)
{
    struct call *call = ctx;

    (void)sent;
    call->bench->outstanding--;
    if (status != GRPC_OK)
        call->done(call, *message != 0 ? message : grpc_status_name(status));
    else
        call->done(call, call->answered ? call->wrong : "there is no answer in the answer");
}

void call_send(struct call *call, const char *path, struct slice message)
{
    static const struct grpc_stream_events events = {.on_message = on_message, .on_done = on_done};
    struct grpc_stream *stream;

    call->answered = false;
    call->wrong = NULL;
    call->began_ns = uv_hrtime();
    /* Fails only on a connection that is going down, which ends the run. */
    if (reach_call(&call->bench->reach, call->conn, path,
                   call->timeout_ms != 0 ? call->timeout_ms : CALL_TIMEOUT_MS, &events, call,
                   &stream) != 0 ||
        grpc_stream_send(stream, message, 1) != 0)
        return;
    call->bench->outstanding++;
}

/* ---- the closed loop ---- */

static void send_next(struct client *client)
{
    struct bench *bench = client->call.bench;
    const char *path;

    buf_reset(&bench->message);
    path = bench->workload->request(client, &bench->message);
    call_send(&client->call, path, buf_slice(&bench->message));
}

static const char *check(struct call *call, struct slice answer)
{
    return call->bench->workload->answer(CONTAINER_OF(call, struct client, call), answer);
}

static void done(struct call *call, const char *error)
{
    struct bench *bench = call->bench;

    bench_count(bench, call_us(call));
    if (error != NULL)
        bench_error(bench, "%s", error);
    if (bench_sending(bench))
        send_next(CONTAINER_OF(call, struct client, call));
    else if (bench->phase == PHASE_FINISH && bench->outstanding == 0)
        bench->workload->finish(bench);
}

void calls_start(struct bench *bench)
{
    struct closed_loop *loop = bench->state;

    loop->clients = xcalloc(bench->options->clients, sizeof *loop->clients);
    for (uint64_t i = 0; i < bench->options->clients; i++) {
        struct client *client = &loop->clients[i];

        client->index = i;
        client->call = (struct call){
            .bench = bench, .conn = bench_conn(bench, i), .check = check, .done = done};
        send_next(client);
    }
}

void calls_finish(struct bench *bench)
{
    if (bench->outstanding == 0)
        bench_finished(bench);
}

void calls_release(struct bench *bench)
{
    struct closed_loop *loop = bench->state;

    free(loop->clients);
}
