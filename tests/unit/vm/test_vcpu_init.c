/* SPDX-License-Identifier: MIT */
/*
 * The effect of INIT and a start-up IPI on a vCPU whose members all have random values: each byte
 * of struct vcpu either has the value of the SDM's tables 10-1 and 11-1, or is unchanged, or is a
 * cache. Then the vCPU is used: no event from before the INIT is delivered, no timer runs, and
 * nothing that its guest does with its APIC shows old state.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "arch/x86/memory.h"
#include "tests/unit/vm/vcpu_fates.h"
#include "tests/unit/vmx/test_vmx_models.h"
#include "vm/exits.h"
#include "vm/ipi.c"
#include "vm/pcpu.h"
#include "vm/vm.h"
#include "vmx/inject.c"

#include <stdio.h>
#include <string.h>

#define fields   regs_fields
#define read_cr4 no_cr4
static uint64_t no_cr4(void)
{
    return 0;
}
#include "vmx/regs.c"
#undef fields

#define PAGE      0x9a
#define SIGNATURE 0x706e5u

struct vmx_machine vmx;

static struct vm vm;
static struct vcpu other, before;
static struct vcpu *const vcpu = &vm.vcpu;

static struct {
    unsigned updates, flushes, forgotten;
    struct cpuid_input {
        uint64_t cr4, xcr0;
        enum lapic_mode mode;
    } update;
    uint64_t tsc;
} seen;

static uint64_t random_state;
static uint64_t next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

/* ---- Functions that the tested files call ---------------------------------------------------- */

uint32_t cpuid_signature(void)
{
    return SIGNATURE;
}

void cpuid_update(struct vcpu *v)
{
    seen.updates++;
    seen.update.cr4 = cpu_reg(&v->vmx.regs, REG_CR4);
    seen.update.xcr0 = v->extra.xcr0;
    seen.update.mode = v->lapic.mode;
}

void tlb_invvpid(struct mmu *mmu, unsigned type, uint16_t vpid, gva_t address,
                 enum invvpid_reason reason)
{
    (void)address;
    assert_ptr_equal(mmu, &vm.mmu);
    assert_int_equal(vpid, vcpu->vpid);
    assert_int_equal(type, INVVPID_SINGLE);
    assert_int_equal(reason, INVVPID_GUEST);
    seen.flushes++;
}

void mmio_cache_clear_gva(struct mmio_cache *cache)
{
    assert_ptr_equal(cache, &vcpu->mmio.cache);
    seen.forgotten++;
}

static bool queued;
void sched_add(struct vcpu *v)
{
    assert_ptr_equal(v, vcpu);
    queued = true;
}

void pcpu_kick_vcpu(const struct vcpu *v)
{
    assert_true(v == vcpu || v == &other);
}

void sleep_end(struct vcpu *v)
{
    assert_ptr_equal(v, vcpu);
}

void vmx_set_primary(uint64_t mask, bool on)
{
    vmcs[VMCS_PRIMARY_CONTROLS] =
        on ? vmcs[VMCS_PRIMARY_CONTROLS] | mask : vmcs[VMCS_PRIMARY_CONTROLS] & ~mask;
}

void clock_arm(struct vcpu *v, uint64_t now);
void clock_arm(struct vcpu *v, uint64_t now)
{
    (void)v, (void)now;
    fail_msg("nothing has an 8259");
}

static uint64_t host_now(void *context)
{
    (void)context;
    return seen.tsc;
}

static void interrupt(void *context)
{
    vcpu_update_interrupt(context);
}

static void timer(void *context)
{
    (void)context;
}

static void raise_nmi(void *context)
{
    vcpu_nmi(context);
}

static const struct lapic_host host = {
    .now = host_now, .interrupt = interrupt, .timer = timer, .raise_nmi = raise_nmi};

/* ---- The effect on each byte ----------------------------------------------------------------- */

