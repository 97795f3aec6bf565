/* SPDX-License-Identifier: MIT */
/* The flush ledger and the VPIDs: rules T2, T3, T5 and decision D8. */
#include "tests/unit/mmu/mmu_world.h"

#include "lib/patience.h"

#include <string.h>

static struct mmu a, b;

static int start(uint64_t msr)
{
    world_reset(msr, &(struct mmu_config){.mmio_caching = true, .huge = true});
    if (mmu_create(&a) || mmu_create(&b))
        return -1;
    return mmu_slot_add(&a, 0, GPA(0x200000), 512, 0);
}

static int setup(void **state)
{
    (void)state;
    return start(WORLD_CAPS);
}

static int teardown(void **state)
{
    (void)state;
    support_cpu = 0;
    mmu_destroy(&a);
    mmu_destroy(&b);
    return support_pages_in_use() == 0 ? 0 : -1;
}

static unsigned last_type;
static uint64_t last_eptp;

static void note(unsigned type, uint64_t eptp)
{
    last_type = type;
    last_eptp = eptp;
}

static void an_entry_pays_once(void **state)
{
    (void)state;
    invept_hook = note;
    expect_assert_failure(
        tlb_assert_paid(&a, 0)); /* a new EPTP: its tag may have been used before (T5) */
    tlb_enter(&a, 0);
    assert_int_equal(mmu_stats(&a).invept[INVEPT_ROOT_LOAD], 1);
    assert_int_equal(last_type, INVEPT_SINGLE);
    assert_int_equal(last_eptp, mmu_eptp(&a));
    for (unsigned i = 0; i < 100; i++) {
        tlb_enter(&a, 0);
        tlb_assert_paid(&a, 0);
    }
    world_touch(&a, GPA(0x200000), ACCESS_WRITE);
    world_touch(&a, GPA(0xfe000000), ACCESS_WRITE);
    assert_int_equal(invept_calls, 1);

    assert_int_equal(mmu_zap(&a, GPA(0x200000), 512), 0);
    expect_assert_failure(tlb_assert_paid(&a, 0));
    tlb_enter(&a, 0);
    tlb_assert_paid(&a, 0);
    tlb_enter(&a, 0);
    assert_int_equal(mmu_stats(&a).invept[INVEPT_DEBT], 1);
    assert_int_equal(invept_calls, 2);

    assert_int_equal(mmu_zap(&a, GPA(0xfe000000), 1), 0); /* an MMIO SPTE owes nothing (T2) */
    tlb_assert_paid(&a, 0);
    assert_int_equal(mmu_invept_count(&a), 2);
}

static void paid_is_published(unsigned type, uint64_t eptp)
{
    note(type, eptp);
    assert_int_equal(__atomic_load_n(&a.tlb.paid[0], __ATOMIC_SEQ_CST), tlb_debt(&a));
}

/* T1: nobody waits for the INVEPT of a pCPU that cannot enter the guest before it has paid. */
static void a_payment_is_announced_before_it_is_made(void **state)
{
    (void)state;
    invept_hook = paid_is_published;
    tlb_enter(&a, 0);
    world_touch(&a, GPA(0x200000), ACCESS_WRITE);
    assert_int_equal(mmu_zap(&a, GPA(0x200000), 512), 0);
    tlb_enter(&a, 0);
    assert_int_equal(invept_calls, 2);
}

/* T5: a pCPU that has entered another guest pays when it returns, also for changes in between. */
static void another_root_in_between(void **state)
{
    (void)state;
    tlb_enter(&a, 0);
    tlb_enter(&b, 0);
    expect_assert_failure(tlb_assert_paid(&a, 0));
    tlb_enter(&a, 0);
    assert_int_equal(mmu_stats(&a).invept[INVEPT_ROOT_LOAD], 2);
    assert_int_equal(mmu_stats(&b).invept[INVEPT_ROOT_LOAD], 1);
    assert_int_equal(mmu_stats(&a).invept[INVEPT_DEBT], 0);

    /* If another guest is entered between a change and its payment, both cost one INVEPT. */
    world_touch(&a, GPA(0x200000), ACCESS_WRITE);
    assert_int_equal(mmu_zap(&a, GPA(0x200000), 1), 0);
    tlb_enter(&b, 0);
    tlb_enter(&a, 0);
    assert_int_equal(mmu_stats(&a).invept[INVEPT_DEBT], 0);
    assert_int_equal(mmu_invept_for(&a, DEBT_ZAPPED), 1);
    assert_int_equal(mmu_invept_count(&a), 3);
}

