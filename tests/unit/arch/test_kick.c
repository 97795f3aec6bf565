/* SPDX-License-Identifier: MIT */
/*
 * Kicks (arch/x86/kick.c): none is lost, at whichever instruction of an idle CPU it lands; at most
 * one NMI is on its way; a machine that stops leaves one CPU, and no other one in VMX operation
 * (rule N130). The NMIs are simulated, the instructions are the real ones, one step at a time.
 */
#include "tests/unit/ring0.h"

#include "arch/x86/kick.c"

#include <setjmp.h>

struct cpu cpus[CPUS_MAX];
unsigned cpu_count;

static unsigned sent[4], hooked, halted_in_vmx, halted_unseen;
static jmp_buf stopped;
static void (*work_at_nmi)(void); /* what the CPU is to do when the NMI comes */

void apic_send_nmi(uint32_t id)
{
    sent[id - 10]++;
    work_at_nmi = cpus[id - 10].work;
}

static const uint64_t khz = 1000;

uint64_t tsc_khz(void)
{
    return khz;
}

static void ring0_wrmsr(uint32_t msr, uint64_t value)
{
    (void)msr, (void)value;
}

static uint64_t ring0_rdmsr(uint32_t msr)
{
    (void)msr;
    return 0;
}

/* ---- An idle CPU ----------------------------------------------------------------------------- */

static struct {
    unsigned at;   /* the step before which the NMI comes; HALTED: while the CPU halts */
    unsigned step; /* of cpu_idle() */
    bool writes;   /* whoever kicks has something to say */
    bool came;     /* the NMI */
    unsigned halts;
    uint64_t word;
} idle;
#define HALTED 99u

static void nmi(uint64_t *rip)
{
    struct exception_frame frame = {.rip = *rip};
    idle.came = true;
    if (idle.writes)
        idle.word = 1;
    cpus[0].kicked = 1;
    assert_true(kick_received(&frame));
    *rip = frame.rip;
}

static bool is_idle(uint64_t rip)
{
    return rip >= (uint64_t)cpu_idle && rip <= (uint64_t)cpu_idle_end;
}

static void ring0_step(uint64_t *rip)
{
    if (!is_idle(*rip) || idle.came || idle.step++ != idle.at)
        return;
    nmi(rip);
}

/* A CPU that halts for ever ends here, too. */
static void ring0_halts(uint64_t *rip)
{
    if (!is_idle(*rip)) {
        halted_in_vmx += !ring0_vmxoffs;
        halted_unseen += !cpus[0].stopped;
        longjmp(stopped, 1);
    }
    idle.halts++;
    if (!idle.came) { /* what has been waited for: RIP is after HLT then */
        nmi(rip);
    } else if (idle.writes) {
        fail_msg("the kick before step %u is lost: it halts with the word set", idle.at);
    } else {
        idle.word = 1; /* another one */
        nmi(rip);
    }
}

static void wait_idle(unsigned at, bool writes)
{
    memset(&idle, 0, sizeof(idle));
    idle.at = at;
    idle.writes = writes;
    hooked = 0;
    ring0_begin();
    ring0_single_steps(true);
    cpu_idle(&idle.word);
    ring0_single_steps(false);
}

static void hook(void)
{
    hooked++;
}

/* CMP, JNE, HLT, RET: before each, and while it halts. */
static void no_kick_is_lost(void **state)
{
    (void)state;
    kick_set_hook(hook);
    for (unsigned at = 0; at < 4; at++) {
        wait_idle(at, true);
        assert_true(idle.came);
        assert_int_equal(idle.halts, at == 3);
        assert_int_equal(hooked, 1);
    }
    wait_idle(HALTED, true);
    assert_int_equal(idle.halts, 1);
}

/* Before HLT it goes back to the look; after that it returns, for the caller to look. */
static void a_kick_without_a_word(void **state)
{
    (void)state;
    kick_set_hook(hook);
    for (unsigned at = 0; at < 3; at++) {
        wait_idle(at, false);
        assert_int_equal(idle.halts, 1);
        assert_int_equal(hooked, 2);
    }
    wait_idle(HALTED, false);
    assert_int_equal(hooked, 1);
}

/* RIP in other code stays what it is. */
static void other_code_goes_on(void **state)
{
    (void)state;
    const uint64_t places[] = {(uint64_t)cpu_idle - 1, (uint64_t)cpu_idle_end, 0x1234};
    kick_set_hook(NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        struct exception_frame frame = {.rip = places[i]};
        cpus[0].kicked = 1;
        assert_true(kick_received(&frame));
        assert_int_equal(frame.rip, places[i]);
    }
}

