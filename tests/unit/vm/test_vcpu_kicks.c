/* SPDX-License-Identifier: MIT */
/*
 * A kick at each moment of a vCPU's turn (vm/run.c, vm/dispatch.c, vm/clock.c, vm/pcpu.c): between
 * two exits, while the clock is checked, in a halt, at the beginning and the end. Before the guest
 * executes its next instruction, everything that was written before the kick has been handled; or
 * else the preemption timer is 0, so that the guest exits before that instruction.
 */
#include "tests/unit/vm/run_world.h"

#include <stdio.h>

#define RATE   5            /* TSC ticks in a tick of the timer, as a power of two */
#define BUDGET (1ull << 36) /* TSC ticks; no turn takes as many here */

/* ---- The kick and its moment ----------------------------------------------------------------- */

static const struct kind {
    const char *name;
    uint64_t request; /* request made before the kick; 0 for a kick alone */
} kinds[] = {
    {"kick", 0},
    {"message", ATTENTION_MAIL},
    {"end", ATTENTION_ENDED},
    {"visit", ATTENTION_VISIT},
    {"pause", ATTENTION_PAUSE},
};

static const struct config {
    const char *name;
    bool keeps_timer; /* the CPU saves the timer at VM exits */
    bool own_event;   /* an event of the vCPU's is due next, so each entry arms the timer */
    bool halts;
} configs[] = {
    {"the timer runs on", true, false, false},     {"armed for an event", true, true, false},
    {"armed for each entry", false, false, false}, {"halted", true, false, true},
    {"halted until an event", true, true, true},
};

static const struct kind *kind;
static const struct config *config;
static struct {
    unsigned at, moment; /* the moment of the kick, and the current one */
    bool came;
    bool is_mail;     /* a message is in the mailbox */
    unsigned entries; /* entries into the guest */
} now;

/* Kicks the vCPU as a sender and its NMI handler on this CPU do. A kick without a request is meant
 * for the CPU, which may have no vCPU; one that follows a request is meant for the CPU that runs
 * the vCPU. */
static void kick(void)
{
    now.came = true;
    now.is_mail = kind->request == ATTENTION_MAIL;
    if (kind->request == ATTENTION_PAUSE)
        vcpu->paused = PAUSE_GDB;
    if (kind->request)
        attention_request(&vcpu->vmx.attention, kind->request);
    if (!kind->request || vcpu->mailbox.pcpu)
        pcpu_kicked();
}

static void run_point(void)
{
    if (!now.came && now.moment++ == now.at)
        kick();
}

static void ring0_step(uint64_t *rip)
{
    (void)rip;
}

/* ---- The vCPU -------------------------------------------------------------------------------- */

void ipi_receive(struct vcpu *v)
{
    if (!attention_requested(&v->vmx.attention, ATTENTION_MAIL))
        return;
    attention_clear(&v->vmx.attention, ATTENTION_MAIL);
    now.is_mail = false;
}

void ipi_start(struct vcpu *v)
{
    (void)v;
    fail_msg("nobody sent a start-up IPI");
}

bool vmx_wakes(const struct vmx_vcpu *half)
{
    (void)half;
    return now.entries >= 3;
}

bool vmx_deliver_event(struct vmx_vcpu *half)
{
    (void)half;
    return true;
}

/* Called when the guest is about to execute an instruction, or to halt. */
static void guest(void)
{
    bool leaves = !vmcs[VMCS_PREEMPTION_TIMER_VALUE];
    const char *what = NULL;
    now.entries++;
    assert_in_range(vmcs[VMCS_PREEMPTION_TIMER_VALUE], 0, BUDGET >> RATE);
    uint64_t requests = vcpu->vmx.attention.word;
    if (requests & ATTENTION_KICK)
        what = "the kick";
    else if (now.is_mail)
        what = "a message";
    else if (requests & ATTENTION_ENDED)
        what = "the end of the VM";
    else if (requests & ATTENTION_VISIT)
        what = "a visit";
    else if (requests & ATTENTION_PAUSE)
        what = "a pause";
    if (!what || leaves)
        return;
    fail_msg("%s, %s at moment %u: entry %u goes on without a look at %s", config->name, kind->name,
             now.at, now.entries, what);
}

