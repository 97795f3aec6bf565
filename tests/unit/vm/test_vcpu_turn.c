/* SPDX-License-Identifier: MIT */
/*
 * The order of actions in a turn (vm/run.c): the state that another VM left in the CPU is cleared
 * before the guest's own state is loaded, that state is saved before its VMCS is unloaded, and IBRS
 * is written before an exit is handled. If a CPU refuses the state, the VM ends and its guest does
 * not run.
 */
#include "tests/unit/vm/run_world.h"

#include "mmu/spte.h"

static void run_point(void)
{
}

static void ring0_step(uint64_t *rip)
{
    (void)rip;
}

static unsigned entries;
static uint32_t last_exit; /* the reason of the one exit before the end; 0: the VM just ends */
static bool entry_fails, cannot_deliver;
static uint64_t entered_as; /* the activity state of the last entry */

void ipi_receive(struct vcpu *v)
{
    (void)v;
    note("look ");
}

void ipi_start(struct vcpu *v)
{
    attention_clear(&v->vmx.attention, ATTENTION_START);
    note("start ");
}

bool vmx_wakes(const struct vmx_vcpu *half)
{
    (void)half;
    return false;
}

bool vmx_deliver_event(struct vmx_vcpu *half)
{
    (void)half;
    return !cannot_deliver;
}

/* Takes one exit, after which the VM ends. */
int vmx_run(struct vmx_vcpu *half)
{
    assert_ptr_equal(half, &vcpu->vmx);
    note("guest ");
    entries++;
    entered_as = vmcs[VMCS_GUEST_ACTIVITY_STATE];
    if (entry_fails)
        return -1;
    if (last_exit) {
        vmcs[VMCS_EXIT_REASON] = last_exit;
        assert_false(vmx_exited(half));
        return 0;
    }
    vmcs[VMCS_EXIT_REASON] = REASON_CPUID;
    assert_true(vmx_exited(half));
    attention_request(&vcpu->vmx.attention, ATTENTION_ENDED);
    vmcs[VMCS_EXIT_REASON] = REASON_PREEMPTION_TIMER;
    assert_false(vmx_exited(half));
    return 0;
}

static void turn(uint16_t number)
{
    vm.number = number;
    vm.ending = VM_RUNNING;
    vm.vcpu_count = 1;
    vm.vcpus[0] = vcpu;
    vm.regular_due = TIME_NEVER;
    vcpu->vm = &vm;
    vcpu->vpid = 1;
    vcpu->vmx.attention.word &= ATTENTION_START;
    vcpu->vmx.extra_work = mitigate_chosen & DO_IBRS_AT_EXIT;
    vcpu->mmio.mmu = &vm.mmu;
    vcpu->budget_left = 1ull << 60;
    vcpu->exits_left = 64;
    entries = 0;
    did[0] = 0;
    vcpu_run(vcpu);
}

static int setup(void **state)
{
    const struct ept_caps caps = {.invvpid_types = BIT(INVVPID_SINGLE)};
    (void)state;
    spte_format.caps = caps;
    ring0_begin();
    memset(vcpu, 0, sizeof(*vcpu));
    vcpu->delayed_until = vcpu->frames_at = TIME_NEVER;
    cpus[0].last_vm = 0;
    mitigate_chosen = 0;
    migrates = false;
    refusal = NULL;
    last_exit = 0;
    entry_fails = cannot_deliver = false;
    memset(vmcs, 0, sizeof(vmcs));
    memset(&vm.words, 0, sizeof(vm.words));
    return 0;
}

#define TURN "load registers look guest look save unload "

/* The state is cleared once for each change of VMs, but not for another turn of the same VM. */
static void another_vm(void **state)
{
    (void)state;
    static const uint16_t vms[] = {1, 1, 2, 1, 1, 3};
    unsigned last = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(vms); i++) {
        turn(vms[i]);
        assert_string_equal(did, vms[i] == last ? TURN : "mitigate " TURN);
        last = vms[i];
    }
}

static void ibrs_at_each_exit(void **state)
{
    (void)state;
    mitigate_chosen = DO_IBRS_AT_EXIT;
    turn(1);
    assert_string_equal(did, "mitigate load registers look guest IBRS IBRS look save unload ");
}

static void another_cpu(void **state)
{
    (void)state;
    migrates = true;
    turn(1);
    assert_string_equal(did, "mitigate load invvpid registers look guest look save unload ");
}

/* At a start, the VMCS must be the current one, and the state that INIT has left is loaded. */
static void a_start(void **state)
{
    (void)state;
    vcpu->vmx.attention.word = ATTENTION_START;
    turn(1);
    assert_string_equal(did, "mitigate load start registers look guest look save unload ");
}

/* ---- Work ------------------------------------------------------------------------------------ */