static void check_row(const struct row *row)
{
    const uint8_t *is = (const uint8_t *)vcpu + row->at, *was = (const uint8_t *)&before + row->at;
    for (size_t i = 0; i < row->size && row->fate != CACHE; i++) {
        uint8_t right = row->fate == KEPT ? was[i] : row->fate == ONES ? 0xff : 0;
        if (is[i] != right)
            fail_msg("%s, byte %zu: %#x became %#x", row->name, i, was[i], is[i]);
    }
}

/* Each member of struct vcpu has a row that says what INIT does to it. Gaps between rows are
 * padding. */
static void every_byte_has_a_row(void **state)
{
    (void)state;
    size_t end = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        size_t gap = rows[i].at - end;
        bool aligns = rows[i].at % 64 == 0 && gap < 64;
        if (rows[i].at < end || (gap >= 8 && !aligns))
            fail_msg("%zu bytes before %s have no row, or one in another order", gap, rows[i].name);
        end = rows[i].at + rows[i].size;
    }
    assert_true(sizeof(struct vcpu) - end < 64);
}

/* ---- Random values --------------------------------------------------------------------------- */

static void fill(void *at, size_t size)
{
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t random = next();
        size_t rest = size - i;
        memcpy((uint8_t *)at + i, &random, rest < sizeof(random) ? rest : sizeof(random));
    }
}

static uint32_t apic_page[1024];

/* Fills the vCPU with random bytes, except for values that the code depends on: pointers, the mode
 * of the APIC, the state of start-up IPIs, and booleans, which must be 0 or 1. */
static void dirty_vcpu(void)
{
    struct vcpu *v = vcpu;
    fill(v, sizeof(*v));
    v->vmx.regs.known = 0;
    v->vmx.regs.gpr[GPR_COUNT] = 0;
    v->vmx.launched = v->vmx.checked = v->vmx.windows = v->vmx.pml_on = v->vmx.extra_work = true;
    v->vmx.attention.word = ATTENTION_EVENT | ATTENTION_TIMER | ATTENTION_CHORES | ATTENTION_REARM |
                            ATTENTION_HALTED | ATTENTION_MAIL;
    v->vmx.pending.requeue.valid = v->vmx.pending.exception.valid = true;
    v->vmx.pending.iret_again = v->vmx.pending.interrupt = true;
    v->vmx.pending.nmis = 2;
    v->vmx.holds_nmis = NULL; /* no TD: its vCPUs take no INIT */
    v->vmx.wakes_masked = v->vmx.td = false;
    v->td = NULL;
    v->mmio.cpu = v->mmio.cache.cpu = &v->vmx.regs;
    v->mmio.single_step = v->mmio.breakpoints.on = v->mmio.fault.has_error_code = true;
    v->vm = &vm;
    v->sched = (struct sched_entry){.wake_at = next()};
    v->mailbox.startup = STARTUP_ACTIVE | STARTUP_NMI;
    v->mailbox.pcpu = 0;
    v->visits = NULL;
    v->pass.armed = v->ve_by_cpu = v->unfinished = true;
    v->lapic.host = &host;
    v->lapic.context = v;
    v->lapic.timer_unit = 1;
    v->lapic.mode = next() % 4 == 1 ? LAPIC_XAPIC : (enum lapic_mode)(next() % 4);
    if ((unsigned)v->lapic.mode == 1) /* no such mode */
        v->lapic.mode = LAPIC_OFF;
    v->external.valid = true;
    v->vmx.apicv.changed = false;
    v->vmx.apicv.on = v->lapic.mode == LAPIC_X2APIC && next() % 2;
    v->lapic.page = v->vmx.apicv.on ? apic_page : NULL;
    fill(apic_page, sizeof(apic_page));
}

static void dirty_vmcs(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(vmcs); i++)
        vmcs[i] = next();
    vmcs[VMCS_ENTRY_INTERRUPTION_INFO] &= ~EVENT_INFO_VALID; /* as after every exit */
    vmcs[VMCS_CR0_GUEST_HOST_MASK] = vmcs[VMCS_CR4_GUEST_HOST_MASK] = ~0ull;
}

/* ---- INIT ------------------------------------------------------------------------------------ */

