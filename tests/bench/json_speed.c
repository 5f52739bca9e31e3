/* How fast kube/json reads and writes, beside the json-c and jansson of this machine: a Pod, and a
 * list of 4,000 ConfigMaps. Prints MB/s of each, and our ratio to the faster of the others. They
 * are loaded at run time, since their names and ours meet. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "kube/json/json.h"

#define TEXT_MAX (64u << 20)

/* One library: a tree from text, text from the tree, and the end of it. */
struct library {
    const char *name;
    void *(*parse)(struct slice text);
    size_t (*write)(void *tree);
    void (*release)(void *tree);
};

/* ---- ours ---- */

struct our_tree {
    struct arena arena;
    struct json *value;
    struct buf buf;
};

static void *our_parse(struct slice text)
{
    struct our_tree *tree = xcalloc(1, sizeof(*tree));

    arena_init(&tree->arena);
    buf_init(&tree->buf, TEXT_MAX);
    ASSERT(json_parse(&tree->arena, text, NULL, &tree->value, NULL) == 0);
    return tree;
}

static size_t our_write(void *context)
{
    struct our_tree *tree = context;

    buf_reset(&tree->buf);
    ASSERT(json_write(&tree->buf, tree->value) == 0);
    return tree->buf.len;
}

static void our_release(void *context)
{
    struct our_tree *tree = context;

    arena_release(&tree->arena);
    buf_release(&tree->buf);
    free(tree);
}

/* ---- theirs ---- */

static struct {
    void *(*new_tokener)(int depth);
    void *(*parse)(void *tokener, const char *text, int len);
    void (*free_tokener)(void *tokener);
    const char *(*write)(void *tree, int flags, size_t *len);
    int (*put)(void *tree);
} json_c;

static void *json_c_parse(struct slice text)
{
    void *tokener = json_c.new_tokener(64);
    void *tree = json_c.parse(tokener, (const char *)text.data, (int)text.len);

    json_c.free_tokener(tokener);
    ASSERT(tree != NULL);
    return tree;
}

static size_t json_c_write(void *tree)
{
    size_t len;

    (void)json_c.write(tree, 0, &len);
    return len;
}

static void json_c_release(void *tree)
{
    (void)json_c.put(tree);
}

static struct {
    void *(*parse)(const char *text, size_t len, size_t flags, void *error);
    char *(*write)(const void *tree, size_t flags);
    void (*release)(void *tree);
} jansson;

#define JANSSON_COMPACT 0x20

static void *jansson_parse(struct slice text)
{
    void *tree = jansson.parse((const char *)text.data, text.len, 0, NULL);

    ASSERT(tree != NULL);
    return tree;
}

static size_t jansson_write(void *tree)
{
    char *text = jansson.write(tree, JANSSON_COMPACT);
    size_t len = strlen(text);

    free(text);
    return len;
}

/* json_decref() is inline; this program holds the only reference. */
static void jansson_release(void *tree)
{
    jansson.release(tree);
}

static void *load(const char *file, const char *package)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);

    if (handle == NULL)
        printf("without %s: no %s here\n", package, file);
    return handle;
}

/* ISO C has no cast from a pointer to data to one to a function. */
static void resolve(void *handle, const char *name, void *function)
{
    void *symbol = dlsym(handle, name);

    ASSERT(symbol != NULL);
    memcpy(function, &symbol, sizeof(symbol));
}

static size_t load_libraries(struct library *out)
{
    size_t count = 0;
    void *handle;

    out[count++] = (struct library){"kube/json", our_parse, our_write, our_release};
    handle = load("libjson-c.so.5", "json-c");
    if (handle != NULL) {
        resolve(handle, "json_tokener_new_ex", &json_c.new_tokener);
        resolve(handle, "json_tokener_parse_ex", &json_c.parse);
        resolve(handle, "json_tokener_free", &json_c.free_tokener);
        resolve(handle, "json_object_to_json_string_length", &json_c.write);
        resolve(handle, "json_object_put", &json_c.put);
        out[count++] = (struct library){"json-c", json_c_parse, json_c_write, json_c_release};
    }
    handle = load("libjansson.so.4", "jansson");
    if (handle != NULL) {
        resolve(handle, "json_loadb", &jansson.parse);
        resolve(handle, "json_dumps", &jansson.write);
        resolve(handle, "json_delete", &jansson.release);
        out[count++] = (struct library){"jansson", jansson_parse, jansson_write, jansson_release};
    }
    return count;
}

/* ---- what is read ---- */

static void add(struct buf *buf, const char *text)
{
    ASSERT(buf_append(buf, text, strlen(text)) == 0);
}

static void add_container(struct buf *buf, int i)
{
    ASSERT(
        buf_printf(buf,
                   "%s{\"name\":\"worker-%d\",\"image\":\"registry.example.com/team/app:1.%d\","
                   "\"command\":[\"/bin/sh\",\"-c\",\"exec app --listen=:8080\"],\"ports\":[{"
                   "\"containerPort\":%d,\"protocol\":\"TCP\"}],\"env\":[{\"name\":\"POD_NAME\","
                   "\"valueFrom\":{\"fieldRef\":{\"apiVersion\":\"v1\",\"fieldPath\":"
                   "\"metadata.name\"}}},{\"name\":\"MODE\",\"value\":\"batch\"}],\"resources\":{"
                   "\"limits\":{\"cpu\":\"2\",\"memory\":\"4Gi\",\"nvidia.com/gpu\":\"1\"},"
                   "\"requests\":{\"cpu\":\"500m\",\"memory\":\"1Gi\"}},\"volumeMounts\":[{"
                   "\"name\":\"data\",\"mountPath\":\"/data\"},{\"name\":\"kube-api-access-x7k2p\","
                   "\"readOnly\":true,\"mountPath\":\"/var/run/secrets/kubernetes.io/"
                   "serviceaccount\"}],\"terminationMessagePath\":\"/dev/termination-log\","
                   "\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"IfNotPresent\"}",
                   i == 0 ? "" : ",", i, i, 8080 + i) == 0);
}

