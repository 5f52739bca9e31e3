/* From the text of a flag to its value. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/config_internal.h"

static const char EXPERIMENTAL[] = "experimental-";

/* What kvd honours has mostly had its plain name in etcd from the start. */
static bool was_experimental(const struct flag *flag)
{
    static const char *const set[] = {"watch-progress-notify-interval",
                                      "peer-skip-client-san-verification", "initial-corrupt-check",
                                      "corrupt-check-time"};

    for (size_t i = 0; i < ARRAY_LEN(set); i++)
        if (strcmp(flag->name, set[i]) == 0)
            return true;
    return flag->use != FLAG_SET;
}

const struct flag *config__find(const char *name)
{
    bool experimental = strncmp(name, EXPERIMENTAL, sizeof EXPERIMENTAL - 1) == 0;

    if (experimental)
        name += sizeof EXPERIMENTAL - 1;
    for (size_t i = 0; i < config__flag_count; i++) {
        const struct flag *flag = &config__flags[i];

        if (strcmp(flag->name, name) == 0 && (!experimental || was_experimental(flag)))
            return flag;
    }
    return NULL;
}

/* Levenshtein's distance; names are short. */
static size_t distance(const char *a, const char *b)
{
    size_t len = strlen(b);
    size_t row[128];

    if (len >= ARRAY_LEN(row))
        return SIZE_MAX;
    for (size_t j = 0; j <= len; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < len; j++) {
            size_t change = diagonal + (a[i] != b[j]);

            diagonal = row[j + 1];
            row[j + 1] = MIN(change, MIN(row[j], row[j + 1]) + 1);
        }
    }
    return row[len];
}

const char *config__nearest(const char *name)
{
    size_t best = MAX(strlen(name) / 3, (size_t)1) + 1; /* more edits than that is another word */
    const char *found = NULL;

    if (strlen(name) > 100)
        return NULL;
    for (size_t i = 0; i < config__flag_count; i++) {
        size_t d = distance(name, config__flags[i].name);

        if (d < best) {
            best = d;
            found = config__flags[i].name;
        }
    }
    return found;
}

bool config__given(const struct draft *draft, const char *name)
{
    return draft->given[config__find(name) - config__flags] != NULL;
}

/* ---- parsers of one value ---- */

/* As Go's strconv.ParseBool. */
static int parse_bool(const char *text, bool *out, struct err *err)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *out = strcmp(text, yes[i]) == 0;
            return 0;
        }
    }
    return err_set(err, KV_EINVAL, "parse error");
}

static int parse_uint(const char *text, uint64_t max, uint64_t *out, struct err *err)
{
    unsigned long long value;
    char *end;

    if (text[0] < '0' || text[0] > '9') /* strtoull takes blanks and a minus sign */
        return err_set(err, KV_EINVAL, "parse error");
    errno = 0;
    value = strtoull(text, &end, 10);
    if (*end != '\0')
        return err_set(err, KV_EINVAL, "parse error");
    if (errno == ERANGE || value > max)
        return err_set(err, KV_EINVAL, "value out of range");
    *out = value;
    return 0;
}

static int parse_int(const char *text, int64_t *out, struct err *err)
{
    bool negative = text[0] == '-';
    uint64_t value;
    int rc = parse_uint(text + (negative || text[0] == '+'), INT64_MAX, &value, err);

    if (rc == 0)
        *out = negative ? -(int64_t)value : (int64_t)value;
    return rc;
}

/* A number with a fraction, and its unit, from the front of text. */
static bool take_duration_part(const char **text, double *ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"ns", 1},   {"us", 1e3}, {"\xC2\xB5s", 1e3}, {"\xCE\xBCs", 1e3},
                 {"ms", 1e6}, {"s", 1e9},  {"m", 60e9},        {"h", 3600e9}};
    size_t digits = strspn(*text, "0123456789.");
    char *end;
    double value;

    if (digits == 0 || digits > 30)
        return false;
    value = strtod(*text, &end);
    if (end != *text + digits)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t len = strlen(units[i].unit);

        /* "m" is a prefix of "ms": the unit ends where a number or the text does. */
        if (strncmp(end, units[i].unit, len) == 0 && strchr("0123456789.", end[len]) != NULL) {
            *ns += value * units[i].ns;
            *text = end + len;
            return true;
        }
    }
    return false;
}

