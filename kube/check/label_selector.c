#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "kube/check/rules.h"
#include "kube/check/selector_internal.h"

/* ---- tokens ---- */

enum token {
    TOKEN_END, /* also at a NUL, as upstream */
    TOKEN_WORD,
    TOKEN_IN,
    TOKEN_NOT_IN,
    TOKEN_EQUALS, /* = and == */
    TOKEN_NOT_EQUALS,
    TOKEN_GREATER,
    TOKEN_LESS,
    TOKEN_NOT,
    TOKEN_COMMA,
    TOKEN_OPEN,
    TOKEN_CLOSE
};

/* `in` and `notin` are operators only where one is due; elsewhere they are words. */
enum context { OPERATOR_DUE, WORD_DUE };

struct parser {
    struct arena *arena;
    struct kube_status *status;
    struct slice text;
    size_t at;
    enum token token; /* the one that comes next */
    struct slice literal;
};

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_special(uint8_t c)
{
    return c != '\0' && strchr("=!(),<>", c) != NULL;
}

/* The longest operator here; each begins with one that has a single character. */
static void next_special(struct parser *p)
{
    static const struct {
        const char *text;
        enum token token;
    } specials[] = {
        {"!=", TOKEN_NOT_EQUALS}, {"==", TOKEN_EQUALS}, {"=", TOKEN_EQUALS},
        {"!", TOKEN_NOT},         {"(", TOKEN_OPEN},    {")", TOKEN_CLOSE},
        {",", TOKEN_COMMA},       {"<", TOKEN_LESS},    {">", TOKEN_GREATER},
    };

    for (size_t i = 0; i < ARRAY_LEN(specials); i++) {
        size_t len = strlen(specials[i].text);

        if (p->text.len - p->at < len || memcmp(p->text.data + p->at, specials[i].text, len) != 0)
            continue;
        p->literal = slice_of(p->text.data + p->at, len);
        p->token = specials[i].token;
        p->at += len;
        return;
    }
}

static void next_word(struct parser *p)
{
    size_t began = p->at;

    while (p->at < p->text.len && p->text.data[p->at] != '\0' && !is_special(p->text.data[p->at]) &&
           !is_space(p->text.data[p->at]))
        p->at++;
    p->literal = slice_of(p->text.data + began, p->at - began);
    p->token = TOKEN_WORD;
    if (slice_eq(p->literal, slice_str("in")))
        p->token = TOKEN_IN;
    else if (slice_eq(p->literal, slice_str("notin")))
        p->token = TOKEN_NOT_IN;
}

static void advance(struct parser *p)
{
    while (p->at < p->text.len && is_space(p->text.data[p->at]))
        p->at++;
    if (p->at >= p->text.len || p->text.data[p->at] == '\0') {
        p->token = TOKEN_END;
        p->literal = slice_str("");
    } else if (is_special(p->text.data[p->at])) {
        next_special(p);
    } else {
        next_word(p);
    }
}

static enum token look(const struct parser *p, enum context context)
{
    if (context == WORD_DUE && (p->token == TOKEN_IN || p->token == TOKEN_NOT_IN))
        return TOKEN_WORD;
    return p->token;
}

/* "found '<what comes next>'<expected>" behind prefix. */
static int unexpected(struct parser *p, const char *prefix, struct slice found,
                      const char *expected)
{
    return kube_status_bad_request(p->status, p->arena, "%sfound '%.*s'%s", prefix,
                                   (int)MIN(found.len, (size_t)4096), (const char *)found.data,
                                   expected);
}

#define IN_REQUIREMENT "unable to parse requirement: "

/* ---- what keys and values may be ---- */

/* Upstream makes one error of all that is wrong with a key: the value once, the rest joined. */
static void join_causes(struct buf *buf, const struct kube_issues *issues)
{
    for (const struct kube_cause *cause = issues->first; cause != NULL; cause = cause->next) {
        const char *detail = cause->message;

        if (cause != issues->first) {
            const char *end = strstr(detail, "\": ");

            (void)buf_append(buf, "; ", 2);
            detail = end == NULL ? detail : end + 3;
        }
        (void)buf_append(buf, detail, strlen(detail));
    }
}

#define COMPLAINTS_MAX (64 * 1024)

