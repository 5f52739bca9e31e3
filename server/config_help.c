/* What --help and --version print. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/version.h"
#include "server/config_internal.h"

enum { COLUMNS = 96 };

static void print_group(enum flag_group group, const char *title)
{
    printf("\n%s:\n", title);
    for (size_t i = 0; i < config__flag_count; i++) {
        const struct flag *flag = &config__flags[i];

        if (flag->group != group || flag->use != FLAG_SET)
            continue;
        if (flag->initial != NULL && flag->kind != FLAG_FORMAT && strcmp(flag->name, "help") != 0 &&
            strcmp(flag->name, "version") != 0)
            printf("  --%s '%s'\n      %s\n", flag->name, flag->initial, flag->help);
        else
            printf("  --%s\n      %s\n", flag->name, flag->help);
    }
}

static void print_names(const char *title, bool refused)
{
    int column = 0;

    printf("\n%s:\n", title);
    for (size_t i = 0; i < config__flag_count; i++) {
        const struct flag *flag = &config__flags[i];
        int len = (int)strlen(flag->name) + 1;

        if (flag->use == FLAG_SET || (flag->use == FLAG_REFUSED) != refused)
            continue;
        if (column == 0 || column + len > COLUMNS)
            column = printf("%s ", column == 0 ? " " : "\n ");
        column += printf("%s ", flag->name);
    }
    printf("\n");
}

void config__print_help(void)
{
    printf("Usage:\n\n"
           "  kvd [flags]\n"
           "    Run a member of a kvd cluster, a key-value store that speaks etcd's API.\n\n"
           "  kvd --version\n"
           "  kvd --help\n\n"
           "A flag is --name=value, --name value or -name ...; a switch is --name or\n"
           "--name=false. Each is also a variable: --data-dir is ETCD_DATA_DIR or KVD_DATA_DIR.\n");
    print_group(GROUP_MEMBER, "Member");
    print_group(GROUP_CLUSTER, "Cluster");
    print_group(GROUP_LIMITS, "Limits");
    print_group(GROUP_LOGGING, "Logging");
    print_group(GROUP_UNSAFE, "Unsafe");
    print_group(GROUP_OTHER, "Other");
    print_names("etcd's flags that are taken and change nothing here", false);
    print_names("etcd's flags that are refused unless they have their default, because kvd cannot\n"
                "follow them yet and ignoring them would do harm",
                true);
}

void config__print_version(void)
{
    struct utsname system;

    /* Scripts look for the second line. */
    printf("kvd Version: %s\n"
           "etcd Version: %s\n"
           "API Version: %s\n"
           "Compiler: %s\n",
           KVD_VERSION, ETCD_API_VERSION, ETCD_API_LINE, __VERSION__);
    if (uname(&system) == 0)
        printf("OS/Arch: %s/%s\n", system.sysname, system.machine);
}
