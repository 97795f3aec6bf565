/* SPDX-License-Identifier: MIT */
/*
 * The arguments of hypercalls have 64 bits in 64-bit code. Each call is made with valid arguments,
 * and then with each of the upper bits of each argument set: the latter are refused and change
 * nothing.
 */
#include "guest/programs/rt/rt.h"

#define ID    7
#define AREA  0xd0000000ull
#define PAGES 64
#define BELL  (AREA + 0x100000)

enum argument { RBX, RCX, RDX, RSI, ARGUMENTS };

#define ADDRESS 0  /* the bits from MAXPHYADDR on are refused */
#define ANY     64 /* no bit is refused */

/* The valid calls succeed in this order, if the slot exists. `from` is the first bit that is
 * refused. */
static const struct row {
    const char *name;
    unsigned number;
    uint8_t from[ARGUMENTS];
    uint64_t value[ARGUMENTS];
} rows[] = {
    {"zap", HC_ZAP, {ADDRESS, 32, ANY, ANY}, {AREA, 1}},
    {"counter", HC_COUNTER, {32, ANY, ANY, ANY}, {0}},
    {"spte", HC_SPTE, {ANY, ANY, ANY, ANY}, {AREA}},
    {"config", HC_CONFIG, {32, ANY, ANY, ANY}, {0}},
    {"slot_flags", HC_SLOT_FLAGS, {32, 32, ANY, ANY}, {ID, SLOT_LOG_DIRTY}},
    {"dirty_get", HC_DIRTY_GET, {32, 32, ANY, ANY}, {ID, 0}},
    {"track", HC_TRACK, {ADDRESS, ANY, ANY, ANY}, {AREA}},
    {"untrack", HC_UNTRACK, {ADDRESS, ANY, ANY, ANY}, {AREA}},
    {"host_remap", HC_HOST_REMAP, {ADDRESS, ANY, ANY, ANY}, {AREA}},
    {"age", HC_AGE, {ADDRESS, 32, ANY, ANY}, {AREA, 1}},
    {"trace", HC_TRACE, {32, ANY, ANY, ANY}, {0}},
    {"map", HC_MAP, {ANY, ANY, ANY, ANY}, {0}},
    {"doorbell_add", HC_DOORBELL_ADD, {ANY, 32, ANY, 32}, {BELL, 4, 0, 0}},
    {"doorbell_rings", HC_DOORBELL_RINGS, {32, ANY, ANY, ANY}, {0}},
    {"doorbell_remove", HC_DOORBELL_REMOVE, {32, ANY, ANY, ANY}, {0}},
    {"window", HC_WINDOW, {ADDRESS, ADDRESS, ADDRESS, ANY}, {BELL, 0x1000000, 0x1001000}},
    {"slot_move", HC_SLOT_MOVE, {32, ADDRESS, ANY, ANY}, {ID, BELL}},
    {"slot_delete", HC_SLOT_DELETE, {32, ANY, ANY, ANY}, {ID}},
    {"slot_add", HC_SLOT_ADD, {32, ADDRESS, 32, 32}, {ID, BELL, 1, 0}},
    {"inject", HC_INJECT, {32, 32, ANY, ANY}, {EVENT(EVENT_INTERRUPT, 0x40), 0, 1000}},
};

static int call(const struct row *row, unsigned which, uint64_t extra)
{
    uint64_t v[ARGUMENTS];
    memcpy(v, row->value, sizeof(v));
    v[which] |= extra;
    struct hypercall arguments = {v[RBX], v[RCX], v[RDX], v[RSI]};
    return hypercall(row->number, &arguments);
}

static void upper_bits_are_refused(void)
{
    EXPECT_EQ(hc_slot_add(ID, AREA, PAGES, 0), 0);
    EXPECT_EQ(hc_slot_flags(ID, SLOT_LOG_DIRTY), 0);
    write32(AREA, 1);
    uint64_t generation = hc_generation(), calls = 0;
    unsigned address = cpuid(0x80000008).eax & 0xff;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        for (unsigned which = 0; which < ARGUMENTS; which++) {
            unsigned from = rows[i].from[which];
            for (unsigned bit = from == ADDRESS ? address : from; bit < 64; bit++, calls++) {
                int result = call(&rows[i], which, BIT(bit));
                if (result >= 0 || result == -ENOSYS) {
                    print("# %s: argument %u with bit %u gives %d\n", rows[i].name, which, bit,
                          result);
                    EXPECT(result < 0);
                    break;
                }
            }
        }
    EXPECT_EQ(hc_generation(), generation);
    note("calls", calls);
}

/* HC_SLOT_FLAGS and HC_DIRTY_GET also accept the slots of the VM's RAM. */
static void ids_of_ram(void)
{
    struct hypercall flags = {BIT(32) | 0x2000, SLOT_LOG_DIRTY, 0, 0},
                     get = {BIT(32) | 0x2000, 0, 0, 0};
    EXPECT_EQ(hypercall(HC_SLOT_FLAGS, &flags), -EINVAL);
    EXPECT_EQ(hypercall(HC_DIRTY_GET, &get), -EINVAL);
}

static void generations_have_64_bits(void)
{
    EXPECT_EQ(hc_generation_set(BIT(40) | 2), 0);
    EXPECT_EQ(hc_generation(), BIT(40) | 2);
    EXPECT_EQ(hc_generation_set(BIT(32)), -EINVAL); /* lower than the current one */
}

/* Without their upper bits the calls succeed, so these bits were the reason for the refusals. */
static void without_them(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        if (!EXPECT_EQ(call(&rows[i], RBX, 0), 0))
            print("# %s\n", rows[i].name);
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"upper_bits_are_refused", upper_bits_are_refused, NEED_TESTCTL},
        {"ids_of_ram", ids_of_ram, NEED_TESTCTL},
        {"generations_have_64_bits", generations_have_64_bits, NEED_TESTCTL},
        {"without_them", without_them, NEED_TESTCTL},
    };
    run_tests(tests, ARRAY_SIZE(tests));
}
