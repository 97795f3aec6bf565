/* SPDX-License-Identifier: MIT */
/*
 * The ledger of host mappings: when it says that every CPU has paid, no CPU has a translation of a
 * block that has left the direct map before (rule X16). The CPUs keep every translation that they
 * could have loaded until they flush; kicks come at any time, also while a CPU pays.
 */
#include "lib/host_tlb.h"
#include "lib/bits.h"
#include "tests/unit/support.h"

#include <string.h>

#define CPUS   3u
#define BLOCKS 4u

static bool mapped[BLOCKS];
static bool cached[CPUS][BLOCKS];
static bool joined[CPUS];
static unsigned depth; /* of the handlers of NMIs */
static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t any(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % below;
}

static void load(unsigned cpu)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        cached[cpu][i] |= mapped[i];
}

/* An NMI may arrive before and after the flush, and another CPU may hide a block at any time. */
static void interrupted(void)
{
    unsigned block = (unsigned)any(BLOCKS);
    if (!any(4) && mapped[block]) {
        mapped[block] = false;
        (void)host_tlb_owe();
    }
    if (depth < 2 && !any(3)) {
        depth++;
        (void)host_tlb_pay(support_cpu);
        depth--;
    }
}

static void flush(void)
{
    interrupted();
    memset(cached[support_cpu], 0, sizeof(cached[0]));
    load(support_cpu); /* and what it can load again, it does */
    interrupted();
}

/* A block may be used when everybody has paid all debts: then nobody reaches it. */
static void check(void)
{
    if (!host_tlb_paid(host_tlb_owed()))
        return;
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        for (unsigned i = 0; i < BLOCKS; i++)
            if (joined[cpu] && cached[cpu][i] && !mapped[i])
                fail_msg("CPU %u reaches block %u, which has left the direct map", cpu, i);
}

static void nobody_reaches_what_has_left(void **state)
{
    (void)state;
    unsigned used = 0;
    support_reset();
    support_host_flush = flush;
    for (unsigned step = 0; step < 300000; step++) {
        support_cpu = (unsigned)any(CPUS);
        unsigned block = (unsigned)any(BLOCKS);
        if (!joined[support_cpu]) {
            if (!any(50)) {
                load(support_cpu);
                host_tlb_join(support_cpu);
                joined[support_cpu] = true;
            }
        } else if (!any(3)) {
            (void)host_tlb_pay(support_cpu);
        }
        load(support_cpu);
        if (!any(3)) {
            if (mapped[block]) {
                mapped[block] = false;
                (void)host_tlb_owe();
            } else if (host_tlb_paid(host_tlb_owed())) {
                mapped[block] = true; /* it comes back */
                used++;
            }
        }
        check();
    }
    assert_true(used > 1000);
}

static void a_cpu_pays_once(void **state)
{
    (void)state;
    support_reset();
    for (unsigned i = 0; i < CPUS; i++) {
        host_tlb_join(i);
        (void)host_tlb_pay(i);
    }
    uint64_t debt = host_tlb_owe(), flushes = host_tlb_cpus[1].flushes;
    assert_int_equal(host_tlb_behind(debt), BIT(CPUS) - 1);
    assert_true(host_tlb_pay(1));
    assert_false(host_tlb_pay(1));
    assert_int_equal(host_tlb_cpus[1].flushes, flushes + 1);
    assert_int_equal(host_tlb_behind(debt), BIT(0) | BIT(2));
    assert_int_equal(host_tlb_behind(debt - 1), 0);
    (void)host_tlb_owe();
    assert_int_equal(host_tlb_behind(debt), BIT(0) | BIT(2)); /* later ones are not waited for */
    for (unsigned i = 0; i < CPUS; i++)
        assert_true(host_tlb_pay(i));
    assert_true(host_tlb_paid(host_tlb_owed()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_reaches_what_has_left),
        cmocka_unit_test(a_cpu_pays_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
