/* SPDX-License-Identifier: MIT */
/* The TSC's rate: clocks that count, stand still, wrap, lie and run unevenly, and what is made of
 * several of them. */
#include "tests/unit/support.h"

#include "arch/x86/tsc_rate.h"
#include "lib/bits.h"

#include <stdlib.h>
#include <string.h>

/* ---- A machine whose time goes on with each read --------------------------------------------- */

#define PICOSECONDS 1000000000000ull

static uint64_t now;        /* ps */
static uint64_t read_ps;    /* what a read of a clock takes */
static uint64_t tsc_khz;    /* of the machine */
static uint64_t real_hz;    /* what the clock counts, whatever it claims */
static uint64_t starts_at;  /* its count at time 0 */
static uint64_t ones;       /* bits that always read as 1 */
static uint64_t pause_each; /* every so many reads a hypervisor takes the CPU for 3 ms */
static uint64_t reads;
static bool uneven;

static int setup(void **state)
{
    (void)state;
    support_reset();
    now = reads = starts_at = ones = pause_each = 0;
    read_ps = 1000000;
    tsc_khz = 2900000;
    uneven = false;
    return 0;
}

static uint64_t read_tsc(void)
{
    now += 10000;
    return (uint64_t)((unsigned __int128)now * tsc_khz * 1000 / PICOSECONDS);
}

static uint32_t read_clock(const struct clock *clock)
{
    if (pause_each && ++reads % pause_each == 0)
        now += 3000000000ull;
    now += read_ps;
    unsigned __int128 count = (unsigned __int128)now * real_hz / PICOSECONDS;
    if (uneven && now > 1700000000ull) /* twice as fast from some moment on */
        count *= 2;
    return ((uint32_t)((uint64_t)count + starts_at) & clock->mask) | (uint32_t)ones;
}

static uint64_t measure(uint64_t hz, uint32_t mask, const char **why)
{
    const struct clock clock = {.read = read_clock, .hz = hz, .mask = mask};
    return clock_measure(&clock, read_tsc, why);
}

static const struct {
    const char *name;
    uint64_t hz;
    uint32_t mask;
} clocks[] = {
    {"HPET", 14318180, UINT32_MAX},  {"HPET of 24 MHz", 24000000, UINT32_MAX},
    {"PM timer", 3579545, 0xffffff}, {"PM timer of 32 bits", 3579545, UINT32_MAX},
    {"PIT", 1193182, 0xffff},
};

static void assert_near(uint64_t khz, uint64_t expected, const char *name)
{
    if (khz < expected - expected / 500 || khz > expected + expected / 500)
        fail_msg("%s: %lu kHz instead of %lu", name, khz, expected);
}

/* From the slowest emulator to beyond the fastest CPU; by ports of 1 us and of a few instructions.
 */
static void a_clock_that_counts_is_measured(void **state)
{
    static const uint64_t rates[] = {1000, 10000, 133333, 800000, 2400000, 6200000, 9900000};
    const char *why;
    for (unsigned c = 0; c < ARRAY_SIZE(clocks); c++)
        for (unsigned r = 0; r < ARRAY_SIZE(rates); r++)
            for (uint64_t ps = 70000; ps < 4000000; ps *= 4) {
                setup(state);
                tsc_khz = rates[r];
                real_hz = clocks[c].hz;
                read_ps = ps;
                assert_near(measure(clocks[c].hz, clocks[c].mask, &why), rates[r], clocks[c].name);
                assert_true(now < 4000000000ull); /* in about 3 ms */
            }
}

static void wraps_do_no_harm(void **state)
{
    const char *why;
    for (unsigned c = 0; c < ARRAY_SIZE(clocks); c++)
        for (uint64_t before = 0; before < 70000; before += 1500) {
            setup(state);
            real_hz = clocks[c].hz;
            starts_at =
                0 - before; /* so many before its highest bit wraps, and so for each lower */
            assert_near(measure(real_hz, clocks[c].mask, &why), tsc_khz, clocks[c].name);
        }
}

/* Bits above those that every clock of the kind has may be anything. */
static void upper_bits_do_not_count(void **state)
{
    (void)state;
    const char *why;
    real_hz = 3579545;
    ones = 0xff000000;
    assert_near(measure(real_hz, 0xffffff, &why), tsc_khz, "PM timer");
}

static void a_hypervisor_may_come_between(void **state)
{
    const char *why;
    for (uint64_t each = 3; each < 5000; each = each * 3 + 1) {
        setup(state);
        real_hz = 14318180;
        pause_each = each;
        uint64_t khz = measure(real_hz, UINT32_MAX, &why);
        if (khz) /* else it was uneven, and said so */
            assert_true(khz > tsc_khz * 98 / 100 && khz < tsc_khz * 102 / 100);
        else
            assert_string_equal(why, "counts unevenly");
    }
}

