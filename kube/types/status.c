#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kube/types/status.h"

static const char *copy(struct arena *arena, const char *text)
{
    return text == NULL ? NULL
                        : memcpy(arena_alloc(arena, strlen(text) + 1), text, strlen(text) + 1);
}

static const char *copy_slice(struct arena *arena, struct slice text)
{
    char *out = arena_alloc(arena, text.len + 1);

    if (text.len > 0)
        memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return out;
}

static const char *vprint(struct arena *arena, const char *fmt, va_list args)
{
    va_list again;
    int len;
    char *out;

    va_copy(again, args);
    len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    out = arena_alloc(arena, (size_t)len + 1);
    (void)vsnprintf(out, (size_t)len + 1, fmt, args);
    return out;
}

static const char *print(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
static const char *print(struct arena *arena, const char *fmt, ...)
{
    const char *text;
    va_list args;

    va_start(args, fmt);
    text = vprint(arena, fmt, args);
    va_end(args);
    return text;
}

static int fill(struct kube_status *status, int code, const char *reason, const char *message)
{
    *status = (struct kube_status){.code = code, .reason = reason, .message = message};
    return code;
}

/* "deployments.apps", or "pods" for core. */
static const char *qualified(struct arena *arena, const struct kube_resource *resource)
{
    if (resource->group[0] == '\0')
        return resource->plural;
    return print(arena, "%s.%s", resource->plural, resource->group);
}

static void about(struct kube_status *status, struct arena *arena,
                  const struct kube_resource *resource, struct slice name)
{
    if (name.len > 0)
        status->name = copy_slice(arena, name);
    status->group = resource->group[0] == '\0' ? NULL : resource->group;
    status->kind = resource->plural;
}

int kube_status_set(struct kube_status *status, struct arena *arena, int code, const char *reason,
                    const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)fill(status, code, copy(arena, reason), vprint(arena, fmt, args));
    va_end(args);
    return code;
}

int kube_status_bad_request(struct kube_status *status, struct arena *arena, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)fill(status, 400, "BadRequest", vprint(arena, fmt, args));
    va_end(args);
    return status->code;
}

int kube_status_internal(struct kube_status *status, struct arena *arena, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)fill(status, 500, "InternalError",
               print(arena, "Internal error occurred: %s", vprint(arena, fmt, args)));
    va_end(args);
    return status->code;
}

int kube_status_not_found(struct kube_status *status, struct arena *arena,
                          const struct kube_resource *resource, struct slice name)
{
    (void)fill(status, 404, "NotFound",
               print(arena, "%s \"%.*s\" not found", qualified(arena, resource), (int)name.len,
                     (const char *)name.data));
    about(status, arena, resource, name);
    return status->code;
}

int kube_status_exists(struct kube_status *status, struct arena *arena,
                       const struct kube_resource *resource, struct slice name)
{
    (void)fill(status, 409, "AlreadyExists",
               print(arena, "%s \"%.*s\" already exists", qualified(arena, resource), (int)name.len,
                     (const char *)name.data));
    about(status, arena, resource, name);
    return status->code;
}

int kube_status_conflict(struct kube_status *status, struct arena *arena,
                         const struct kube_resource *resource, struct slice name, const char *fmt,
                         ...)
{
    const char *why = "the object has been modified; please apply your changes to the latest "
                      "version and try again";
    va_list args;

    if (fmt != NULL) {
        va_start(args, fmt);
        why = vprint(arena, fmt, args);
        va_end(args);
    }
    (void)fill(status, 409, "Conflict",
               print(arena, "Operation cannot be fulfilled on %s \"%.*s\": %s",
                     qualified(arena, resource), (int)name.len, (const char *)name.data, why));
    about(status, arena, resource, name);
    return status->code;
}

int kube_status_forbidden(struct kube_status *status, struct arena *arena,
                          const struct kube_resource *resource, struct slice name, const char *fmt,
                          ...)
{
    const char *why;
    va_list args;

    va_start(args, fmt);
    why = vprint(arena, fmt, args);
    va_end(args);
    if (name.len == 0)
        (void)fill(status, 403, "Forbidden",
                   print(arena, "%s is forbidden: %s", qualified(arena, resource), why));
    else
        (void)fill(status, 403, "Forbidden",
                   print(arena, "%s \"%.*s\" is forbidden: %s", qualified(arena, resource),
                         (int)name.len, (const char *)name.data, why));
    about(status, arena, resource, name);
    return status->code;
}

/* ---- Invalid ---- */