static void send(enum lapic_delivery mode, uint8_t vector)
{
    struct lapic_message message = {.mode = (uint8_t)mode, .vector = vector, .all = true};
    ipi_send(&other, &message);
}

/* Sends an INIT and a start-up IPI. With `waits`, the vCPU leaves its pCPU for the INIT, waits, and
 * gets a pCPU again; otherwise it gets the start-up IPI before it has stopped. */
static void init_and_start(bool waits)
{
    send(LAPIC_INIT, 0);
    if (!waits)
        send(LAPIC_STARTUP, PAGE);
    ipi_receive(vcpu);
    assert_true(attention_requested(&vcpu->vmx.attention, ATTENTION_STOP));
    assert_int_equal(ipi_restarts(vcpu), !waits);
    if (waits) {
        send(LAPIC_NMI, 0);
        send(LAPIC_STARTUP, PAGE);
    }
    assert_int_equal(queued, waits);
    assert_true(attention_requested(&vcpu->vmx.attention, ATTENTION_START));
    before = *vcpu;
    assert_false(visit_is_open(vcpu));
    ipi_start(vcpu);
    assert_true(visit_is_open(vcpu));
}

static void prepare(uint64_t seed)
{
    random_state = seed * 0x9e3779b97f4a7c15 | 1;
    memset(&seen, 0, sizeof(seen));
    vmx.msrs = icelake_u;
    seen.tsc = 1000000;
    queued = false;
    vm.vcpu_count = 2;
    vm.vcpus[0] = vcpu;
    vm.vcpus[1] = &other;
    other.vm = &vm;
    dirty_vmcs();
    dirty_vcpu();
    /* The APIC must be enabled to be addressed. */
    if (vcpu->lapic.mode == LAPIC_OFF)
        vcpu->lapic.mode = LAPIC_X2APIC;
}

/* The work that the vCPU left at the INIT goes to the first vCPU that looks, once: another one, or
 * itself after its start. */
static void work_that_is_left(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        prepare(seed);
        other.vmx.attention.word = 0;
        init_and_start(seed & 1);
        struct vcpu *first = seed & 2 ? vcpu : &other, *second = seed & 2 ? &other : vcpu;
        assert_false(attention_requested(&vcpu->vmx.attention, ATTENTION_CHORES));
        ipi_receive(first);
        assert_true(attention_requested(&first->vmx.attention, ATTENTION_CHORES));
        ipi_receive(second);
        assert_false(attention_requested(&second->vmx.attention, ATTENTION_CHORES));
    }
    /* If no work is left, the other vCPU gets no message. */
    prepare(9);
    other.vmx.attention.word = 0;
    attention_clear(&vcpu->vmx.attention, ATTENTION_CHORES);
    vcpu->mailbox.frames = 0;
    vcpu->frames_at = TIME_NEVER;
    init_and_start(true);
    assert_false(attention_requested(&other.vmx.attention, ATTENTION_MAIL));
}

static void check_lapic(const struct lapic *l)
{
    assert_int_equal(l->svr, 0xff);
    for (unsigned i = 0; i < LAPIC_LVTS; i++)
        assert_int_equal(l->lvt[i], 0x10000);
    assert_int_equal(lapic_deadline(l), LAPIC_NEVER);
    assert_int_equal(lapic_pending(l), -1);
}

/* The cached registers are equal to those in the VMCS. */
static void check_registers(void)
{
    struct cpu_regs *cpu = &vcpu->vmx.regs, fresh = *cpu;
    fresh.known = 0;
    for (unsigned i = 0; i < REG_COUNT; i++)
        if (cpu->known & BIT(i))
            assert_int_equal(cpu->value[i], cpu_reg_load(&fresh, (enum cpu_reg)i));
    for (unsigned i = 0; i <= GPR_COUNT; i++)
        assert_int_equal(cpu->gpr[i], i == GPR_RDX ? SIGNATURE : 0);
    assert_int_not_equal(cpu->regime, before.vmx.regs.regime); /* old replay entries are invalid */
    assert_int_equal(cpu_reg(cpu, REG_CR0) & ~BITS(30, 29), 0x10);
    assert_int_equal(cpu_reg(cpu, REG_CR3) | cpu_reg(cpu, REG_CR4) | cpu_reg(cpu, REG_EFER), 0);
    assert_int_equal(cpu_reg(cpu, REG_RFLAGS), 2);
    assert_int_equal(vcpu->extra.dr6, 0xffff0ff0);
}