static int check_key(struct parser *p, struct slice key)
{
    struct kube_issues issues = {0};
    struct buf buf;

    kube_qualified_name_check(p->arena, key, "", &issues);
    if (issues.first == NULL)
        return 0;
    buf_init(&buf, COMPLAINTS_MAX);
    join_causes(&buf, &issues);
    (void)kube_status_bad_request(p->status, p->arena, IN_REQUIREMENT "<nil>: %.*s", (int)buf.len,
                                  (const char *)buf.data);
    buf_release(&buf);
    return p->status->code;
}

/* Begins another complaint about values[i]. */
static void begin_complaint(struct buf *buf, unsigned *count, size_t i)
{
    (void)buf_printf(buf, "%svalues[%zu]", *count == 0 ? "" : ", ", i);
    (*count)++;
}

static int check_values(struct parser *p, struct kube_requirement *requirement)
{
    bool numeric = requirement->op == KUBE_GREATER || requirement->op == KUBE_LESS;
    unsigned count = 0;
    struct buf buf;

    buf_init(&buf, COMPLAINTS_MAX);
    if (numeric && !selector__int64(requirement->values[0], &requirement->number)) {
        begin_complaint(&buf, &count, 0);
        (void)buf_printf(
            &buf,
            ": Invalid value: \"%.*s\": for 'Gt', 'Lt' operators, the value must be an integer",
            (int)requirement->values[0].len, (const char *)requirement->values[0].data);
    }
    for (size_t i = 0; i < requirement->value_count; i++) {
        struct kube_issues issues = {0};

        kube_label_value_check(p->arena, requirement->values[i], "", &issues);
        if (issues.first == NULL)
            continue;
        begin_complaint(&buf, &count, i);
        (void)buf_printf(&buf, "[%.*s]: ", (int)requirement->key.len,
                         (const char *)requirement->key.data);
        join_causes(&buf, &issues);
    }
    if (count > 0)
        (void)kube_status_bad_request(p->status, p->arena, IN_REQUIREMENT "%s%.*s%s",
                                      count > 1 ? "[" : "", (int)buf.len, (const char *)buf.data,
                                      count > 1 ? "]" : "");
    buf_release(&buf);
    return p->status->code;
}

/* ---- grammar ---- */

/* Sorts, and drops what is there twice: a set, in which kube_selector_matches() searches. */
static void make_set(struct kube_requirement *requirement)
{
    size_t kept = 0;

    if (requirement->value_count == 0)
        return;
    qsort(requirement->values, requirement->value_count, sizeof(requirement->values[0]),
          selector__compare);
    for (size_t i = 1; i < requirement->value_count; i++) {
        if (!slice_eq(requirement->values[i], requirement->values[kept]))
            requirement->values[++kept] = requirement->values[i];
    }
    requirement->value_count = kept + 1;
}

static void add_value(struct kube_requirement *requirement, struct slice value)
{
    requirement->values[requirement->value_count++] = value;
}

/* (a,b): a comma with nothing at one of its sides stands for an empty value there. */
static int parse_list(struct parser *p, struct kube_requirement *requirement)
{
    struct slice first = p->literal;
    bool word_before = false;

    if (look(p, WORD_DUE) == TOKEN_CLOSE)
        add_value(requirement, slice_str(""));
    else if (look(p, WORD_DUE) != TOKEN_WORD && p->token != TOKEN_COMMA)
        return unexpected(p, IN_REQUIREMENT, first, ", expected: ',', ')' or identifier");
    while (look(p, WORD_DUE) != TOKEN_CLOSE) {
        enum token token = look(p, WORD_DUE);

        if (token == TOKEN_WORD && word_before)
            return unexpected(p, IN_REQUIREMENT, p->literal, ", expected: ',' or ')'");
        if (token != TOKEN_WORD && token != TOKEN_COMMA)
            return unexpected(p, IN_REQUIREMENT, p->literal,
                              word_before ? ", expected: ',' or ')'"
                                          : ", expected: ',', or identifier");
        if (token == TOKEN_WORD)
            add_value(requirement, p->literal);
        else if (requirement->value_count == 0)
            add_value(requirement, slice_str(""));
        word_before = token == TOKEN_WORD;
        advance(p);
        if (token == TOKEN_COMMA && (p->token == TOKEN_COMMA || p->token == TOKEN_CLOSE))
            add_value(requirement, slice_str(""));
    }
    advance(p);
    return 0;
}

