/* --auto-compaction-mode and --auto-compaction-retention, which only together mean something. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/config_internal.h"

static bool is_number(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* Unlike etcd, which takes "5m" for 300,000,000,000 revisions. */
static int check_retained_revisions(struct config *config, const char *text, struct err *err)
{
    errno = 0;
    config->auto_compaction_retention = strtoull(text, NULL, 10);
    if (!is_number(text) || errno == ERANGE ||
        config->auto_compaction_retention > (uint64_t)INT64_MAX)
        return err_set(err, KV_EINVAL,
                       "--auto-compaction-retention=%s must be a number of revisions with "
                       "--auto-compaction-mode=revision",
                       text);
    return 0;
}

/* A bare number is hours. */
static int check_retained_time(struct config *config, const char *text, struct err *err)
{
    char *duration = xasprintf("%s%s", text, is_number(text) ? "h" : "");
    uint64_t ns = 0;
    int rc;

    rc = config__parse_duration(duration, &ns, NULL);
    free(duration);
    if (rc != 0)
        return err_set(err, KV_EINVAL,
                       "--auto-compaction-retention=%s must be a number of hours, or a duration "
                       "like 30m or 1h30m (292 years at most)",
                       text);
    config->auto_compaction_retention = ns == 0 ? 0 : MAX(ns / 1000000, (uint64_t)1);
    return 0;
}

int config__check_compaction(struct draft *draft, struct err *err)
{
    const char *mode = draft->compaction_mode, *retention = draft->compaction_retention;
    struct config *config = &draft->config;

    if (retention[0] == '\0')
        retention = "0";
    if (mode[0] == '\0')
        return err_set(err, KV_EINVAL, "undefined auto-compaction-mode");
    if (strcmp(mode, "revision") == 0) {
        config->auto_compaction_mode = AUTOCOMPACT_REVISION;
        return check_retained_revisions(config, retention, err);
    }
    if (strcmp(mode, "periodic") != 0)
        return err_set(err, KV_EINVAL,
                       "unknown auto-compaction-mode \"%s\": must be periodic or revision", mode);
    config->auto_compaction_mode = AUTOCOMPACT_PERIODIC;
    return check_retained_time(config, retention, err);
}
