/* SPDX-License-Identifier: MIT */
/*
 * What tests/target/test_gdb.py has GDB do with a guest: steps over instructions that are emulated,
 * replayed, or handled by the hypervisor otherwise; and memory slots that are deleted, moved and
 * added below a watchpoint. Without GDB, all of it runs through.
 */
#include "guest/programs/rt/rt.h"

#define DEV    ((uint64_t)TESTDEV_A_BASE)
#define HOLE   0xc0000000ull
#define BEYOND 0xc8000000ull
#define SLOT   8
#define ROUNDS 3 /* the first one fills the caches for replays, and GDB steps through the last */
#define TF     0x100u

/* The labels are where each step has to lead. The instructions leave their flags in RDX, for the
 * test that no trap flag is in them. */
static uint64_t round_of_steps(void)
{
    uint64_t flags;
    __asm__ volatile("    .globl step_0, step_1, step_2, step_3, step_4, step_5, step_6, step_7\n"
                     "    .globl step_8, step_9\n"
                     "step_0: movl (%%rbx), %%eax\n"
                     "step_1: movl %%eax, 8(%%rbx)\n"
                     "step_2: addl $3, 8(%%rbx)\n"
                     "step_3: movb %%al, %%es:16(%%rbx)\n"
                     "step_4: inb $0x61, %%al\n"
                     "step_5: pushfq\n"
                     "step_6: popq %%rsi\n"
                     "step_7: movl $0x40000000, %%eax\n"
                     "step_8: pushq %%rbx; cpuid\n"
                     "step_9: popq %%rbx\n"
                     : "=S"(flags)
                     : "b"(DEV)
                     : "rax", "rcx", "rdx", "memory");
    return flags;
}

static void steps(void)
{
    uint64_t replays[ROUNDS];
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct watch hits = watch(COUNTER_GVA_CACHE_HITS);
        EXPECT_EQ(round_of_steps() & TF, 0);
        replays[i] = watched(hits);
    }
    if (hc_config(CONFIG_MMIO_CACHING) && hc_config(CONFIG_GVA_CACHE))
        EXPECT(replays[ROUNDS - 1] >= 3); /* a load and two stores; breakpoints make them fewer */
    note("replays", replays[ROUNDS - 1]);
}

/* GDB watches a word at HOLE + 8. Each store below is a change of it, and so is each deletion and
 * addition that brings another value there. */
static void slots(void)
{
    EXPECT_EQ(hc_slot_add(SLOT, HOLE, 1, 0), 0);
    write64(HOLE + 8, 1); /* before GDB watches */
    __asm__ volatile(".globl watched_from_here\nwatched_from_here:" : : : "memory");
    write64(HOLE + 16, 2); /* beside it */
    write64(HOLE + 8, 2);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
    EXPECT_EQ(hc_slot_add(SLOT, HOLE, 1, 0), 0); /* 0 */
    write64(HOLE + 8, 3);
    EXPECT_EQ(hc_slot_move(SLOT, BEYOND), 0);
    write64(BEYOND + 8, 4);
    struct watch violations = watch(EXITS_VIOLATION);
    write64(BEYOND + 8, 3);
    EXPECT_EQ(watched(violations), 0);      /* it is not tracked there */
    EXPECT_EQ(hc_slot_move(SLOT, HOLE), 0); /* 3, as it was */
    write64(HOLE + 8, 5);
    EXPECT_EQ(hc_slot_delete(SLOT), 0);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"steps", steps, NEED_TESTCTL},
        {"slots", slots, NEED_TESTCTL},
    };
    run_tests(tests, ARRAY_SIZE(tests));
}