static void check_requests(void)
{
    uint64_t left = vcpu->vmx.attention.word;
    assert_int_equal(left & (ATTENTION_STOP | ATTENTION_HALTED | ATTENTION_CHORES |
                             ATTENTION_START | ATTENTION_ENDED),
                     0);
    assert_false(vcpu->external.valid);
    assert_int_equal(vcpu_next_event(vcpu), vcpu->pit_at);
}

static void as_the_tables_say(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= support_rounds(2000); seed++) {
        prepare(seed);
        init_and_start(seed & 1);
        for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
            check_row(&rows[i]);
        check_lapic(&vcpu->lapic);
        assert_int_equal(vcpu->vmx.apicv.changed, vcpu->vmx.apicv.on);
        check_registers();
        check_requests();
        assert_int_equal(seen.forgotten, 1);
        assert_int_equal(seen.flushes, 1);
        assert_int_equal(seen.updates, 1); /* called after the state has changed */
        assert_int_equal(seen.update.cr4, 0);
        assert_int_equal(seen.update.xcr0, vcpu->extra.xcr0);
        assert_int_equal(seen.update.mode, vcpu->lapic.mode);
    }
}

/* ---- Use after the INIT ---------------------------------------------------------------------- */

/* From now on the hypervisor delivers the interrupts. */
static void deliver_by_software(void)
{
    vcpu->vmx.apicv.on = false;
    vcpu->lapic.page = NULL;
}

/* Enters a guest that accepts all events, as vm/run.c does. Returns true if an event is injected.
 */
static bool gets_an_event(void)
{
    cpu_set_reg(&vcpu->vmx.regs, REG_RFLAGS, RFLAGS_IF | 2);
    ipi_receive(vcpu);
    lapic_tick(&vcpu->lapic);
    assert_true(vmx_deliver(&vcpu->vmx));
    return vmcs[VMCS_ENTRY_INTERRUPTION_INFO] & EVENT_INFO_VALID;
}

static void no_event_of_before(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= support_rounds(2000); seed++) {
        prepare(seed);
        for (unsigned i = 0; i < 4; i++)
            vcpu->mailbox.vectors[i] = next();
        init_and_start(seed & 1);
        assert_false(gets_an_event());
        seen.tsc += 1ull << 40;
        assert_false(gets_an_event());
        assert_false(vcpu->vmx.windows);
        assert_int_equal(vmcs[VMCS_PRIMARY_CONTROLS] &
                             (PRIMARY_NMI_WINDOW_EXITING | PRIMARY_INTERRUPT_WINDOW_EXITING),
                         0);
        /* The next NMI is delivered, and so is an interrupt once the APIC is enabled. */
        send(LAPIC_NMI, 0);
        assert_true(gets_an_event());
        assert_int_equal(vmcs[VMCS_ENTRY_INTERRUPTION_INFO] & 0xff, VECTOR_NMI);
        vmcs[VMCS_ENTRY_INTERRUPTION_INFO] = 0;
        deliver_by_software();
        lapic_write(&vcpu->lapic, LAPIC_SVR, 0x1ff);
        send(LAPIC_FIXED, 0x77);
        assert_true(gets_an_event());
        assert_int_equal(vmcs[VMCS_ENTRY_INTERRUPTION_INFO] & 0xff, 0x77);
    }
}