static int no_chain(void *context, uint64_t address, void *buffer, size_t size)
{
    (void)context, (void)address;
    memset(buffer, 0, size);
    return 0;
}

/* A halted vCPU that was given work does it, and only then sleeps. Each piece is that of one
 * disk. */
static void a_halted_vcpu_does_work(void **state)
{
    (void)state;
    static const struct virtio_ops ops = {.name = "test disk", .queues = 1};
    static struct disk disks[2];
    turn(1);
    vm.unit_count = 2;
    for (unsigned i = 0; i < 2; i++) {
        struct virtio *virtio = &disks[i].blk.virtio;
        *virtio = (struct virtio){.ops = &ops, .dma = {.read = no_chain}, .notified = 1};
        virtio->queues[0] = (struct virtq){.dma = &virtio->dma, .ready = true, .size = 4};
        disks[i].unit.virtio = virtio;
        vm.units[i] = &disks[i].unit;
    }
    assert_true(units_go_on(&vm));
    assert_int_equal(disks[0].blk.virtio.notified + disks[1].blk.virtio.notified, 1);
    assert_false(units_go_on(&vm));
    disks[0].blk.virtio.notified = disks[1].blk.virtio.notified = 1;
    vm.ending = VM_RUNNING;
    vcpu->vmx.attention.word = ATTENTION_HALTED | ATTENTION_CHORES;
    entries = 0;
    vcpu_run(vcpu);
    assert_int_equal(disks[0].blk.virtio.notified + disks[1].blk.virtio.notified, 0);
    assert_int_equal(entries, 0);
    assert_false(attention_requested(&vcpu->vmx.attention, ATTENTION_CHORES));
    assert_true(attention_requested(&vcpu->vmx.attention, ATTENTION_HALTED));
    vm.unit_count = 0;
}

static unsigned pieces;
static uint64_t begun; /* the epoch that another CPU waits for since the last piece */

static void piece(struct vcpu *v)
{
    assert_ptr_equal(v, vcpu);
    assert_true(!pieces || epoch_over(begun, NULL));
    begun = epoch_begin();
    v->unfinished = ++pieces < 4;
}

/* Between two pieces of a long hypercall the vCPU keeps no pointer, so nobody waits for all of
 * them. */
static void pieces_pass_epochs(void **state)
{
    (void)state;
    turn(1);
    vm.ending = VM_RUNNING;
    vcpu->vmx.attention.word = ATTENTION_CHORES;
    vcpu->unfinished = true;
    call_piece = piece;
    vcpu_run(vcpu);
    call_piece = NULL;
    assert_int_equal(pieces, 4);
    assert_false(attention_requested(&vcpu->vmx.attention, ATTENTION_CHORES));
}

static void a_cpu_that_refuses(void **state)
{
    (void)state;
    refusal = "XCR0";
    turn(1);
    assert_int_equal(entries, 0);
    assert_int_equal(vm.ending, VM_ENDED_ENTRY_FAILED);
    assert_string_equal(vm.message, "CPU 0 refuses the XCR0 that the guest had on another one; "
                                    "pin the VM with pin=");
}

static void the_budget(void **state)
{
    (void)state;
    turn(1);
    assert_in_range(vcpu->budget_left, 1, (1ull << 60) - 1); /* less than before */
    vm.words.budget = 77;
    vcpu->budget_left = 0;
    vm.ending = VM_RUNNING;
    vcpu->vmx.attention.word = 0;
    entries = 0;
    vcpu_run(vcpu);
    assert_int_equal(entries, 0);
    assert_int_equal(vm.ending, VM_ENDED_BUDGET);
    assert_string_equal(vm.message, "still running after its budget of 77 ms, at RIP 0; give it "
                                    "more with budget=, up to 3600000");
    assert_int_equal(vcpu->budget_left, 0);
}

/* Frames are received when it is time, and then the interrupt of the network device is taken. The
 * time is one of the vCPU's deadlines, also while it is halted. */
static void frames(void **state)
{
    (void)state;
    static struct net net;
    vm.net = &net;
    net_connect(&net, &vm);
    assert_int_equal(virtio_net_init(&net.device), 0);
    vcpu->frames_at = 1;
    turn(1);
    assert_string_equal(did, "mitigate load registers look look guest look save unload ");
    assert_true(vcpu->frames_at == TIME_NEVER && vcpu->frames_from > 1);
    uint64_t later = rdtsc() + (1ull << 50);
    vcpu->frames_at = later;
    turn(1);
    assert_string_equal(did, TURN);
    assert_true(vcpu->frames_at == later);
    assert_true(vcpu->next_event == later && vcpu_next_event(vcpu) == later);
    virtio_net_destroy(&net.device);
    vm.net = NULL;
}