void kube_issues_add(struct kube_issues *issues, struct arena *arena, const char *type,
                     const char *field, const char *fmt, ...)
{
    struct kube_cause *cause;
    va_list args;

    if (issues->count >= KUBE_ISSUES_MAX)
        return;
    cause = arena_calloc(arena, sizeof(*cause));
    va_start(args, fmt);
    cause->message = vprint(arena, fmt, args);
    va_end(args);
    cause->reason = print(arena, "FieldValue%s", type);
    cause->field = copy(arena, field);
    if (issues->last == NULL)
        issues->first = cause;
    else
        issues->last->next = cause;
    issues->last = cause;
    issues->count++;
}

static bool is_repeated(const struct kube_cause *first, const struct kube_cause *cause)
{
    for (const struct kube_cause *earlier = first; earlier != cause; earlier = earlier->next) {
        if (strcmp(earlier->field, cause->field) == 0 &&
            strcmp(earlier->message, cause->message) == 0)
            return true;
    }
    return false;
}

/* Over it the message is cut; the causes are whole. */
#define MESSAGE_MAX (1u << 20)

static const char *join(struct arena *arena, const struct kube_issues *issues)
{
    const char *text;
    unsigned count = 0;
    struct buf buf;

    buf_init(&buf, MESSAGE_MAX);
    for (const struct kube_cause *cause = issues->first; cause != NULL; cause = cause->next) {
        if (is_repeated(issues->first, cause))
            continue;
        (void)buf_printf(&buf, "%s%s: %s", count == 0 ? "" : ", ", cause->field, cause->message);
        count++;
    }
    text = print(arena, count == 1 ? "%.*s" : "[%.*s]", (int)buf.len, (const char *)buf.data);
    buf_release(&buf);
    return text;
}

int kube_status_invalid(struct kube_status *status, struct arena *arena, const char *group,
                        const char *kind, struct slice name, const struct kube_issues *issues)
{
    const char *dot = group[0] == '\0' ? "" : ".";

    (void)fill(status, 422, "Invalid",
               print(arena, "%s%s%s \"%.*s\" is invalid: %s", kind, dot, group, (int)name.len,
                     (const char *)name.data, join(arena, issues)));
    status->name = name.len == 0 ? NULL : copy_slice(arena, name);
    status->group = group[0] == '\0' ? NULL : copy(arena, group);
    status->kind = copy(arena, kind);
    status->causes = issues->first;
    return status->code;
}

/* ---- as JSON ---- */

static void set_text(struct arena *arena, struct json *object, const char *key, const char *text)
{
    if (text != NULL)
        json_add(object, slice_str(key), json_new_cstring(arena, text));
}

static struct json *causes_json(struct arena *arena, const struct kube_cause *cause)
{
    struct json *array = json_new(arena, JSON_ARRAY);

    for (; cause != NULL; cause = cause->next) {
        struct json *item = json_new(arena, JSON_OBJECT);

        set_text(arena, item, "reason", cause->reason);
        set_text(arena, item, "message", cause->message);
        set_text(arena, item, "field", cause->field);
        json_append(array, item);
    }
    return array;
}

static struct json *details_json(struct arena *arena, const struct kube_status *status)
{
    struct json *details = json_new(arena, JSON_OBJECT);

    set_text(arena, details, "name", status->name);
    set_text(arena, details, "group", status->group);
    set_text(arena, details, "kind", status->kind);
    set_text(arena, details, "uid", status->uid);
    if (status->causes != NULL)
        json_add(details, slice_str("causes"), causes_json(arena, status->causes));
    if (status->retry_after_s != 0)
        json_add(details, slice_str("retryAfterSeconds"),
                 json_new_int(arena, status->retry_after_s));
    return details;
}

struct json *kube_status_json(struct arena *arena, const struct kube_status *status)
{
    struct json *object = json_new(arena, JSON_OBJECT);
    struct json *metadata = json_new(arena, JSON_OBJECT);
    struct json *details = details_json(arena, status);

    set_text(arena, object, "kind", "Status");
    set_text(arena, object, "apiVersion", "v1");
    set_text(arena, metadata, "continue", status->continue_token);
    json_add(object, slice_str("metadata"), metadata);
    set_text(arena, object, "status", status->code < 400 ? "Success" : "Failure");
    set_text(arena, object, "message", status->message);
    set_text(arena, object, "reason", status->reason);
    if (status->has_details || details->count > 0)
        json_add(object, slice_str("details"), details);
    if (status->code >= 400)
        json_add(object, slice_str("code"), json_new_int(arena, status->code));
    return object;
}