static int parse_values(struct parser *p, struct kube_requirement *requirement)
{
    size_t values_max = 3;

    if (p->token != TOKEN_OPEN)
        return unexpected(p, IN_REQUIREMENT, p->literal, " expected: '('");
    for (size_t i = p->at; i < p->text.len && p->text.data[i] != ')'; i++)
        values_max += p->text.data[i] == ',';
    requirement->values = arena_alloc(p->arena, values_max * sizeof(requirement->values[0]));
    advance(p);
    return parse_list(p, requirement);
}

static int parse_exact(struct parser *p, struct kube_requirement *requirement)
{
    requirement->values = arena_alloc(p->arena, sizeof(requirement->values[0]));
    if (p->token == TOKEN_END || p->token == TOKEN_COMMA) {
        add_value(requirement, slice_str(""));
        return 0;
    }
    if (look(p, WORD_DUE) != TOKEN_WORD)
        return unexpected(p, IN_REQUIREMENT, p->literal, ", expected: identifier");
    add_value(requirement, p->literal);
    advance(p);
    return 0;
}

static int parse_operator(struct parser *p, struct kube_requirement *requirement)
{
    bool exact = true;
    int rc;

    switch (look(p, OPERATOR_DUE)) {
    case TOKEN_IN:
        requirement->op = KUBE_IN;
        exact = false;
        break;
    case TOKEN_NOT_IN:
        requirement->op = KUBE_NOT_IN;
        exact = false;
        break;
    case TOKEN_EQUALS:
        requirement->op = KUBE_IN;
        break;
    case TOKEN_NOT_EQUALS:
        requirement->op = KUBE_NOT_IN;
        break;
    case TOKEN_GREATER:
        requirement->op = KUBE_GREATER;
        break;
    case TOKEN_LESS:
        requirement->op = KUBE_LESS;
        break;
    default:
        return unexpected(p, IN_REQUIREMENT, p->literal,
                          ", expected: in, notin, =, ==, !=, gt, lt");
    }
    advance(p);
    rc = exact ? parse_exact(p, requirement) : parse_values(p, requirement);
    make_set(requirement);
    return rc;
}

static int parse_requirement(struct parser *p, struct kube_requirement *requirement)
{
    bool negated = p->token == TOKEN_NOT;
    int rc;

    if (negated)
        advance(p);
    if (look(p, WORD_DUE) != TOKEN_WORD)
        return unexpected(p, IN_REQUIREMENT, p->literal, ", expected: identifier");
    requirement->key = p->literal;
    advance(p);
    rc = check_key(p, requirement->key);
    if (rc != 0)
        return rc;
    if (negated || p->token == TOKEN_END || p->token == TOKEN_COMMA) {
        requirement->op = negated ? KUBE_NOT_EXISTS : KUBE_EXISTS;
        return 0;
    }
    rc = parse_operator(p, requirement);
    return rc != 0 ? rc : check_values(p, requirement);
}

int kube_label_selector_parse(struct arena *arena, struct slice text, struct kube_selector *out,
                              struct kube_status *status)
{
    struct parser p = {.arena = arena, .status = status, .text = text};
    struct kube_requirement **end = &out->labels;

    *status = (struct kube_status){0};
    while (*end != NULL)
        end = &(*end)->next;
    advance(&p);
    while (p.token != TOKEN_END) {
        struct kube_requirement *requirement = arena_calloc(arena, sizeof(*requirement));
        int rc;

        if (look(&p, WORD_DUE) != TOKEN_WORD && p.token != TOKEN_NOT)
            return unexpected(&p, "", p.literal, ", expected: !, identifier, or 'end of string'");
        rc = parse_requirement(&p, requirement);
        if (rc != 0)
            return rc;
        *end = requirement;
        end = &requirement->next;
        if (p.token == TOKEN_END)
            break;
        if (p.token != TOKEN_COMMA)
            return unexpected(&p, "", p.literal, ", expected: ',' or 'end of string'");
        advance(&p);
        if (look(&p, WORD_DUE) != TOKEN_WORD && p.token != TOKEN_NOT)
            return unexpected(&p, "", p.literal, ", expected: identifier after ','");
    }
    return 0;
}