/* The CPU that runs a vCPU watches over those that sleep there. */
static void a_sleeper(void **state)
{
    (void)state;
    uint64_t due = rdtsc() + (1ull << 50);
    sleepers[0].next = ~due;
    turn(1);
    assert_true(vcpu->next_event == due);
    sleepers[0].next = 0;
}

/* Any of the vCPUs may be the one that hangs, so each of them is reported. */
static void the_budget_of_several(void **state)
{
    static struct vcpu other;
    (void)state;
    support_reset();
    turn(1);
    vm.ending = VM_RUNNING;
    vm.vcpus[1] = &other;
    vm.vcpu_count = 2;
    strcpy(vm.name, "two");
    vm.words.budget = 77;
    vcpu->budget_left = 0;
    vcpu->vmx.regs.known = 0;
    vmcs[VMCS_GUEST_RIP] = 0x1234;
    vcpu->vmx.attention.word = ATTENTION_HALTED;
    vcpu_run(vcpu);
    assert_string_equal(vm.message,
                        "vCPU 0: still halted after its budget of 77 ms, at RIP 0x1234; "
                        "give it more with budget=, up to 3600000");
    assert_string_equal(support_log(), "# two: vCPU 0 was halted at RIP 0x1234\n");
    vcpu->vmx.attention.word = ATTENTION_ENDED;
    vcpu->index = 1;
    vcpu_run(vcpu);
    assert_non_null(strstr(support_log(), "\n# two: vCPU 1 was running at RIP 0x1234\n"));
}

/* The cause is looked for before the guest's state is saved, whether the CPU has found the triple
 * fault or the hypervisor. */
static void a_triple_fault(void **state)
{
    (void)state;
    last_exit = REASON_TRIPLE_FAULT;
    turn(1);
    assert_string_equal(did, "mitigate load registers look guest explain save unload ");
    assert_int_equal(vm.ending, VM_ENDED_TRIPLE_FAULT);
    setup(NULL);
    cannot_deliver = true;
    vcpu->vmx.windows = true;
    turn(1);
    assert_string_equal(did, "mitigate load registers look explain save unload ");
    assert_int_equal(vm.ending, VM_ENDED_TRIPLE_FAULT);
}

static void an_entry_that_fails(void **state)
{
    (void)state;
    entry_fails = true;
    vmcs[VMCS_GUEST_RIP] = 0x1234;
    turn(1);
    assert_int_equal(entries, 1);
    assert_int_equal(vm.ending, VM_ENDED_ENTRY_FAILED);
    assert_string_equal(vm.message,
                        "the VM entry at RIP 0x1234 failed: a mistake of the hypervisor, not of "
                        "the guest; please report it with the messages above");
}

/* The CPU that polls the port prints a piece of what is shown in answer to a key, even if its vCPU
 * never rests. */
static void answers_to_keys(void **state)
{
    (void)state;
    turn(1);
    transcript_line(transcript_console(), "0123456789abcdef");
    size_t before = strlen(support_log());
    for (unsigned polls = 0; transcript_has_text(); polls++) {
        assert_int_equal(strlen(support_log()) - before, 6 * polls);
        input_due = rdtsc();
        look_at_clock(vcpu, input_due);
    }
    assert_string_equal(support_log() + before, "0123456789abcdef\n");
    input_due = TIME_NEVER;
}

static void a_halt_for_ever(void **state)
{
    (void)state;
    last_exit = REASON_HLT;
    for (unsigned on = 0; on < 2; on++) {
        vcpu->vmx.regs.known = 0;
        vmcs[VMCS_GUEST_RFLAGS] = on ? RFLAGS_IF : 0;
        vmcs[VMCS_GUEST_RIP] = 0x1235;
        turn(1);
        assert_int_equal(vm.ending, VM_ENDED_HALTED);
        assert_string_equal(vm.message,
                            on ? "HLT before RIP 0x1235 with IF=1 and no event pending: it would "
                                 "sleep for ever; it waits for a timer that is not armed, or for a "
                                 "device that does not exist"
                               : "HLT before RIP 0x1235 with IF=0 and no event pending: it would "
                                 "sleep for ever; its last output may say why it has stopped");
    }
}

/* A CPU that has the HLT state halts in it. One that lacks it does not enter, because the entry
 * would fail, and still sees that the time is over (rule N142). */
static void a_halt_in_its_state(void **state)
{
    (void)state;
    static struct vcpu other;
    for (unsigned lacks = 0; lacks < 2; lacks++) {
        vmx.msrs.misc = lacks ? MISC_SHUTDOWN_STATE | MISC_WAIT_FOR_SIPI : MISC_HLT_STATE;
        last_exit = 0;
        turn(1);
        vm.ending = VM_RUNNING;
        vm.vcpus[vm.vcpu_count++] = &other;
        vcpu->vmx.attention.word = ATTENTION_HALTED;
        vcpu->budget_left = 100000;
        last_exit = REASON_PREEMPTION_TIMER;
        entries = 0;
        vcpu_run(vcpu);
        assert_int_equal(!entries, lacks);
        assert_int_equal(entered_as, lacks ? ACTIVITY_ACTIVE : ACTIVITY_HLT);
        assert_int_equal(vm.ending, VM_ENDED_BUDGET);
    }
}

