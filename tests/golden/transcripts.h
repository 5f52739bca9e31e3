/* Transcripts: requests with the answers they must get, in *.txt files, reviewed as diffs. A line
 * "> request" is run (lines ". ..." continue it), the lines behind it are the answer; "#" is a
 * comment. Each file starts anew.
 *
 * KVD_GOLDEN_WRITE=1 writes the answers of now into the files instead; KVD_GOLDEN_DIR names
 * tests/golden if this is not run from the top of the tree. A header so that each test program
 * stays one file. */
#ifndef KVD_TESTS_GOLDEN_TRANSCRIPTS_H
#define KVD_TESTS_GOLDEN_TRANSCRIPTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/disk.h"
#include "base/mem.h"

struct transcripts {
    const char *folder; /* in tests/golden; "" for itself */
    size_t count_min;   /* as many files are there */
    /* For each file: a new one; an answer (valid until the next) to each request; the end. */
    void *(*begin)(void);
    const char *(*run)(void *ctx, const char *request);
    void (*end)(void *ctx);
};

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

static void flush_request(const struct transcripts *t, void *ctx, struct buf *request,
                          struct buf *out)
{
    const char *answer;

    if (request->len == 0)
        return;
    assert_int_equal(buf_append_u8(request, '\0'), 0);
    answer = t->run(ctx, (const char *)request->data);
    if (*answer != '\0')
        append_line(out, answer);
    buf_reset(request);
}

/* The transcript with the answers of now. */
static struct buf replay(const struct transcripts *t, char *text)
{
    void *ctx = t->begin();
    struct buf request, out;
    char *line;

    buf_init(&request, 1 << 20);
    buf_init(&out, 16 << 20);
    while ((line = next_line(&text)) != NULL) {
        bool goes_on = line[0] == '.' && line[1] == ' ';

        if (goes_on || (line[0] == '>' && line[1] == ' ')) {
            if (!goes_on)
                flush_request(t, ctx, &request, &out);
            assert_int_equal(buf_printf(&request, " %s", line + 2), 0);
            append_line(&out, line);
        } else if (line[0] == '#' || line[0] == '\0') {
            flush_request(t, ctx, &request, &out);
            append_line(&out, line);
        } /* else: an answer, which is made anew */
    }
    flush_request(t, ctx, &request, &out);
    buf_release(&request);
    t->end(ctx);
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

static bool check_file(const struct transcripts *t, const char *path)
{
    struct buf was = read_whole(path);
    char *copy = xstrdup((char *)was.data);
    struct buf is = replay(t, copy);
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

static void check_transcripts(const struct transcripts *t)
{
    struct disk disk = disk_posix();
    const char *top = getenv("KVD_GOLDEN_DIR");
    char *dir = xasprintf("%s/%s", top != NULL ? top : "tests/golden", t->folder);
    size_t count, checked = 0, failed = 0;
    char **names;

    assert_int_equal(disk.ops->list(disk.ctx, dir, &names, &count, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(names[i]);
        char *path;

        if (len < 4 || strcmp(names[i] + len - 4, ".txt") != 0)
            continue;
        path = xasprintf("%s/%s", dir, names[i]);
        failed += !check_file(t, path);
        checked++;
        free(path);
    }
    disk_free_names(names, count);
    free(dir);
    assert_true(checked >= t->count_min);
    assert_int_equal(failed, 0);
}

#endif