/* Each pCPU has its own debts. */
static void two_cpus_pay_for_themselves(void **state)
{
    (void)state;
    world_touch(&a, GPA(0x200000), ACCESS_WRITE);
    tlb_enter(&a, 1);
    assert_int_equal(invept_calls, 2);
    assert_int_equal(mmu_zap(&a, GPA(0x200000), 1), 0);
    tlb_enter(&a, 1);
    tlb_assert_paid(&a, 1);
    expect_assert_failure(tlb_assert_paid(&a, 0));
    tlb_enter(&a, 0);
    tlb_assert_paid(&a, 0);
    assert_int_equal(invept_calls, 4);
    tlb_leave(0);
    tlb_leave(1);
}

/* A stale translation does no harm outside of the guest, so the flush waits for the next entry. */
static void this_cpu_pays_when_it_enters(void **state)
{
    (void)state;
    tlb_sync(&a); /* no pCPU has ever entered */
    world_touch(&a, GPA(0x200000), ACCESS_WRITE);
    assert_int_equal(mmu_zap(&a, GPA(0x200000), 1), 0);
    tlb_sync(&a);
    assert_int_equal(invept_calls, 1);
    expect_assert_failure(tlb_assert_paid(&a, 0));
    tlb_enter(&a, 0);
    assert_int_equal(mmu_stats(&a).invept[INVEPT_DEBT], 1);
}

static void leave_late(unsigned pcpu)
{
    assert_int_equal(pcpu, 1);
    assert_ptr_equal(tlb_cpus[1].running, &a);
    tlb_leave(1);
}

static void pay_only(unsigned pcpu) /* the CPU is between the exchange and the read of the debt */
{
    tlb_pay_debt(&a, pcpu);
}

static void stand_still(unsigned pcpu)
{
    (void)pcpu;
    fail_msg("kicked without need");
}

/* T1: exactly the pCPUs that are in the guest with old translations are made to leave. */
static void other_cpus_are_made_to_leave(void **state)
{
    (void)state;
    struct mmu_walk walk = {0};
    support_cpu = 1;
    world_touch(&a, GPA(0x200000), ACCESS_WRITE); /* it stays in the guest */
    support_cpu = 0;
    tlb_enter(&b, 2);
    kick_hook = leave_late;
    assert_int_equal(mmu_zap(&a, GPA(0x200000), 1), 0);
    assert_int_equal(kicks, 1);
    assert_int_equal(mmu_stats(&a).remote_flushes, 1);
    assert_int_equal(invept_calls, 2);

    kick_hook = stand_still; /* the CPU is out of the guest, or owes nothing */
    tlb_sync(&a);
    tlb_enter(&a, 1);
    tlb_sync(&a);
    assert_int_equal(mmu_stats(&a).invept[INVEPT_DEBT], 1);

    kick_hook = pay_only;
    world_touch(&a, GPA(0x200000), ACCESS_WRITE);
    assert_int_equal(mmu_zap_some(&a, GPA(0x200000), 1, &walk), 0);
    kick_hook = NULL;
    tlb_leave(1);
    tlb_leave(2);
    assert_int_equal(kicks, 2);
}

/* W6: memory is freed after every online pCPU has passed, however it was unlinked. */
static uint64_t pages_in_use_when_kicked;

static void pass(unsigned pcpu)
{
    pages_in_use_when_kicked = support_pages_in_use();
    epoch_pass(pcpu, epoch_now());
}

