#include "server/access.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

static void list_release(struct access_list *list)
{
    free(list->words);
    free(list->text);
    *list = (struct access_list){.words = NULL};
}

static bool list_has(const struct access_list *list, struct slice word)
{
    for (char *const *each = list->words; each != NULL && *each != NULL; each++)
        if (strlen(*each) == word.len &&
            (word.len == 0 || strncasecmp(*each, (const char *)word.data, word.len) == 0))
            return true;
    return false;
}

static void list_init(struct access_list *list, const char *text)
{
    size_t count = 0;
    char *rest = NULL;

    *list = (struct access_list){.words = NULL};
    if (text == NULL || text[0] == '\0')
        return;
    list->text = xstrdup(text);
    list->words = xcalloc(strlen(text) + 1, sizeof *list->words);
    for (char *word = strtok_r(list->text, ", ", &rest); word != NULL;
         word = strtok_r(NULL, ", ", &rest))
        list->words[count++] = word;
    if (count == 0 || list_has(list, slice_str("*")))
        list_release(list);
}

void access_init(struct access *access, const char *origins, const char *hosts)
{
    list_init(&access->origins, origins);
    list_init(&access->hosts, hosts);
}

void access_release(struct access *access)
{
    list_release(&access->origins);
    list_release(&access->hosts);
}

/* "name", "name:2379", "[::1]:2379": the name alone. */
static struct slice without_port(struct slice host)
{
    const uint8_t *colon = NULL;

    if (host.len > 0 && host.data[host.len - 1] != ']')
        colon = memrchr(host.data, ':', host.len);
    if (colon != NULL)
        host.len = (size_t)(colon - host.data);
    if (host.len > 1 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = slice_of(host.data + 1, host.len - 2);
    return host;
}

bool access_allows_host(const struct access *access, struct slice host)
{
    return access->hosts.words == NULL || list_has(&access->hosts, without_port(host));
}