int config__parse_duration(const char *text, uint64_t *out_ns, struct err *err)
{
    double ns = 0;

    if (strcmp(text, "0") == 0) {
        *out_ns = 0;
        return 0;
    }
    do {
        if (!take_duration_part(&text, &ns))
            return err_set(err, KV_EINVAL, "parse error");
    } while (*text != '\0');
    if (ns > (double)INT64_MAX)
        return err_set(err, KV_EINVAL, "value out of range");
    *out_ns = (uint64_t)ns;
    return 0;
}

static int parse_level(const char *text, enum config_log_level *out, struct err *err)
{
    static const struct {
        const char *name;
        enum config_log_level level;
    } levels[] = {
        {"debug", CONFIG_DEBUG}, {"info", CONFIG_INFO},    {"warn", CONFIG_WARN},
        {"error", CONFIG_ERROR}, {"dpanic", CONFIG_ERROR}, {"panic", CONFIG_ERROR},
        {"fatal", CONFIG_ERROR},
    };

    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (strcmp(text, levels[i].name) == 0) {
            *out = levels[i].level;
            return 0;
        }
    }
    return err_set(err, KV_EINVAL, "unknown log level \"%s\"", text);
}

static void list_release(char **list, size_t len)
{
    for (size_t i = 0; i < len; i++)
        free(list[i]);
    free(list);
}

static int parse_outputs(struct config *config, const char *text, struct err *err)
{
    char *copy = xstrdup(text);
    char **list = NULL;
    char *rest = copy;
    char *word;
    size_t len = 0;
    int rc = 0;

    while (rc == 0 && (word = strsep(&rest, ",")) != NULL) {
        if (strcmp(word, "default") == 0)
            word = "stderr";
        if (word[0] == '\0') {
            rc = err_set(err, KV_EINVAL, "empty output");
        } else if (strcmp(word, "systemd/journal") == 0) {
            rc = err_set(err, KV_EINVAL, "systemd/journal is not supported by kvd yet: use stderr");
        } else {
            list = xrealloc(list, (len + 1) * sizeof *list);
            list[len++] = xstrdup(word);
        }
    }
    if (rc == 0) {
        list_release(config->log_outputs, config->log_outputs_len);
        config->log_outputs = list;
        config->log_outputs_len = len;
    } else {
        list_release(list, len);
    }
    free(copy);
    return rc;
}

/* ---- setting ---- */

static void set_string(char **field, const struct flag *flag, const char *text)
{
    free(*field);
    /* Without a fixed default an empty value means "as if not given". */
    *field = text[0] == '\0' && flag->initial == NULL ? NULL : xstrdup(text);
}

static int set_urls(const struct flag *flag, struct config_urls *field, const char *text,
                    struct err *err)
{
    if (text[0] == '\0' && flag->initial == NULL) {
        config__urls_release(field);
        return 0;
    }
    return config__parse_urls(text, field, err);
}

/* The checks of each kind; where is NULL for what is only checked. */
static int set_value(struct draft *draft, const struct flag *flag, void *where, const char *text,
                     struct err *err)
{
    uint64_t u = 0;
    int64_t i = 0;
    bool b = false;
    int rc;

    switch (flag->kind) {
    case FLAG_STRING:
        if (where != NULL)
            set_string(where, flag, text);
        return 0;
    case FLAG_BOOL:
        rc = parse_bool(text, &b, err);
        if (rc == 0 && where != NULL)
            *(bool *)where = b;
        return rc;
    case FLAG_U32:
        rc = parse_uint(text, UINT32_MAX, &u, err);
        if (rc == 0 && where != NULL)
            *(uint32_t *)where = (uint32_t)u;
        return rc;
    case FLAG_U64:
        rc = parse_uint(text, UINT64_MAX, &u, err);
        if (rc == 0 && where != NULL)
            *(uint64_t *)where = u;
        return rc;
    case FLAG_I64:
        rc = parse_int(text, &i, err);
        if (rc == 0 && where != NULL)
            *(int64_t *)where = i;
        return rc;
    case FLAG_DURATION:
        rc = config__parse_duration(text, &u, err);
        if (rc == 0 && where != NULL)
            *(uint64_t *)where = u == 0 ? 0 : MAX(u / 1000000, (uint64_t)1);
        return rc;
    case FLAG_URLS:
        return set_urls(flag, where, text, err);
    case FLAG_LIST:
        return parse_outputs(&draft->config, text, err);
    case FLAG_LEVEL:
        return parse_level(text, where, err);
    case FLAG_FORMAT:
        b = strcmp(text, "console") == 0;
        if (!b && strcmp(text, "json") != 0)
            return err_set(err, KV_EINVAL, "unknown log format \"%s\", must be json or console",
                           text);
        *(bool *)where = b;
        return 0;
    case FLAG_METRICS:
        b = strcmp(text, "extensive") == 0;
        if (!b && strcmp(text, "basic") != 0)
            return err_set(err, KV_EINVAL,
                           "unknown kind of metrics \"%s\", must be basic or extensive", text);
        *(bool *)where = b;
        return 0;
    case FLAG_STATE:
        if (strcmp(text, "new") != 0 && strcmp(text, "existing") != 0)
            return err_set(err, KV_EINVAL, "invalid value");
        *(bool *)where = strcmp(text, "existing") == 0;
        return 0;
    }
    ASSERT(false);
}

