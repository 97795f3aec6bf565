/* SPDX-License-Identifier: MIT */
/*
 * Exceptions in real mode push no error code, for any vector, even if an EPT violation interrupts
 * their delivery and they are delivered again (SDM 3, 21.1.4 and 27.2.1.3).
 */
#include "guest/programs/mmio/forms.h"
#include "guest/programs/real/faults.h"

extern const uint8_t real_code[], real_code_end[], real_choice[], real_drop[], real_limit[],
    real_seen[];
extern const struct {
    uint16_t vector, offset;
} real_handlers[];
extern uint64_t rt_gdt[];

/* The order is that of real/faults.S. */
static const struct {
    const char *name;
    uint16_t vector, idt_limit;
} kinds[] = {
    {"gp", 13, 0x3ff},        {"ss", 12, 0x3ff},  {"ud", 6, 0x3ff},   {"de", 0, 0x3ff},
    {"int", REAL_INT, 0x3ff}, {"int3", 3, 0x3ff}, {"int1", 1, 0x3ff}, {"df", 8, 0x27},
};

/* A word of the copy. */
static volatile uint16_t *copy_of(const uint8_t *symbol)
{
    return (volatile uint16_t *)(REAL_BASE + (uint64_t)(symbol - real_code));
}

static void set_base(unsigned selector)
{
    uint64_t *entry = &rt_gdt[selector / 8];
    *entry = (*entry & ~(BITS(39, 16) | BITS(63, 56))) | field_put(REAL_BASE, BITS(39, 16));
}

static void fault(unsigned kind, bool drop)
{
    static struct form_call call = {.cs = SEL_CODE16, .ds = SEL_DATA16, .cr0 = 0x33};
    volatile uint16_t *seen_there = copy_of(real_seen);
    struct watch requeued = {0};

    *copy_of(real_choice) = (uint16_t)(4 * kind);
    *copy_of(real_drop) = drop;
    *copy_of(real_limit) = kinds[kind].idt_limit;
    seen_there[0] = 0xffff;
    *(volatile uint64_t *)REAL_STACK = 0;
    if (drop)
        requeued = watch(COUNTER_EVENTS_REQUEUED);
    legacy_call(&call);
    load_idt((uint64_t)rt_idt);
    bool ok = EXPECT_EQ(seen_there[0], kinds[kind].vector);
    ok = EXPECT_EQ(seen_there[1], REAL_TOP - 6) && ok; /* three words */
    ok = EXPECT_EQ(seen_there[2], seen_there[3]) && ok;
    if (drop)
        ok = EXPECT_EQ(watched(requeued), 1) && ok;
    if (!ok)
        print("# this is %s\n", kinds[kind].name);
}

static void prepare(void)
{
    memcpy((void *)REAL_BASE, real_code, (size_t)(real_code_end - real_code));
    set_base(SEL_CODE16);
    set_base(SEL_DATA16);
    for (unsigned i = 0; real_handlers[i].vector != 0xffff; i++) {
        uint64_t entry = 4ull * real_handlers[i].vector;
        write32(entry, (uint32_t)REAL_SEGMENT << 16 | real_handlers[i].offset);
    }
}

static void faults(void)
{
    for (unsigned kind = 0; kind < ARRAY_SIZE(kinds); kind++)
        fault(kind, false);
}

static void faults_cut_short(void)
{
    for (unsigned kind = 0; kind < ARRAY_SIZE(kinds); kind++)
        fault(kind, true);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"faults", faults, 0},
        {"faults_cut_short", faults_cut_short, NEED_TESTCTL},
    };
    prepare();
    run_tests(tests, ARRAY_SIZE(tests));
}
