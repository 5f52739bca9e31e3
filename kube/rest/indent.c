#include "kube/rest/indent.h"

/* Deeper levels are not moved to the right any more: 10,000 nested arrays would become 100 MB. */
enum { DEPTH_SHOWN_MAX = 100 };

static int new_line(const struct rest_indent *state, struct buf *out)
{
    unsigned depth = state->depth < DEPTH_SHOWN_MAX ? state->depth : DEPTH_SHOWN_MAX;
    int rc = buf_append_u8(out, '\n');

    for (unsigned i = 0; i < depth && rc == 0; i++)
        rc = buf_append(out, "  ", 2);
    return rc;
}

static int structural(struct rest_indent *state, uint8_t c, struct buf *out)
{
    int rc = 0;

    switch (c) {
    case '{':
    case '[':
        rc = state->opened ? new_line(state, out) : 0;
        state->depth++;
        state->opened = true;
        return rc != 0 ? rc : buf_append_u8(out, c);
    case '}':
    case ']':
        state->depth -= state->depth > 0;
        if (!state->opened)
            rc = new_line(state, out);
        state->opened = false;
        return rc != 0 ? rc : buf_append_u8(out, c);
    case ',':
        rc = buf_append_u8(out, c);
        return rc != 0 ? rc : new_line(state, out);
    case ':':
        return buf_append(out, ": ", 2);
    default:
        if (state->opened)
            rc = new_line(state, out);
        state->opened = false;
        return rc != 0 ? rc : buf_append_u8(out, c);
    }
}

/* The rest of a string that is in text from i on, with its quote if that is there. */
static size_t string_end(struct rest_indent *state, struct slice text, size_t i)
{
    for (; i < text.len && state->in_string; i++) {
        if (state->escaped)
            state->escaped = false;
        else if (text.data[i] == '\\')
            state->escaped = true;
        else if (text.data[i] == '"')
            state->in_string = false;
    }
    return i;
}

int rest_indent(struct rest_indent *state, struct slice in, struct buf *out)
{
    int rc = 0;
    size_t i = 0;

    while (i < in.len && rc == 0) {
        if (state->in_string) {
            size_t end = string_end(state, in, i);

            rc = buf_append(out, in.data + i, end - i);
            i = end;
            continue;
        }
        state->in_string = in.data[i] == '"';
        rc = structural(state, in.data[i], out);
        i++;
    }
    return rc;
}
