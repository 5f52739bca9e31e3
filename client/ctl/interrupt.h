/* For commands that make something and must undo it when they are told to end. One at a time. */
#ifndef KVD_CLIENT_CTL_INTERRUPT_H
#define KVD_CLIENT_CTL_INTERRUPT_H

#include <signal.h>
#include <stdbool.h>

struct interrupt {
    struct sigaction old[3];
};

/* From now on SIGINT, SIGTERM and SIGHUP are only noted. */
void interrupt_begin(struct interrupt *interrupt);
/* One has come since. */
bool interrupt_came(void);
/* They do again what they did. */
void interrupt_end(const struct interrupt *interrupt);

#endif
