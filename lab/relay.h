/* What members say to each other goes through here: one relay for every ordered pair of members, so
 * that what A sends to B can be held back, delayed or made to trickle while what B sends to A goes
 * on.
 *
 * Each member has one door: the address that all others know it by. Who comes says so in the hello
 * of the peer protocol (the port on which it listens), and with that the connection belongs to a
 * pair. A cut holds bytes back as a network does that loses packets: connections stay open, nobody
 * is told, and after the cut TCP delivers what it had; no byte is lost or reordered. Whoever does
 * not say who it is (one that asks before it joins) is let through.
 *
 * Loop thread only. */
#ifndef KVD_LAB_RELAY_H
#define KVD_LAB_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct lab_relays;

struct lab_relays *lab_relays_new(uv_loop_t *loop);
/* A door for member n (1 to LAB_MEMBERS_MAX), which listens on target_port; *out_port is the
 * door's. KV_EBUSY, KV_EIO. */
int lab_relays_add(struct lab_relays *relays, unsigned n, uint16_t target_port, uint16_t *out_port,
                   struct err *err);

void lab_relays_cut(struct lab_relays *relays, unsigned from, unsigned to, bool cut);
bool lab_relays_is_cut(const struct lab_relays *relays, unsigned from, unsigned to);
void lab_relays_delay(struct lab_relays *relays, unsigned from, unsigned to, uint64_t delay_ms);
uint64_t lab_relays_delay_of(const struct lab_relays *relays, unsigned from, unsigned to);
/* At most so many bytes per second, and no more than one second's worth wait on the way; 0: no
 * limit. All connections of the pair share it. */
void lab_relays_thin(struct lab_relays *relays, unsigned from, unsigned to,
                     uint64_t bytes_per_second);
uint64_t lab_relays_thin_of(const struct lab_relays *relays, unsigned from, unsigned to);
/* Delayed or thin. */
bool lab_relays_is_slow(const struct lab_relays *relays, unsigned from, unsigned to);
/* uv_now() when bytes of from last got to to; 0: never. */
uint64_t lab_relays_heard_at(const struct lab_relays *relays, unsigned from, unsigned to);
uint64_t lab_relays_bytes(const struct lab_relays *relays, unsigned from, unsigned to);

/* Closes everything; the memory is gone after cb. */
void lab_relays_close(struct lab_relays *relays, void (*cb)(void *ctx), void *ctx);

#endif