/* Exits for `reason`. A CPU that does not save the timer leaves another value in the VMCS; and
 * where each entry arms the timer, its old value must not matter. */
static bool exits(uint32_t reason)
{
    if (!config->keeps_timer || config->own_event)
        vmcs[VMCS_PREEMPTION_TIMER_VALUE] = UINT32_MAX;
    vmcs[VMCS_EXIT_REASON] = reason;
    return vmx_exited(&vcpu->vmx);
}

/* Enters, exits for CPUID, enters again; and so on, until it has to be left. */
int vmx_run(struct vmx_vcpu *half)
{
    (void)half;
    for (unsigned i = 0; i < 2; i++) {
        guest();
        if (!vmcs[VMCS_PREEMPTION_TIMER_VALUE] || now.entries >= 8)
            break;
        if (config->halts && i == 1)
            break;
        if (!exits(REASON_CPUID))
            return 0;
    }
    if (now.entries >= 8)
        attention_request(&vcpu->vmx.attention, ATTENTION_ENDED);
    assert_false(exits(config->halts && now.entries == 2 ? REASON_HLT : REASON_PREEMPTION_TIMER));
    return 0;
}

/* ---- A turn ---------------------------------------------------------------------------------- */

static void prepare(unsigned at)
{
    memset(&now, 0, sizeof(now));
    memset(pcpus, 0, sizeof(pcpus));
    now.at = at;
    vmx.controls.set[CONTROL_EXIT] = config->keeps_timer ? EXIT_SAVE_PREEMPTION_TIMER : 0;
    vmx.msrs.misc = field_put(RATE, MISC_TIMER_RATE) | MISC_HLT_STATE;
    vm.ending = VM_RUNNING;
    vm.vcpu_count = 2;
    vm.vcpus[0] = vcpu;
    vm.vcpus[1] = NULL;
    vm.regular_due = TIME_NEVER;
    vcpu->frames_at = TIME_NEVER;
    vcpu->vm = &vm;
    vcpu->vmx.attention.word = 0;
    vcpu->paused = 0;
    vcpu->mailbox = (struct mailbox){.startup = 0};
    vcpu->mmio.mmu = &vm.mmu;
    vcpu->delayed_until = config->own_event ? rdtsc() + BUDGET / 2 : TIME_NEVER;
    vcpu->budget_left = BUDGET;
    vcpu->exits_left = 64;
    /* Left by the previous turn. */
    vcpu->next_event = vcpu->slice_end = TIME_NEVER;
    vmcs[VMCS_PREEMPTION_TIMER_VALUE] = UINT32_MAX;
}

/* Returns true if the kick came before the end of the turn. */
static bool turn(unsigned at)
{
    prepare(at);
    vcpu_run(vcpu);
    if (!attention_requested(&vcpu->vmx.attention, ATTENTION_ENDED) &&
        !(now.came && kind->request == ATTENTION_PAUSE))
        fail_msg("%s, %s at moment %u: the turn ends too early", config->name, kind->name, at);
    return now.came;
}

static void at_each_moment(void **state)
{
    (void)state;
    ring0_begin();
    for (unsigned i = 0; i < ARRAY_SIZE(configs); i++)
        for (unsigned j = 0; j < ARRAY_SIZE(kinds); j++) {
            unsigned at = 0;
            config = &configs[i];
            kind = &kinds[j];
            while (turn(at))
                at++;
            printf("    %s, %s: %u moments\n", config->name, kind->name, at);
            assert_true(at > 100);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_each_moment),
    };
    return cmocka_run_group_tests_name("kicks", tests, NULL, NULL);
}
