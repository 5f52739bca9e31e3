/* Transcripts of the state machine: requests with the answers they must get, in *.txt beside this
 * file, reviewed as diffs. A line "> request" is run (lines ". ..." continue it; see
 * tests/lib/machine_text.h for the words), the lines behind it are the answer; "#" is a comment.
 * Each file starts with an empty store.
 *
 * KVD_GOLDEN_WRITE=1 writes the answers of now into the files instead; KVD_GOLDEN_DIR names their
 * folder if this is not run from the top of the tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/disk.h"
#include "tests/lib/machine_text.h"

static const char *golden_dir(void)
{
    const char *dir = getenv("KVD_GOLDEN_DIR");

    return dir != NULL ? dir : "tests/golden";
}

static struct buf read_whole(const char *path)
{
    FILE *file = fopen(path, "r");
    char chunk[4096];
    struct buf text;
    size_t len;

    assert_non_null(file);
    buf_init(&text, 16 << 20);
    while ((len = fread(chunk, 1, sizeof chunk, file)) > 0)
        assert_int_equal(buf_append(&text, chunk, len), 0);
    assert_int_equal(buf_append_u8(&text, '\0'), 0);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void write_whole(const char *path, const struct buf *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text->data, 1, text->len, file), text->len);
    assert_int_equal(fclose(file), 0);
}

static void append_line(struct buf *out, const char *line)
{
    assert_int_equal(buf_printf(out, "%s\n", line), 0);
}

static char *next_line(char **text)
{
    char *line = *text, *end;

    if (line == NULL || *line == '\0')
        return NULL;
    end = strchr(line, '\n');
    *text = end != NULL ? end + 1 : NULL;
    if (end != NULL)
        *end = '\0';
    return line;
}

static void flush_request(struct machine_text *t, struct buf *request, struct buf *out)
{
    const char *answer;

    if (request->len == 0)
        return;
    assert_int_equal(buf_append_u8(request, '\0'), 0);
    answer = machine_text_run(t, (const char *)request->data);
    if (*answer != '\0')
        append_line(out, answer);
    buf_reset(request);
}

/* The transcript with the answers of now. */
static struct buf replay(char *text)
{
    struct machine_text t;
    struct buf request, out;
    char *line;

    machine_text_init(&t);
    buf_init(&request, 1 << 20);
    buf_init(&out, 16 << 20);
    while ((line = next_line(&text)) != NULL) {
        bool goes_on = line[0] == '.' && line[1] == ' ';

        if (goes_on || (line[0] == '>' && line[1] == ' ')) {
            if (!goes_on)
                flush_request(&t, &request, &out);
            assert_int_equal(buf_printf(&request, " %s", line + 2), 0);
            append_line(&out, line);
        } else if (line[0] == '#' || line[0] == '\0') {
            flush_request(&t, &request, &out);
            append_line(&out, line);
        } /* else: an answer, which is made anew */
    }
    flush_request(&t, &request, &out);
    buf_release(&request);
    machine_text_release(&t);
    return out;
}

static void show_difference(const char *path, char *was, char *is)
{
    int number = 0;

    for (;;) {
        char *expected = next_line(&was), *got = next_line(&is);

        number++;
        if (expected == NULL && got == NULL)
            return;
        if (expected != NULL && got != NULL && strcmp(expected, got) == 0)
            continue;
        print_error("%s:%d:\n  expected: %s\n  got:      %s\n", path, number,
                    expected != NULL ? expected : "(end)", got != NULL ? got : "(end)");
        return;
    }
}

static bool check_file(const char *path)
{
    struct buf was = read_whole(path);
    char *copy = xstrdup((char *)was.data);
    struct buf is = replay(copy);
    bool same = slice_eq(slice_of(was.data, was.len - 1), buf_slice(&is));

    if (!same && getenv("KVD_GOLDEN_WRITE") != NULL) {
        write_whole(path, &is);
        print_message("%s: rewritten\n", path);
        same = true;
    } else if (!same) {
        assert_int_equal(buf_append_u8(&is, '\0'), 0);
        show_difference(path, (char *)was.data, (char *)is.data);
    }
    free(copy);
    buf_release(&was);
    buf_release(&is);
    return same;
}

static void transcripts_get_the_answers_they_expect(void **state)
{
    struct disk disk = disk_posix();
    size_t count, checked = 0, failed = 0;
    char **names;

    (void)state;
    assert_int_equal(disk.ops->list(disk.ctx, golden_dir(), &names, &count, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(names[i]);
        char *path;

        if (len < 4 || strcmp(names[i] + len - 4, ".txt") != 0)
            continue;
        path = xasprintf("%s/%s", golden_dir(), names[i]);
        failed += !check_file(path);
        checked++;
        free(path);
    }
    disk_free_names(names, count);
    assert_true(checked >= 5);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transcripts_get_the_answers_they_expect),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
