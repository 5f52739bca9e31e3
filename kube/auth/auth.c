#include "kube/auth/auth.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "kube/auth/token_file.h"

struct kube_auth {
    struct kube_auth_options options;
    struct token_file *tokens; /* NULL: none */
};

int kube_auth_new(const struct kube_auth_options *options, struct kube_auth **out, struct err *err)
{
    struct kube_auth *auth = xcalloc(1, sizeof *auth);

    auth->options = *options;
    if (options->token_file != NULL) {
        int rc = token_file_read(options->token_file, &auth->tokens, err);

        if (rc != 0) {
            free(auth);
            return rc;
        }
    }
    auth->options.token_file = NULL;
    *out = auth;
    return 0;
}

void kube_auth_free(struct kube_auth *auth)
{
    if (auth == NULL)
        return;
    token_file_free(auth->tokens);
    free(auth);
}

/* ---- authentication ---- */

static void set_user(struct arena *arena, struct slice name, const struct slice *groups,
                     size_t group_count, const char *last_group, struct kube_user *out)
{
    *out = (struct kube_user){.name = name};
    out->groups = arena_alloc(arena, (group_count + 1) * sizeof *out->groups);
    for (size_t i = 0; i < group_count; i++)
        out->groups[out->group_count++] = groups[i];
    if (!kube_user_in(out, last_group))
        out->groups[out->group_count++] = slice_str(last_group);
}

void kube_auth_certificate(struct arena *arena, struct slice common_name,
                           const struct slice *organizations, size_t organization_count,
                           struct kube_user *out)
{
    set_user(arena, common_name, organizations, organization_count, "system:authenticated", out);
}

/* The token of "Bearer TOKEN"; data NULL: another scheme, which is none of ours to judge. */
static struct slice bearer_token(struct slice header)
{
    static const char scheme[] = "bearer ";
    size_t len = sizeof scheme - 1;

    while (header.len > 0 && header.data[0] == ' ') {
        header.data++;
        header.len--;
    }
    if (header.len <= len || strncasecmp((const char *)header.data, scheme, len) != 0)
        return slice_of(NULL, 0);
    while (len < header.len && header.data[len] == ' ')
        len++;
    return slice_of(header.data + len, header.len - len);
}

bool kube_auth_header(const struct kube_auth *auth, struct arena *arena, struct slice authorization,
                      struct kube_user *out)
{
    struct slice token = bearer_token(authorization);
    const struct token_user *found;

    if (token.data == NULL) {
        set_user(arena, slice_str("system:anonymous"), NULL, 0, "system:unauthenticated", out);
        return !auth->options.no_anonymous;
    }
    found = auth->tokens == NULL ? NULL : token_file_find(auth->tokens, token);
    if (found == NULL)
        return false;
    set_user(arena, found->name, found->groups, found->group_count, "system:authenticated", out);
    out->uid = found->uid;
    return true;
}

/* ---- authorization ---- */

bool kube_user_in(const struct kube_user *user, const char *group)
{
    for (size_t i = 0; i < user->group_count; i++)
        if (slice_eq(user->groups[i], slice_str(group)))
            return true;
    return false;
}

static bool is_below(const char *path, const char *root)
{
    size_t len = strlen(root);

    return strncmp(path, root, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static bool is_any_below(const char *path, const char *const *roots, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_below(path, roots[i]))
            return true;
    return false;
}

bool kube_auth_allows(const struct kube_auth *auth, const struct kube_user *user,
                      const struct kube_attributes *attributes)
{
    /* What upstream's roles system:public-info-viewer and system:discovery name. */
    static const char *const anyone[] = {"/healthz", "/livez", "/readyz", "/version"};
    static const char *const authenticated[] = {"/api", "/apis", "/openapi", "/openid"};

    if (auth->options.always_allow || kube_user_in(user, "system:masters"))
        return true;
    if (attributes->is_resource)
        return kube_user_in(user, "system:authenticated") &&
               (slice_eq(attributes->resource, slice_str("selfsubjectreviews")) ||
                slice_eq(attributes->resource, slice_str("selfsubjectaccessreviews"))) &&
               strcmp(attributes->verb, "create") == 0;
    if (strcmp(attributes->verb, "get") != 0 && strcmp(attributes->verb, "head") != 0)
        return false;
    if (is_any_below(attributes->path, anyone, ARRAY_LEN(anyone)))
        return true;
    return kube_user_in(user, "system:authenticated") &&
           is_any_below(attributes->path, authenticated, ARRAY_LEN(authenticated));
}

static const char *print(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
static const char *print(struct arena *arena, const char *fmt, ...)
{
    va_list args, again;
    char *out;
    int len;

    va_start(args, fmt);
    va_copy(again, args);
    len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    out = arena_alloc(arena, (size_t)len + 1);
    (void)vsnprintf(out, (size_t)len + 1, fmt, args);
    va_end(args);
    return out;
}

#define TEXT(slice) (int)(slice).len, (const char *)(slice).data

const char *kube_auth_refusal(struct arena *arena, const struct kube_user *user,
                              const struct kube_attributes *attributes)
{
    const char *scope = " at the cluster scope";

    if (!attributes->is_resource)
        return print(arena, "User \"%.*s\" cannot %s path \"%s\"", TEXT(user->name),
                     attributes->verb, attributes->path);
    if (attributes->ns.len > 0)
        scope = print(arena, " in the namespace \"%.*s\"", TEXT(attributes->ns));
    return print(arena, "User \"%.*s\" cannot %s resource \"%.*s%s%.*s\" in API group \"%.*s\"%s",
                 TEXT(user->name), attributes->verb, TEXT(attributes->resource),
                 attributes->subresource.len > 0 ? "/" : "", TEXT(attributes->subresource),
                 TEXT(attributes->group), scope);
}