/* A halt that interrupts end though IF is 0. */
static void a_halt_of_a_td(void **state)
{
    (void)state;
    last_exit = REASON_HLT;
    vcpu->vmx.regs.known = 0;
    vcpu->vmx.wakes_masked = true;
    vmcs[VMCS_GUEST_RFLAGS] = 0;
    vmcs[VMCS_GUEST_RIP] = 0x1235;
    turn(1);
    assert_int_equal(vm.ending, VM_ENDED_HALTED);
    assert_string_equal(vm.message,
                        "HLT before RIP 0x1235 with IF=0 and no event pending: it would sleep "
                        "for ever; it waits for a timer that is not armed, or for a device that "
                        "does not exist");
    vm.words.pc = true; /* input can end the halt */
    assert_false(sleeps_for_ever(vcpu));
    vcpu->vmx.wakes_masked = false;
    assert_true(sleeps_for_ever(vcpu));
}

/* The CPU has an interrupt that it will deliver, which ends a halt if the guest can take it (rule
 * N37). The VMCS is written before an entry only if the APIC has changed (N35). */
static void a_halt_with_a_virtual_interrupt(void **state)
{
    (void)state;
    static uint32_t page[1024];
    vcpu->vmx.apicv.on = true;
    vcpu->lapic.page = page;
    page[0x220 / 4] = BIT(1); /* vector 0x41 */
    for (unsigned i = 0; i < 12; i++) {
        bool on = i & 1, masked = i & 2;
        vcpu->vmx.regs.known = 0;
        vmcs[VMCS_GUEST_RFLAGS] = on ? RFLAGS_IF : 0;
        vcpu->vmx.wakes_masked = masked;
        page[0x80 / 4] = i < 4 ? 0 : i < 8 ? 0x3f : 0x40;
        assert_int_equal(halt_ends(vcpu), (on || masked) && i < 8);
    }
    vcpu->vmx.apicv.changed = true;
    for (unsigned i = 0; i < 3; i++) {
        turn(1);
        assert_int_equal(syncs, 1);
    }
    vcpu->lapic.page = NULL;
    vcpu->vmx.apicv.on = false;
}

/* Another CPU is compared with the boot CPU before it changes anything: what extra_state_enable()
 * finds is used by all CPUs, and mitigate_start() may hide a feature. */
static void a_cpu_that_joins(void **state)
{
    static const struct {
        bool alike, same_flaws;
        const char *right;
    } rows[] = {
        {true, true, "alike flaws enable mitigated vmxon "},
        {false, true, "alike "},
        {true, false, "alike flaws "},
    };
    (void)state;
    support_reset(); /* there are pages for a ring */
    cpu_count = 2;
    starts = true;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        is_alike = rows[i].alike;
        has_same_flaws = rows[i].same_flaws;
        did[0] = 0;
        pcpus_start();
        assert_string_equal(did, rows[i].right);
    }
    starts = false;
    support_reset();
    pcpus_start();
    assert_string_equal(support_log(),
                        "CPU 1 does not return from entering VMX operation; it runs no guests\n"
                        "cpus: 1 of 2 run guests\n");
    cpu_count = 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(another_vm, setup),
        cmocka_unit_test_setup(a_cpu_that_joins, setup),
        cmocka_unit_test_setup(ibrs_at_each_exit, setup),
        cmocka_unit_test_setup(another_cpu, setup),
        cmocka_unit_test_setup(a_start, setup),
        cmocka_unit_test_setup(a_halted_vcpu_does_work, setup),
        cmocka_unit_test_setup(pieces_pass_epochs, setup),
        cmocka_unit_test_setup(a_cpu_that_refuses, setup),
        cmocka_unit_test_setup(the_budget, setup),
        cmocka_unit_test_setup(frames, setup),
        cmocka_unit_test_setup(a_sleeper, setup),
        cmocka_unit_test_setup(the_budget_of_several, setup),
        cmocka_unit_test_setup(a_triple_fault, setup),
        cmocka_unit_test_setup(an_entry_that_fails, setup),
        cmocka_unit_test_setup(a_halt_for_ever, setup),
        cmocka_unit_test_setup(a_halt_in_its_state, setup),
        cmocka_unit_test_setup(a_halt_of_a_td, setup),
        cmocka_unit_test_setup(a_halt_with_a_virtual_interrupt, setup),
        cmocka_unit_test_setup(answers_to_keys, setup),
    };
    return cmocka_run_group_tests_name("turns", tests, NULL, NULL);
}
