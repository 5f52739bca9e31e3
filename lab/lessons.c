/* The lessons are scripts in lab/lessons; they become part of the program, and the Makefile knows
 * that this object depends on them. */
#include <string.h>

#include "base/util.h"
#include "lab/lab.h"

/* In the order in which they are listed: file, symbol. */
#define LESSON_MAP(X)                                                                              \
    X("leader-crash", leader_crash)                                                                \
    X("minority-leader", minority_leader)                                                          \
    X("even-and-odd", even_and_odd)                                                                \
    X("lost-majority", lost_majority)                                                              \
    X("lock-fencing", lock_fencing)                                                                \
    X("learner", learner)                                                                          \
    X("slow-disk", slow_disk)                                                                      \
    X("full-disk", full_disk)                                                                      \
    X("torn-log", torn_log)                                                                        \
    X("lying-disk", lying_disk)                                                                    \
    X("one-way-cut", one_way_cut)                                                                  \
    X("snapshot-catch-up", snapshot_catch_up)                                                      \
    X("restore", restore)

#define X(name, symbol)                                                                            \
    __asm__(".section .rodata\n"                                                                   \
            "lab__lesson_" #symbol "_start:\n"                                                     \
            ".incbin \"lab/lessons/" name ".lab\"\n"                                               \
            "lab__lesson_" #symbol "_end:\n"                                                       \
            ".byte 0\n"                                                                            \
            ".previous\n");                                                                        \
    extern const char lab__lesson_##symbol##_start[], lab__lesson_##symbol##_end[];
LESSON_MAP(X)
#undef X

enum {
#define X(name, symbol) LESSON_##symbol,
    LESSON_MAP(X)
#undef X
        LESSON_COUNT
};

/* The length is a difference of two symbols, which only the linker knows: filled at the first use.
 */
static struct lab_lesson lessons[LESSON_COUNT];

static void fill(void)
{
#define X(file, symbol)                                                                            \
    lessons[LESSON_##symbol] = (struct lab_lesson){                                                \
        .name = file,                                                                              \
        .text = slice_of(lab__lesson_##symbol##_start,                                             \
                         (size_t)(lab__lesson_##symbol##_end - lab__lesson_##symbol##_start))};
    LESSON_MAP(X)
#undef X
}

const struct lab_lesson *lab_lesson_at(size_t n)
{
    if (lessons[0].name == NULL)
        fill();
    return n < LESSON_COUNT ? &lessons[n] : NULL;
}

const struct lab_lesson *lab_lesson_named(const char *name)
{
    const struct lab_lesson *lesson;

    for (size_t n = 0; (lesson = lab_lesson_at(n)) != NULL; n++) {
        if (strcmp(lesson->name, name) == 0)
            return lesson;
    }
    return NULL;
}