int config__set(struct draft *draft, const struct flag *flag, const char *text, struct err *err)
{
    void *where = flag->use == FLAG_SET ? (char *)draft + flag->field : NULL;
    int rc;

    /* Numbers and durations that only have to look right may be empty, as in etcd's sample file. */
    if (where == NULL && text[0] == '\0')
        rc = 0;
    else
        rc = set_value(draft, flag, where, text, err);
    if (rc == 0) {
        char **given = &draft->given[flag - config__flags];

        free(*given);
        *given = xstrdup(text);
    }
    return rc;
}

void config__draft_init(struct draft *draft)
{
    *draft = (struct draft){.given = xcalloc(config__flag_count, sizeof(char *))};
    for (size_t i = 0; i < config__flag_count; i++) {
        const struct flag *flag = &config__flags[i];
        struct err err = ERR_INIT;
        int rc;

        if (flag->use != FLAG_SET || flag->initial == NULL)
            continue;
        rc = set_value(draft, flag, (char *)draft + flag->field, flag->initial, &err);
        ASSERT(rc == 0); /* the table's own defaults */
    }
}

void config__draft_release(struct draft *draft)
{
    config_release(&draft->config);
    free(draft->initial_cluster);
    free(draft->config_file);
    free(draft->compaction_mode);
    free(draft->compaction_retention);
    for (size_t i = 0; draft->given != NULL && i < config__flag_count; i++)
        free(draft->given[i]);
    free(draft->given);
    *draft = (struct draft){.given = NULL};
}

void config__warn(const struct draft *draft, const char *fmt, ...)
{
    char text[512];
    va_list args;

    if (draft->warn == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args); /* cut to fit */
    va_end(args);
    draft->warn(draft->warn_ctx, text);
}

/* Whether text is the flag's default in one of its spellings. */
static bool is_initial(const struct flag *flag, const char *text)
{
    const char *initial = flag->initial != NULL ? flag->initial : "";
    uint64_t a, b;
    bool yes, other;

    if (text[0] == '\0' && flag->kind != FLAG_STRING)
        return true;
    if (flag->kind == FLAG_DURATION)
        return config__parse_duration(text, &a, NULL) == 0 &&
               config__parse_duration(initial, &b, NULL) == 0 && a == b;
    if (flag->kind == FLAG_BOOL)
        return parse_bool(text, &yes, NULL) == 0 && parse_bool(initial, &other, NULL) == 0 &&
               yes == other;
    for (;;) {
        size_t len = strcspn(initial, "|");

        if (strlen(text) == len && memcmp(text, initial, len) == 0)
            return true;
        if (initial[len] == '\0')
            return false;
        initial += len + 1;
    }
}

int config__check_unsupported(const struct draft *draft, struct err *err)
{
    for (size_t i = 0; i < config__flag_count; i++) {
        const struct flag *flag = &config__flags[i];
        const char *text = draft->given[i];

        if (text == NULL || flag->use == FLAG_SET || flag->use == FLAG_QUIET ||
            is_initial(flag, text))
            continue;
        if (flag->use == FLAG_REFUSED)
            return err_set(err, KV_EINVAL, "--%s=%s: %s is not supported by kvd yet", flag->name,
                           text, flag->help);
        config__warn(draft, "--%s=%s has no effect in kvd", flag->name, text);
    }
    return 0;
}
