/* The page, and the report: the same file, with the lab's history in it. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "lab/internal.h"

/* Where the report's data go. */
#define MARKER "/*DATA*/null"

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
static void write_json(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '<')
            fputs("\\u003c", out);
        else
            fputc(*text, out);
    }
}

int lab__report(struct lab *lab, const char *path, struct err *err)
{
    struct slice page = lab__page();
    const uint8_t *at = memmem(page.data, page.len, MARKER, strlen(MARKER));
    size_t head = (size_t)(at - page.data), tail = head + strlen(MARKER);
    struct json_object *state;
    FILE *out = fopen(path, "we");
    int failed;

    ASSERT(at != NULL);
    if (out == NULL)
        return err_set_errno(err, errno, "writing the report to %s", path);
    state = lab__state_json(lab, true);
    (void)fwrite(page.data, 1, head, out); /* what fails here shows in ferror() */
    write_json(out, json_object_to_json_string_ext(state, JSON_C_TO_STRING_PLAIN));
    (void)fwrite(page.data + tail, 1, page.len - tail, out);
    (void)json_object_put(state); /* frees the whole tree */
    failed = ferror(out);
    if (fclose(out) != 0 || failed != 0)
        return err_set_errno(err, errno, "writing the report to %s", path);
    lab__say(lab, LAB_SAYS, 0, 0, "report: %s", path);
    return 0;
}