static void assert_no_say(uint64_t hz, uint32_t mask, const char *reason)
{
    const char *why = NULL;
    assert_int_equal(measure(hz, mask, &why), 0);
    assert_string_equal(why, reason);
    assert_true(now < 5 * PICOSECONDS);
}

static void a_clock_that_stands_still_has_no_say(void **state)
{
    for (unsigned c = 0; c < ARRAY_SIZE(clocks); c++)
        for (unsigned form = 0; form < 3; form++) {
            setup(state);
            real_hz = 0;
            starts_at = form == 1 ? 12345 : 0;
            ones = form == 2 ? UINT32_MAX : 0; /* there is nothing at this address */
            assert_no_say(clocks[c].hz, clocks[c].mask, "stands still");
            assert_true(now < 1 * PICOSECONDS);
        }
}

static void clocks_that_lie_are_found_out(void **state)
{
    (void)state;
    real_hz = 1000;
    assert_no_say(14318180, UINT32_MAX, "is too slow to be true");
    setup(state);
    real_hz = 1193182;
    uneven = true;
    assert_no_say(1193182, 0xffff, "counts unevenly");
    setup(state);
    tsc_khz = 0;
    real_hz = 3579545;
    assert_no_say(3579545, 0xffffff, "counts while the TSC does not");
    setup(state);
    tsc_khz = real_hz = 0;
    assert_no_say(3579545, 0xffffff, "stands still");
}

/* ---- What the CPU says ----------------------------------------------------------------------- */

