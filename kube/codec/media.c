#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "kube/codec/media.h"

static bool equals(struct slice text, const char *word)
{
    return text.len == strlen(word) && strncasecmp((const char *)text.data, word, text.len) == 0;
}

static struct slice trim(struct slice text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* Takes the part of *rest up to separator, trimmed. A quoted string may hold the separator (RFC
 * 9110, 5.6.6). False: nothing is left. */
static bool take(struct slice *rest, uint8_t separator, struct slice *out)
{
    size_t end = 0;
    bool quoted = false;

    if (rest->len == 0)
        return false;
    for (; end < rest->len && (quoted || rest->data[end] != separator); end++) {
        if (rest->data[end] == '"')
            quoted = !quoted;
        else if (quoted && rest->data[end] == '\\' && end + 1 < rest->len)
            end++;
    }
    *out = trim(slice_of(rest->data, end));
    end += end < rest->len;
    *rest = slice_of(rest->data + end, rest->len - end);
    return true;
}

static struct slice unquote(struct slice value)
{
    if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
        return slice_of(value.data + 1, value.len - 2);
    return value;
}

/* One clause of an Accept header. */
struct clause {
    struct slice type; /* "application/json" */
    struct slice as, group, version;
    bool foreign; /* a parameter asks for what we do not do */
    int quality;  /* in thousandths */
};

/* "0.8" in thousandths; what is no quality counts as 1, as if it were not there. */
static int read_quality(struct slice text)
{
    int quality = 0;
    size_t i = 1;

    if (text.len == 0 || text.len > 5 || text.data[0] != '0')
        return 1000;
    if (text.len > 1 && text.data[i++] != '.')
        return 1000;
    for (int unit = 100; i < text.len; i++, unit /= 10) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 1000;
        quality += unit * (text.data[i] - '0');
    }
    return quality;
}

static void read_parameter(struct clause *clause, struct slice text)
{
    struct slice name;

    if (!take(&text, '=', &name))
        return;
    text = unquote(trim(text));
    if (equals(name, "q"))
        clause->quality = read_quality(text);
    else if (equals(name, "as"))
        clause->as = text;
    else if (equals(name, "g"))
        clause->group = text;
    else if (equals(name, "v"))
        clause->version = text;
    else if (equals(name, "stream"))
        clause->foreign = clause->foreign || !(text.len == 0 || equals(text, "watch"));
}

static struct clause read_clause(struct slice text)
{
    struct clause clause = {.quality = 1000};
    struct slice parameter;

    (void)take(&text, ';', &clause.type);
    while (take(&text, ';', &parameter))
        read_parameter(&clause, parameter);
    return clause;
}

static bool format_of(struct slice type, enum kube_format *out)
{
    if (equals(type, "application/json") || equals(type, "application/*") || equals(type, "*/*"))
        *out = KUBE_JSON;
    else if (equals(type, "application/yaml"))
        *out = KUBE_YAML;
    else
        return false;
    return true;
}

/* What `as`, `g` and `v` name. */
static const struct view_name {
    const char *as, *group, *version;
    enum kube_view view;
} view_names[] = {
    {"Table", "meta.k8s.io", "v1", KUBE_VIEW_TABLE},
    {"Table", "meta.k8s.io", "v1beta1", KUBE_VIEW_TABLE},
    {"PartialObjectMetadata", "meta.k8s.io", "v1", KUBE_VIEW_METADATA},
    {"PartialObjectMetadata", "meta.k8s.io", "v1beta1", KUBE_VIEW_METADATA},
    {"PartialObjectMetadataList", "meta.k8s.io", "v1", KUBE_VIEW_METADATA},
    {"PartialObjectMetadataList", "meta.k8s.io", "v1beta1", KUBE_VIEW_METADATA},
    {"APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2", KUBE_VIEW_GROUP_DISCOVERY},
    {"APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1", KUBE_VIEW_GROUP_DISCOVERY},
};

static bool view_of(const struct clause *clause, unsigned views, struct kube_accept *out)
{
    if (clause->as.len == 0 && clause->group.len == 0 && clause->version.len == 0) {
        out->view = KUBE_VIEW_OBJECT;
        out->version = "v1";
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(view_names); i++) {
        const struct view_name *name = &view_names[i];

        if ((views & 1u << name->view) != 0 && slice_eq(clause->as, slice_str(name->as)) &&
            slice_eq(clause->group, slice_str(name->group)) &&
            slice_eq(clause->version, slice_str(name->version))) {
            out->view = name->view;
            out->version = name->version;
            return true;
        }
    }
    return false;
}

/* Among equal qualities what is named beats a wildcard, and then the first wins. */
static int rank_of(const struct clause *clause)
{
    bool wild = clause->type.len > 0 && clause->type.data[clause->type.len - 1] == '*';

    return clause->quality * 4 + (!wild ? 2 : equals(clause->type, "*/*") ? 0 : 1);
}

bool kube_accept_parse(struct slice header, unsigned views, struct kube_accept *out)
{
    int best = 0;
    struct slice text;

    if (trim(header).len == 0)
        header = slice_str("application/json");
    while (take(&header, ',', &text)) {
        struct clause clause = read_clause(text);
        struct kube_accept found;
        int rank = rank_of(&clause);

        if (clause.quality == 0 || clause.foreign || rank <= best ||
            !format_of(clause.type, &found.format) || !view_of(&clause, views, &found))
            continue;
        best = rank;
        *out = found;
    }
    return best > 0;
}

enum kube_body kube_body_type(struct slice content_type)
{
    static const struct {
        const char *name;
        enum kube_body body;
    } bodies[] = {
        {"application/json", KUBE_BODY_JSON},
        {"application/yaml", KUBE_BODY_YAML},
        {"application/vnd.kubernetes.protobuf", KUBE_BODY_PROTOBUF},
        {"application/json-patch+json", KUBE_BODY_JSON_PATCH},
        {"application/merge-patch+json", KUBE_BODY_MERGE_PATCH},
        {"application/strategic-merge-patch+json", KUBE_BODY_STRATEGIC_PATCH},
        {"application/apply-patch+yaml", KUBE_BODY_APPLY_YAML},
    };
    struct slice type;

    if (!take(&content_type, ';', &type))
        return KUBE_BODY_JSON;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        if (equals(type, bodies[i].name))
            return bodies[i].body;
    }
    return KUBE_BODY_UNKNOWN;
}