/* ---- Senders --------------------------------------------------------------------------------- */

static int setup(void **state)
{
    (void)state;
    memset(cpus, 0, sizeof(cpus));
    memset(sent, 0, sizeof(sent));
    cpu_count = 3;
    stopping = 0;
    for (unsigned i = 0; i < 4; i++)
        cpus[i].apic_id = 10 + i;
    return 0;
}

static void kick_again(void)
{
    cpu_kick(0);
}

static void one_nmi_at_a_time(void **state)
{
    struct exception_frame frame = {.rip = 1};
    (void)state;
    kick_set_hook(NULL);
    assert_false(kick_received(&frame)); /* nobody's */
    cpu_kick(2);
    cpu_kick(2);
    cpu_kick(0);
    assert_int_equal(sent[2], 1);
    assert_int_equal(sent[0], 1);
    kick_set_hook(kick_again); /* one that comes while it is taken has an NMI of its own */
    assert_true(kick_received(&frame));
    assert_int_equal(sent[0], 2);
    kick_set_hook(NULL);
    assert_true(kick_received(&frame));
    assert_false(kick_received(&frame));
}

static void do_nothing(void)
{
}

static void work_is_waited_for(void **state)
{
    (void)state;
    cpu_give_work(1, do_nothing);
    assert_int_equal(sent[1], 1);
    assert_ptr_equal(work_at_nmi, do_nothing);
    assert_false(cpu_wait_work(1, 3));
    cpus[1].work = NULL;
    assert_true(cpu_wait_work(1, 3));
}

/* True: it does not come back. */
static bool stops(void (*what)(void))
{
    ring0_begin();
    if (setjmp(stopped))
        return true;
    what();
    return false;
}

static void be_kicked(void)
{
    struct exception_frame frame = {.rip = 1};
    cpus[0].kicked = 1;
    (void)kick_received(&frame);
}

static void one_cpu_is_left(void **state)
{
    (void)state;
    kick_set_hook(NULL);
    assert_false(stops(be_kicked));
    assert_false(stops(cpus_stop_others));
    assert_false(stops(cpus_stop_others)); /* a panic within a panic */
    assert_int_equal(sent[0], 0);
    assert_int_equal(sent[1], 1);
    assert_int_equal(sent[2], 1);
    assert_int_equal(sent[3], 0);
    stopping = 2; /* CPU 1 was first */
    assert_true(stops(cpus_stop_others));
    assert_true(stops(be_kicked));
}

/* Each CPU that halts for ever has left VMX operation and has said that it stops, whether an NMI
 * stops it or it comes by itself. */
static void no_cpu_stays_in_vmx_operation(void **state)
{
    (void)state;
    stopping = 2;
    void (*const ways[])(void) = {be_kicked, cpus_stop_others};
    for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
        ring0_vmxoffs = halted_in_vmx = halted_unseen = cpus[0].stopped = 0;
        assert_true(stops(ways[i]));
        assert_int_equal(ring0_vmxoffs, 1);
        assert_int_equal(halted_in_vmx + halted_unseen, 0);
    }
}

/* CPU 0 does not wait for itself, nor for CPU 3, which is not in use. */
static void others_are_waited_for(void **state)
{
    (void)state;
    uint64_t start = rdtsc();
    cpus[1].stopped = cpus[2].stopped = 1;
    cpus_wait_stopped(1000000);
    assert_true(rdtsc() - start < 1000000 * khz);
    for (unsigned i = 1; i < 3; i++) { /* one that does not stop */
        cpus[1].stopped = cpus[2].stopped = 1;
        cpus[i].stopped = 0;
        start = rdtsc();
        cpus_wait_stopped(20);
        assert_in_range(rdtsc() - start, 20 * khz, 1000000 * khz);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(no_kick_is_lost, setup),
        cmocka_unit_test_setup(a_kick_without_a_word, setup),
        cmocka_unit_test_setup(other_code_goes_on, setup),
        cmocka_unit_test_setup(one_nmi_at_a_time, setup),
        cmocka_unit_test_setup(work_is_waited_for, setup),
        cmocka_unit_test_setup(one_cpu_is_left, setup),
        cmocka_unit_test_setup(no_cpu_stays_in_vmx_operation, setup),
        cmocka_unit_test_setup(others_are_waited_for, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
