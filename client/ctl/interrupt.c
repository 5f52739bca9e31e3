#include "client/ctl/interrupt.h"

#include <stddef.h>

#include "base/util.h"

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t came;

static void on_signal(int number)
{
    (void)number;
    came = 1;
}

void interrupt_begin(struct interrupt *interrupt)
{
    struct sigaction action = {.sa_handler = on_signal};

    came = 0;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        (void)sigaction(numbers[i], &action, &interrupt->old[i]); /* cannot fail for these */
}

bool interrupt_came(void)
{
    return came != 0;
}

void interrupt_end(const struct interrupt *interrupt)
{
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        (void)sigaction(numbers[i], &interrupt->old[i], NULL);
}