/* As many NMIs are kept as a CPU keeps: one while another one is being handled. */
static void nmis_that_are_kept(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        bool blocked = i & 1;
        prepare(i + 1);
        vmcs[VMCS_GUEST_INTERRUPTIBILITY] = blocked ? BLOCKING_BY_NMI : 0;
        vcpu->vmx.pending = (struct event_pending){.iret_again = i & 2};
        for (unsigned sent = 1; sent <= 4; sent++) {
            unsigned most = blocked || i & 2 ? 1 : 2;
            vcpu->vmx.attention.word = 0;
            vcpu_nmi(vcpu);
            assert_int_equal(vcpu->vmx.pending.nmis, sent < most ? sent : most);
            assert_int_equal(vcpu->vmx.attention.word, ATTENTION_EVENT);
        }
    }
}

/* A timer that ran in any mode at the INIT can be set up again in any mode. */
static void a_timer_begins_anew(void **state)
{
    static const uint32_t modes[] = {0, 0x20000, 0x40000}; /* one-shot, periodic, TSC-deadline */
    (void)state;
    for (unsigned i = 0; i < 9; i++) {
        struct lapic *l = &vcpu->lapic;
        prepare(i + 1);
        deliver_by_software();
        lapic_init(l, 0, &host, vcpu);
        lapic_write(l, LAPIC_SVR, 0x1ff);
        lapic_write(l, LAPIC_LVT_TIMER, modes[i / 3] | 0x41);
        lapic_write(l, LAPIC_INITIAL_COUNT, 1000);
        lapic_set_tsc_deadline(l, seen.tsc + 500);
        assert_int_not_equal(lapic_deadline(l), LAPIC_NEVER);
        init_and_start(true);
        assert_false(gets_an_event()); /* the first check, before the entry */
        assert_int_equal(lapic_read(l, LAPIC_CURRENT_COUNT), 0);
        lapic_write(l, LAPIC_SVR, 0x1ff);
        lapic_write(l, LAPIC_LVT_TIMER, modes[i % 3] | 0x42);
        seen.tsc += 1ull << 32;
        assert_false(gets_an_event());
        assert_int_equal(lapic_tsc_deadline(l), 0);
        lapic_write(l, LAPIC_INITIAL_COUNT, 100);
        lapic_set_tsc_deadline(l, seen.tsc + 100);
        seen.tsc += 1000;
        assert_true(gets_an_event());
        assert_int_equal(vmcs[VMCS_ENTRY_INTERRUPTION_INFO] & 0xff, 0x42);
    }
}

/* After an INIT in any state, random accesses of the guest see an APIC that behaves as a new one.
 */
static void as_a_new_apic(void **state)
{
    (void)state;
    static struct vcpu twin;
    for (uint64_t seed = 1; seed <= support_rounds(2000); seed++) {
        prepare(seed);
        init_and_start(seed & 1);
        twin.vmx.attention.word = 0;
        twin.external.valid = false;
        lapic_init(&twin.lapic, vcpu->lapic.id, &host, &twin);
        twin.lapic.mode = vcpu->lapic.mode;
        for (unsigned i = 0; i < 200; i++) {
            unsigned reg = (unsigned)(next() % 0x40);
            uint32_t value = (uint32_t)(next() >> (next() % 64));
            if (reg == LAPIC_ICR || reg == LAPIC_SELF_IPI)
                continue;
            assert_int_equal(lapic_read(&vcpu->lapic, reg), lapic_read(&twin.lapic, reg));
            lapic_write(&vcpu->lapic, reg, value);
            lapic_write(&twin.lapic, reg, value);
            seen.tsc += next() % 10000;
            assert_int_equal(lapic_pending(&vcpu->lapic), lapic_pending(&twin.lapic));
            assert_int_equal(lapic_deadline(&vcpu->lapic), lapic_deadline(&twin.lapic));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_has_a_row), cmocka_unit_test(as_the_tables_say),
        cmocka_unit_test(no_event_of_before),   cmocka_unit_test(a_timer_begins_anew),
        cmocka_unit_test(as_a_new_apic),        cmocka_unit_test(work_that_is_left),
        cmocka_unit_test(nmis_that_are_kept),
    };
    return cmocka_run_group_tests_name("a vCPU after INIT", tests, NULL, NULL);
}
