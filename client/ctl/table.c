#include "client/ctl/table.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>

#include "client/ctl/gotext.h"

enum {
    WRAP_WIDTH = 30,
    LINES_MAX = 32, /* per cell; what is beyond stays on the last one */
};

void table_init(struct table *table, struct arena *arena, const char *const *headings,
                size_t columns)
{
    ASSERT(columns != 0 && columns <= TABLE_COLUMNS_MAX);
    *table = (struct table){.arena = arena, .headings = headings, .columns = columns};
}

static void next_row(struct table *table)
{
    const char *(*rows)[TABLE_COLUMNS_MAX];

    if (table->rows_len == table->rows_cap) {
        table->rows_cap = MAX(table->rows_cap * 2, (size_t)8);
        rows = arena_alloc(table->arena, table->rows_cap * sizeof *rows);
        if (table->rows_len != 0)
            memcpy(rows, table->rows, table->rows_len * sizeof *rows);
        table->rows = rows;
    }
    table->rows_len++;
    table->filled = 0;
}

void table_cell(struct table *table, const char *fmt, ...)
{
    va_list args;
    char *text;
    int len;

    va_start(args, fmt);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(len >= 0);
    text = arena_alloc(table->arena, (size_t)len + 1);
    va_start(args, fmt);
    (void)vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);

    if (table->rows_len == 0 || table->filled == table->columns)
        next_row(table);
    table->rows[table->rows_len - 1][table->filled++] = text;
}

void table_print_csv(const struct table *table, FILE *out)
{
    size_t row, column;

    for (row = 0; row < table->rows_len; row++) {
        for (column = 0; column < table->columns; column++)
            fprintf(out, "%s%s", column == 0 ? "" : ", ", table->rows[row][column]);
        fputc('\n', out);
    }
}

/* Columns on the screen, one per code point. */
static size_t width_of(struct slice text)
{
    size_t width = 0, len;
    uint32_t rune;

    while (text.len != 0) {
        len = utf8_decode(text, &rune);
        len = len != 0 ? len : 1;
        text = slice_of(text.data + len, text.len - len);
        width++;
    }
    return width;
}

/* A cell cut into lines at its spaces. */
struct lines {
    struct slice line[LINES_MAX];
    size_t len, width;
};

static struct slice take_word(struct slice *text)
{
    size_t len = 0;
    struct slice word;

    while (text->len != 0 && isspace(text->data[0]))
        *text = slice_of(text->data + 1, text->len - 1);
    while (len < text->len && !isspace(text->data[len]))
        len++;
    word = slice_of(text->data, len);
    *text = slice_of(text->data + len, text->len - len);
    return word;
}

static void wrap(const char *cell, struct lines *out)
{
    struct slice text = slice_str(cell), word, joined;
    size_t limit = WRAP_WIDTH;

    /* A word is never cut: the longest one sets the width. */
    for (word = take_word(&text); word.len != 0; word = take_word(&text))
        limit = MAX(limit, width_of(word));
    *out = (struct lines){.len = 0};
    text = slice_str(cell);
    for (word = take_word(&text); word.len != 0; word = take_word(&text)) {
        if (out->len != 0) {
            struct slice *last = &out->line[out->len - 1];

            joined = slice_of(last->data, (size_t)(word.data + word.len - last->data));
            if (width_of(joined) <= limit || out->len == LINES_MAX) {
                *last = joined;
                out->width = MAX(out->width, width_of(joined));
                continue;
            }
        }
        out->line[out->len++] = word;
        out->width = MAX(out->width, width_of(word));
    }
}

static void put_spaces(FILE *out, size_t count)
{
    fprintf(out, "%*s", (int)count, "");
}

static void print_rule(FILE *out, const size_t *width, size_t columns)
{
    size_t column, i;

    for (column = 0; column < columns; column++) {
        fputc('+', out);
        for (i = 0; i < width[column] + 2; i++)
            fputc('-', out);
    }
    fputs("+\n", out);
}

static void print_headings(const struct table *table, FILE *out, const size_t *width)
{
    size_t column;

    for (column = 0; column < table->columns; column++) {
        const char *text = table->headings[column];
        size_t gap = width[column] - strlen(text);

        fputs("| ", out);
        put_spaces(out, gap / 2);
        for (; *text != '\0'; text++)
            fputc(*text == '_' ? ' ' : toupper((unsigned char)*text), out);
        put_spaces(out, gap - gap / 2 + 1);
    }
    fputs("|\n", out);
}

static void print_row(const struct lines *cells, FILE *out, const size_t *width, size_t columns)
{
    static const struct slice blank = {.data = NULL};
    size_t height = 1, line, column;

    for (column = 0; column < columns; column++)
        height = MAX(height, cells[column].len);
    for (line = 0; line < height; line++) {
        for (column = 0; column < columns; column++) {
            struct slice text = line < cells[column].len ? cells[column].line[line] : blank;

            fputs("| ", out);
            put_spaces(out, width[column] - width_of(text));
            if (text.len != 0)
                fwrite(text.data, 1, text.len, out);
            fputc(' ', out);
        }
        fputs("|\n", out);
    }
}

void table_print(const struct table *table, FILE *out)
{
    size_t width[TABLE_COLUMNS_MAX] = {0};
    struct lines cells[TABLE_COLUMNS_MAX];
    size_t row, column;

    for (column = 0; column < table->columns; column++) {
        width[column] = strlen(table->headings[column]);
        for (row = 0; row < table->rows_len; row++) {
            wrap(table->rows[row][column], &cells[column]);
            width[column] = MAX(width[column], cells[column].width);
        }
    }
    print_rule(out, width, table->columns);
    print_headings(table, out, width);
    print_rule(out, width, table->columns);
    for (row = 0; row < table->rows_len; row++) {
        for (column = 0; column < table->columns; column++)
            wrap(table->rows[row][column], &cells[column]);
        print_row(cells, out, width, table->columns);
    }
    print_rule(out, width, table->columns);
}