static void memory_waits_for_an_epoch(void **state)
{
    (void)state;
    world_touch(&a, GPA(0x200000), ACCESS_WRITE);
    uint64_t before = support_pages_in_use();
    epoch_online(5, NULL);
    kick_hook = pass;
    assert_int_equal(mmu_slot_delete(&a, 0), 0);
    assert_int_equal(kicks, 2); /* two changes of the set */
    assert_int_equal(pages_in_use_when_kicked, before);
    assert_true(mmu_has_chores(&a));
    while (mmu_do_chore(&a))
        ;
    assert_true(support_pages_in_use() <= before - 513); /* the block and its directory */
    epoch_offline(5);
}

/* Freeing memory of one VM does not disturb CPUs that work for another one, and kicks all of its
 * own at once. */
static unsigned kicked_cpus;

static void note_kicked(unsigned pcpu)
{
    kicked_cpus |= 1u << pcpu;
    if (pcpu == 3) { /* the second kick: only now does the first CPU pass */
        epoch_pass(2, epoch_now());
        epoch_pass(3, epoch_now());
    }
}

static void epochs_are_of_a_vm(void **state)
{
    (void)state;
    epoch_online(2, &a);
    epoch_online(3, &a);
    epoch_online(4, &b);
    uint64_t epoch = epoch_begin();
    assert_false(epoch_over(epoch, &a));
    assert_false(epoch_over(epoch, &b));
    assert_false(epoch_over(epoch, NULL));
    kicked_cpus = 0;
    epoch_wait(epoch, &a, 0, note_kicked);
    assert_int_equal(kicked_cpus, 1 << 2 | 1 << 3);
    assert_true(epoch_over(epoch, &a));
    assert_false(epoch_over(epoch, &b));
    epoch_offline(4);
    assert_true(epoch_over(epoch, NULL));
    epoch_online(2, &b); /* with the newest epoch, and another owner */
    epoch = epoch_begin();
    assert_false(epoch_over(epoch, &b));
    epoch_pass(3, epoch);
    assert_true(epoch_over(epoch, &a));
    epoch_offline(2);
    epoch_offline(3);
}

/* A CPU that never answers: the message names it, for how long it was waited for and for what, and
 * the machine stops. */
static void never(unsigned pcpu)
{
    kicked_cpus |= 1u << pcpu;
}

static void waits_have_a_bound(void **state)
{
    (void)state;
    patience_set(1000);
    epoch_online(5, &a);
    uint64_t epoch = epoch_begin();
    kicked_cpus = 0;
    expect_assert_failure(epoch_wait(epoch, &a, 0, never));
    assert_int_equal(kicked_cpus, 1 << 5);
    assert_non_null(strstr(support_log(), "CPU 0 has waited for CPU 5 for 1 s: for the end of its "
                                          "epoch; it is kicked again\n"));
    assert_non_null(strstr(support_log(), "for CPU 5 for 10 s: "));
    assert_null(strstr(support_log(), "for CPU 5 for 11 s: "));
    epoch_offline(5);

    tlb_enter(&a, 1);
    kick_hook = never;
    world_touch(&a, GPA(0x200000), ACCESS_WRITE);
    expect_assert_failure((void)!mmu_zap(&a, GPA(0x200000), 1));
    assert_non_null(strstr(support_log(), "CPU 0 has waited for CPU 1 for 1 s: for a flush of its "
                                          "TLB; it is kicked again\n"));
    kick_hook = NULL;
    tlb_leave(1);
    write_unlock(&a.lock);
    patience_set(0);
}

static void cpus_without_single_context(void **state)
{
    (void)state;
    teardown(NULL);
    assert_int_equal(start(WORLD_CAPS & ~EPT_CAP_INVEPT_SINGLE), 0);
    invept_hook = note;
    tlb_enter(&a, 0);
    assert_int_equal(last_type, INVEPT_ALL);
}

/* The storage of a dead VM is reused: what a pCPU remembers of the old VM has no effect. */
static void a_new_vm_in_old_storage(void **state)
{
    (void)state;
    tlb_enter(&b, 0);
    mmu_destroy(&b);
    assert_int_equal(mmu_create(&b), 0);
    expect_assert_failure(tlb_assert_paid(&b, 0));
    tlb_enter(&b, 0);
    assert_int_equal(mmu_stats(&b).invept[INVEPT_ROOT_LOAD], 1);
    assert_int_equal(mmu_stats(&b).invept[INVEPT_DEBT], 0);
}

