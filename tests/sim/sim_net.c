/* Links between members: frames of one connection stay in order, may be late, may be lost with the
 * connection or (harsher than TCP) alone; a cut link loses everything. */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "tests/sim/sim.h"

struct flying {
    unsigned from, to;
    uint64_t epoch; /* of the link */
    uint64_t life;  /* of the receiver */
    size_t len;
    uint8_t bytes[];
};

static void deliver(struct sim *sim, void *data, uint64_t token)
{
    struct flying *f = data;
    struct sim_member *to = &sim->members[f->to];
    struct err err = ERR_INIT;

    if (to->up && sim_member_asleep(to, deliver, data, token, free))
        return; /* it waits in the kernel */
    sim->links[f->from][f->to].queued -= f->len;
    if (to->up && to->life == f->life && sim->links[f->from][f->to].epoch == f->epoch &&
        !sim->links[f->from][f->to].cut && sim_churn_hears(to, f->from)) {
        sim_trace(sim, crc32c_extend((uint32_t)sim->now_us, f->bytes, f->len));
        if (replica_on_frame(to->replica, f->from, slice_of(f->bytes, f->len), &err) != 0)
            sim_violation(sim, "m%u refuses a frame of m%u: %s", f->to, f->from, err.text);
        sim_member_settle(to);
    }
    free(f);
}

void sim_send(struct sim *sim, unsigned from, unsigned to, struct slice frame)
{
    struct prng *prng = &sim->prng;
    uint64_t delay_us = prng_between(prng, 100, 2000);
    struct flying *f;

    if (to == 0 || to > sim->size || !sim->members[to].up)
        return;
    if (!sim->healed && prng_chance(prng, sim->loss_ppm))
        return;
    if (!sim->healed && prng_chance(prng, sim->slow_ppm))
        delay_us += prng_between(prng, 0, 800000);
    f = xmalloc(sizeof *f + frame.len);
    *f = (struct flying){.from = from,
                         .to = to,
                         .epoch = sim->links[from][to].epoch,
                         .life = sim->members[to].life,
                         .len = frame.len};
    memcpy(f->bytes, frame.data, frame.len);
    sim->links[from][to].queued += frame.len;
    sim->links[from][to].last_us = MAX(sim->links[from][to].last_us + 1, sim->now_us + delay_us);
    sim_at(sim, sim->links[from][to].last_us, deliver, f, 0, free);
}

static void peer_event(struct sim *sim, void *data, uint64_t token)
{
    struct sim_member *member = data;
    unsigned peer = (unsigned)(token >> 1 & 15);
    bool up = token & 1;

    if (!member->up || member->life != token >> 5 ||
        sim_member_asleep(member, peer_event, data, token, NULL))
        return;
    sim_trace(sim, token);
    if (up && !sim_churn_greets(member, peer)) {
        sim_member_settle(member);
        return;
    }
    member->peers[peer].up = up;
    member->peers[peer].since_us = sim->now_us;
    replica_on_peer(member->replica, peer, up);
    sim_member_settle(member);
}

void sim_peer_changed(struct sim *sim, unsigned who, unsigned peer, bool up, uint64_t delay_us)
{
    struct sim_member *member = &sim->members[who];

    if (member->up)
        sim_at(sim, sim->now_us + delay_us, peer_event, member, member->life << 5 | peer << 1 | up,
               NULL);
}

void sim_link_set(struct sim *sim, unsigned from, unsigned to, bool cut)
{
    if (sim->links[from][to].cut == cut)
        return;
    sim->links[from][to].cut = cut;
    if (cut)
        sim_bulk_broken(sim, from, to);
    if (cut)
        return; /* nobody notices at once: packets just vanish */
    /* A healed link is a new connection. */
    sim->links[from][to].epoch++;
    sim->links[from][to].last_us = sim->now_us;
    sim_peer_changed(sim, to, from, true, prng_between(&sim->prng, 100, 200000));
    sim_peer_changed(sim, from, to, true, prng_between(&sim->prng, 100, 200000));
}
