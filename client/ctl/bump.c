/* The flags that say how a restored or recovered store's revision is raised. */
#include <stdlib.h>

#include "client/ctl/ctl.h"
#include "offline/restore.h"

/* etcdutl wants both flags or none; without them nobody shall be fooled. */
int ctl_take_bump(struct ctl *ctl, const char *text, bool mark_compacted, int64_t *out)
{
    char *end;

    *out = RESTORE_BUMP_DEFAULT;
    if (text[0] == '\0')
        return mark_compacted
                   ? ctl_fail(ctl, CTL_ERROR, "--bump-revision required if --mark-compacted")
                   : 0;
    *out = strtoll(text, &end, 10);
    if (*end != '\0' || *out < 0 || *out > INT64_MAX / 2)
        return ctl_fail(ctl, CTL_ERROR,
                        "invalid argument \"%s\" for \"--bump-revision\" flag: a number from 0 on",
                        text);
    if (*out > 0 && !mark_compacted)
        return ctl_fail(ctl, CTL_ERROR, "--mark-compacted required if --bump-revision");
    if (*out == 0 && mark_compacted)
        return ctl_fail(ctl, CTL_ERROR, "--bump-revision required if --mark-compacted");
    return 0;
}
