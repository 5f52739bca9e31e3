/* The page, and the report: the same file, with the lab's history in it. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "lab/internal.h"

/* Where the report's data go. */
#define MARKER "/*DATA*/null"

enum { REPORT_MAX = 64 << 20 };

/* The file becomes part of the program; the Makefile knows that this object depends on it. */
__asm__(".section .rodata\n"
        "lab__page_start:\n"
        ".incbin \"lab/page.html\"\n"
        "lab__page_end:\n"
        ".byte 0\n"
        ".previous\n");
extern const char lab__page_start[], lab__page_end[];

struct slice lab__page(void)
{
    return slice_of(lab__page_start, (size_t)(lab__page_end - lab__page_start));
}

/* A text in it could hold what ends a script element. */
static void append_json(struct buf *out, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "<");

        (void)buf_append(out, text, len); /* too long: the caller's next append says so */
        text += len;
        if (*text == '<')
            (void)buf_printf(out, "\\u003c");
        text += *text == '<';
    }
}

int lab__report_make(struct lab *lab, struct buf *out, struct err *err)
{
    struct slice page = lab__page();
    const uint8_t *at = memmem(page.data, page.len, MARKER, strlen(MARKER));
    size_t head = (size_t)(at - page.data), tail = head + strlen(MARKER);
    struct json_object *state = lab__state_json(lab, true);

    ASSERT(at != NULL);
    buf_init(out, REPORT_MAX);
    (void)buf_append(out, page.data, head);
    append_json(out, json_object_to_json_string_ext(state, JSON_C_TO_STRING_PLAIN));
    (void)json_object_put(state); /* frees the whole tree */
    if (buf_append(out, page.data + tail, page.len - tail) == 0)
        return 0;
    buf_release(out);
    return err_set(err, KV_ETOOBIG, "the report would be longer than %d MiB", REPORT_MAX >> 20);
}

int lab__report(struct lab *lab, const char *path, struct err *err)
{
    FILE *out = fopen(path, "we");
    struct buf text;
    bool failed;
    int rc;

    if (out == NULL)
        return err_set_errno(err, errno, "writing the report to %s", path);
    rc = lab__report_make(lab, &text, err);
    if (rc != 0) {
        (void)fclose(out); /* nothing was written */
        return rc;
    }
    failed = fwrite(text.data, 1, text.len, out) != text.len;
    buf_release(&text);
    if (fclose(out) != 0 || failed)
        return err_set_errno(err, errno, "writing the report to %s", path);
    lab__say(lab, LAB_SAYS, 0, 0, "report: %s", path);
    return 0;
}