/* ---- VPIDs ----------------------------------------------------------------------------------- */

static void vpids_run_out(void **state)
{
    (void)state;
    static bool taken[65536];
    static unsigned count;
    for (;;) {
        uint16_t vpid = tlb_vpid_alloc(&a);
        if (!vpid)
            break;
        assert_false(taken[vpid]);
        taken[vpid] = true;
        count++;
    }
    assert_int_equal(count, 4095);
    assert_int_equal(invvpid_calls, count); /* each is clean when it is allocated */
    assert_int_equal(mmu_stats(&a).invvpid[INVVPID_NEW], count);
    tlb_vpid_free(77);
    expect_assert_failure(tlb_vpid_free(77));
    assert_int_equal(tlb_vpid_alloc(&a), 77);
    for (uint16_t vpid = 0; vpid <= count; vpid++)
        tlb_vpid_free(vpid); /* 0, VPIDs disabled, is ignored */
    expect_assert_failure(tlb_vpid_free(4096));
}

static void invvpid_types_are_widened(void **state)
{
    (void)state;
    static const struct {
        uint64_t without;
        unsigned asked;
        uint64_t address;
        unsigned done;
    } cases[] = {
        {0, INVVPID_ADDRESS, 0x1000, INVVPID_ADDRESS},
        {0, INVVPID_ADDRESS, 0xffff800000000000, INVVPID_ADDRESS},
        {0, INVVPID_ADDRESS, 0x800000000000,
         INVVPID_SINGLE}, /* the instruction would fail: not canonical */
        {0, INVVPID_GLOBALS, 0, INVVPID_GLOBALS},
        {EPT_CAP_INVVPID_ADDRESS, INVVPID_ADDRESS, 0x1000, INVVPID_SINGLE},
        {EPT_CAP_INVVPID_GLOBALS, INVVPID_GLOBALS, 0, INVVPID_SINGLE},
        {EPT_CAP_INVVPID_ADDRESS | EPT_CAP_INVVPID_SINGLE, INVVPID_ADDRESS, 0x1000, INVVPID_ALL},
        {EPT_CAP_INVVPID_SINGLE, INVVPID_SINGLE, 0, INVVPID_ALL},
        {EPT_CAP_INVVPID_ALL, INVVPID_ALL, 0, INVVPID_SINGLE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        teardown(NULL);
        assert_int_equal(start(WORLD_CAPS & ~cases[i].without), 0);
        tlb_invvpid(&a, cases[i].asked, 3, GVA(cases[i].address), INVVPID_GUEST);
        assert_int_equal(invvpid_calls, 1);
        assert_int_equal(invvpid_last_type, cases[i].done);
        assert_int_equal(mmu_invvpid_count(&a), 1);
    }
    tlb_invvpid(&a, INVVPID_SINGLE, 0, GVA(0),
                INVVPID_GUEST); /* VPIDs are disabled: VM entries flush */
    assert_int_equal(invvpid_calls, 1);
}

static void cpus_without_invvpid_have_no_vpids(void **state)
{
    (void)state;
    teardown(NULL);
    assert_int_equal(start(WORLD_CAPS & ~EPT_CAP_INVVPID), 0);
    assert_int_equal(tlb_vpid_alloc(&a), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_entry_pays_once),           T(a_payment_is_announced_before_it_is_made),
        T(another_root_in_between),      T(two_cpus_pay_for_themselves),
        T(this_cpu_pays_when_it_enters), T(other_cpus_are_made_to_leave),
        T(memory_waits_for_an_epoch),    T(epochs_are_of_a_vm),
        T(waits_have_a_bound),           T(cpus_without_single_context),
        T(a_new_vm_in_old_storage),      T(vpids_run_out),
        T(invvpid_types_are_widened),    T(cpus_without_invvpid_have_no_vpids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
