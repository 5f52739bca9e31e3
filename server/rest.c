#include "server/rest.h"

#include "base/util.h"

uint64_t rest_for(struct rest *rest, uint64_t now_ns, bool flushing)
{
    if (rest->since_ns != 0)
        rest->earned_ns -= MIN(now_ns - rest->since_ns, rest->earned_ns);
    rest->since_ns = flushing && rest->earned_ns > 0 ? now_ns : 0;
    return rest->since_ns != 0 ? rest->earned_ns : 0;
}

void rest_earn(struct rest *rest, uint64_t worked_ns)
{
    rest->earned_ns = MIN(rest->earned_ns + worked_ns, (uint64_t)REST_NS_MAX);
}
