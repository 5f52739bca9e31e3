/* Transcripts of the state machine: see transcripts.h, and tests/lib/machine_text.h for the words.
 */
#include "tests/golden/transcripts.h"
#include "tests/lib/machine_text.h"

static void *begin(void)
{
    struct machine_text *t = xmalloc(sizeof *t);

    machine_text_init(t);
    return t;
}

static const char *run(void *ctx, const char *request)
{
    return machine_text_run(ctx, request);
}

static void end(void *ctx)
{
    machine_text_release(ctx);
    free(ctx);
}

static void transcripts_get_the_answers_they_expect(void **state)
{
    static const struct transcripts transcripts = {
        .folder = "", .count_min = 5, .begin = begin, .run = run, .end = end};

    (void)state;
    check_transcripts(&transcripts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transcripts_get_the_answers_they_expect),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