static void add_pod(struct buf *buf)
{
    add(buf,
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web-7d4b9c-x2x8k\","
        "\"generateName\":\"web-7d4b9c-\",\"namespace\":\"ml-team\",\"uid\":"
        "\"0ba47c34-ea18-476d-8e04-9f28b718e90a\",\"resourceVersion\":\"48213\","
        "\"creationTimestamp\":\"2026-11-22T21:14:32Z\",\"labels\":{\"app\":\"web\","
        "\"pod-template-hash\":\"7d4b9c\"},\"annotations\":{\"note\":\"line one\\nline "
        "\\\"two\\\"\"},\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\","
        "\"name\":\"web-7d4b9c\",\"uid\":\"5ad0c9b2-95ab-4d8e-b4a7-1b2b8a5f6c11\","
        "\"controller\":true,\"blockOwnerDeletion\":true}]},\"spec\":{\"volumes\":[{\"name\":"
        "\"data\",\"persistentVolumeClaim\":{\"claimName\":\"data\"}}],\"containers\":[");
    for (int i = 0; i < 3; i++)
        add_container(buf, i);
    add(buf,
        "],\"restartPolicy\":\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":"
        "\"ClusterFirst\",\"serviceAccountName\":\"default\",\"nodeName\":\"node-1\","
        "\"securityContext\":{},\"schedulerName\":\"default-scheduler\",\"tolerations\":[{"
        "\"key\":\"node.kubernetes.io/not-ready\",\"operator\":\"Exists\",\"effect\":"
        "\"NoExecute\",\"tolerationSeconds\":300}],\"priority\":0,\"enableServiceLinks\":true},"
        "\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":"
        "\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":\"2026-11-22T21:14:40Z\"}],"
        "\"hostIP\":\"10.1.1.1\",\"podIP\":\"10.0.0.17\",\"startTime\":"
        "\"2026-11-22T21:14:33Z\",\"qosClass\":\"Burstable\"}}");
}

static void add_list(struct buf *buf)
{
    char value[801];

    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    add(buf, "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":"
             "\"90001\"},\"items\":[");
    for (int i = 0; i < 4000; i++)
        ASSERT(
            buf_printf(buf,
                       "%s{\"metadata\":{\"name\":\"cm-%05d\",\"namespace\":\"default\",\"uid\":"
                       "\"0ba47c34-ea18-476d-8e04-9f28b718%04d\",\"resourceVersion\":\"%d\","
                       "\"creationTimestamp\":\"2026-11-22T21:14:32Z\"},\"data\":{\"key\":\"%s\","
                       "\"other\":\"x\"}}",
                       i == 0 ? "" : ",", i, i, 80000 + i, value) == 0);
    add(buf, "]}");
}

/* ---- measuring ---- */

static double now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct speed {
    double parse, write; /* MB/s */
};

static struct speed measure(const struct library *library, struct slice text, size_t bytes)
{
    size_t rounds = bytes / text.len + 1, written = 0;
    double parsing = 0, writing = 0;

    for (size_t i = 0; i < rounds; i++) {
        double began = now_s(), parsed;
        void *tree = library->parse(text);

        parsed = now_s();
        written += library->write(tree);
        writing += now_s() - parsed;
        parsing += parsed - began;
        began = now_s();
        library->release(tree);
        parsing += now_s() - began;
    }
    return (struct speed){.parse = (double)(rounds * text.len) / parsing / 1e6,
                          .write = (double)written / writing / 1e6};
}

static void compare(const struct library *libraries, size_t count, const char *what,
                    struct slice text, size_t bytes)
{
    struct speed ours = {0, 0}, best = {0, 0};

    printf("%s, %zu bytes\n", what, text.len);
    for (size_t i = 0; i < count; i++) {
        struct speed speed = measure(&libraries[i], text, bytes);

        printf("  %-10s read and free %7.0f MB/s   write %7.0f MB/s\n", libraries[i].name,
               speed.parse, speed.write);
        if (i == 0) {
            ours = speed;
            continue;
        }
        best.parse = speed.parse > best.parse ? speed.parse : best.parse;
        best.write = speed.write > best.write ? speed.write : best.write;
    }
    if (count > 1)
        printf("  ratio      read %.1f   write %.1f\n", ours.parse / best.parse,
               ours.write / best.write);
}

int main(int argc, char **argv)
{
    size_t bytes = argc > 1 ? strtoull(argv[1], NULL, 10) << 20 : 200u << 20;
    struct library libraries[3];
    size_t count = load_libraries(libraries);
    struct buf buf;

    buf_init(&buf, TEXT_MAX);
    add_pod(&buf);
    compare(libraries, count, "a Pod", buf_slice(&buf), bytes);
    buf_reset(&buf);
    add_list(&buf);
    compare(libraries, count, "4,000 ConfigMaps", buf_slice(&buf), bytes);
    buf_release(&buf);
    return 0;
}