static void the_cpu_says(void **state)
{
    (void)state;
    static const struct {
        struct tsc_cpu cpu;
        uint64_t leaf15, platform_info, leaf16;
    } rows[] = {
        {{6, 0x7e, {2, 78, 38400000}, 1300, 13ull << 8}, 1497600, 1300000, 1300000},
        {{6, 0x9e, {2, 242, 0}, 2900, 29ull << 8 | 0xff00ff00ff0000ff}, 2904000, 2900000, 2900000},
        {{6, 0x55, {2, 168, 0}, 2100, 21ull << 8}, 2100000, 2100000, 2100000},
        {{6, 0x5c, {3, 171, 0}, 1100, 11ull << 8}, 1094400, 0, 1100000}, /* an Atom */
        {{6, 0x25, {0}, 0, 18ull << 8}, 0, 18 * 133333, 0},              /* Westmere */
        {{6, 0x2a, {0}, 0, 34ull << 8}, 0, 3400000, 0},                  /* Sandy Bridge */
        {{6, 0x17, {0}, 0, 34ull << 8}, 0, 0, 0},                        /* Core 2 has no such */
        {{15, 0x2a, {0}, 0, 34ull << 8}, 0, 0, 0},                       /* nor has a Pentium 4 */
        {{6, 0x3c, {0}, 0, 0}, 0, 0, 0},                                 /* KVM's guests */
        {{6, 0xa7, {0, 200, 24000000}, 0, 0}, 0, 0, 0},                  /* half a leaf */
        {{6, 0xa7, {2, 0, 24000000}, 0, 0}, 0, 0, 0},
        {{6, 0xa7, {2, 200, 0}, 0, 0}, 0, 0, 0}, /* the crystal is not known */
        {{6, 0xa7, {1, 0xffffffff, 0xffffffff}, 0xffff, 0xff00}, 0, 0, 0},
        {{6, 0xa7, {0xffffffff, 0xffffffff, 0xffffffff}, 0, 0}, 4294967, 0, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct tsc_sources sources = {0};
        tsc_ask_cpu(&rows[i].cpu, &sources);
        assert_int_equal(sources.khz[TSC_BY_CPUID15], rows[i].leaf15);
        assert_int_equal(sources.khz[TSC_BY_PLATFORM_INFO], rows[i].platform_info);
        assert_int_equal(sources.khz[TSC_BY_CPUID16], rows[i].leaf16);
    }
}

/* ---- The decision ---------------------------------------------------------------------------- */

#define STILL "stands still"

static const struct {
    struct tsc_sources sources; /* HPET, PM timer, PIT, leaf 15h, PLATFORM_INFO, leaf 16h */
    uint64_t khz;
    const char *message;
} decisions[] = {
    /* A PC of today: the PIT's clock is gated. The crystal's rate is exact. */
    {{{2904100, 2903800, 0, 2904000, 2900000, 2900000}, {0, 0, STILL}},
     2904000,
     "2904000 kHz by CPUID leaf 15h, confirmed by the HPET, the PM timer, MSR_PLATFORM_INFO, CPUID "
     "leaf 16h; the PIT stands still"},
    /* Bochs: the TSC counts instructions, whatever CPUID says. */
    {{{10000, 10001, 9999, 1497600, 0, 1500000}, {0}},
     10000,
     "10000 kHz by the HPET, confirmed by the PM timer, the PIT; not believed: CPUID leaf 15h "
     "(1497600 kHz), CPUID leaf 16h (1500000 kHz)"},
    /* One clock that was measured is worth more than what the CPU says, however often it does. */
    {{{0, 0, 10000, 1497600, 1500000, 1500000}, {STILL, 0, 0}},
     10000,
     "10000 kHz by the PIT; nothing confirms it; not believed: CPUID leaf 15h (1497600 kHz), "
     "MSR_PLATFORM_INFO (1500000 kHz), CPUID leaf 16h (1500000 kHz); the HPET stands still"},
    /* Two clocks that disagree: the CPU's word decides, or if there is none, the better clock. */
    {{{1450000, 2900000, 0, 0, 0, 2900000}, {0}},
     2900000,
     "2900000 kHz by the PM timer, confirmed by CPUID leaf 16h; not believed: the HPET (1450000 "
     "kHz)"},
    {{{2900000, 1450000, 0, 0, 0, 0}, {0}},
     2900000,
     "2900000 kHz by the HPET; nothing confirms it; not believed: the PM timer (1450000 kHz)"},
    {{{1450000, 2900000, 2901000, 0, 0, 1450000}, {0}}, /* two clocks against one and the CPU */
     2900000,
     "2900000 kHz by the PM timer, confirmed by the PIT; not believed: the HPET (1450000 kHz), "
     "CPUID leaf 16h (1450000 kHz)"},
    {{{1000000, 2000000, 3000000, 4000000, 0, 0}, {0}}, /* nobody agrees with anybody */
     1000000,
     "1000000 kHz by the HPET; nothing confirms it; not believed: the PM timer (2000000 kHz), the "
     "PIT (3000000 kHz), CPUID leaf 15h (4000000 kHz)"},
    /* No clock: what the CPU says is all there is. Its leaves contradict each other here. */
    {{{0, 0, 0, 0, 3400000, 0}, {0, STILL, STILL}},
     3400000,
     "3400000 kHz by MSR_PLATFORM_INFO; nothing confirms it; the PM timer stands still; the PIT "
     "stands still"},
    {{{0, 0, 0, 3000000, 3400000, 0}, {0}},
     3000000,
     "3000000 kHz by CPUID leaf 15h; nothing confirms it; not believed: MSR_PLATFORM_INFO (3400000 "
     "kHz)"},
    {{{0}, {"is too slow to be true", STILL, STILL}},
     4000000,
     "4000000 kHz are assumed, so that no wait is too short: no clock counts, and the CPU does not "
     "report its rate; the HPET is too slow to be true; the PM timer stands still; the PIT stands "
     "still"},
};

static void decisions_and_doubts(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(decisions); i++) {
        char message[512];
        uint64_t khz = tsc_decide(&decisions[i].sources, message, sizeof(message));
        assert_string_equal(message, decisions[i].message);
        assert_int_equal(khz, decisions[i].khz);
        char small[33] = {[32] = '#'}; /* a message that does not fit is cut off */
        assert_int_equal(tsc_decide(&decisions[i].sources, small, 32), khz);
        assert_memory_equal(small, message, 31);
        assert_true(!small[31] && small[32] == '#');
    }
}

/* One part in a hundred is where agreement ends. */
static void what_agrees(void **state)
{
    (void)state;
    char message[512];
    struct tsc_sources sources = {.khz = {[TSC_BY_HPET] = 1000000, [TSC_BY_CPUID15] = 1010000}};
    assert_int_equal(tsc_decide(&sources, message, sizeof(message)), 1010000);
    sources.khz[TSC_BY_CPUID15] = 1010102;
    assert_int_equal(tsc_decide(&sources, message, sizeof(message)), 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_clock_that_counts_is_measured, setup),
        cmocka_unit_test_setup(wraps_do_no_harm, setup),
        cmocka_unit_test_setup(upper_bits_do_not_count, setup),
        cmocka_unit_test_setup(a_hypervisor_may_come_between, setup),
        cmocka_unit_test_setup(a_clock_that_stands_still_has_no_say, setup),
        cmocka_unit_test_setup(clocks_that_lie_are_found_out, setup),
        cmocka_unit_test_setup(the_cpu_says, setup),
        cmocka_unit_test_setup(decisions_and_doubts, setup),
        cmocka_unit_test_setup(what_agrees, setup),
    };
    return cmocka_run_group_tests_name("rate of the TSC", tests, NULL, NULL);
}
