/* SPDX-License-Identifier: MIT */
/*
 * An x2APIC whose page and VMCS belong to a CPU that does what SDM 3, chapter 30, says, and beside
 * it its twin, an APIC of the software model. A guest does the same to both, and sees the same, or
 * the test fails. Include it in one file.
 */
#pragma once

#include "tests/unit/vmx/vmcs_world.h"

#include "tests/unit/vmx/test_vmx_models.h"
#include "vmx/apicv.c"

#define rdtsc host_tsc
static uint64_t host_tsc(void);
#include "vm/apicv.c"
#undef rdtsc

#include "dev/lapic_msr.h"
#include "vm/exits.h"

#include <string.h>

#define NEVER (~0ull)

struct vmx_machine vmx;

static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;
static struct lapic twin;   /* the model */
static uint64_t tsc, armed; /* both timers tick when the first one is due */
static unsigned updates;

/* The vectors that each has ended by an EOI broadcast, as a hash and a number. */
static struct ends {
    uint64_t hash;
    unsigned count;
} ends, twin_ends;

static uint64_t random_state;
static uint64_t next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static unsigned below(unsigned n)
{
    return (unsigned)(next() >> 16) % n;
}

/* ---- What the tested files call -------------------------------------------------------------- */

static uint64_t host_tsc(void)
{
    return tsc;
}

void clock_arm(struct vcpu *v, uint64_t now)
{
    assert_int_equal(now, tsc);
    armed = lapic_deadline(&v->lapic);
    apicv_watch_timer(v);
}

void vcpu_update_interrupt(struct vcpu *v)
{
    assert_ptr_equal(v, vcpu);
    updates++;
    if (v->vmx.apicv.on)
        apicv_changed(v);
}

/* The MSR bitmaps: which accesses to the registers of the x2APIC do not exit. */
static bool read_passes[0x100], write_passes[0x100];

void vmx_pass_msr_reads(struct vmx_vcpu *v, uint32_t msr)
{
    assert_ptr_equal(v, &vcpu->vmx);
    read_passes[msr - 0x800] = true;
}

void vmx_pass_msr_writes(struct vmx_vcpu *v, uint32_t msr)
{
    assert_ptr_equal(v, &vcpu->vmx);
    write_passes[msr - 0x800] = true;
}

void vmx_intercept_msr(struct vmx_vcpu *v, uint32_t msr)
{
    assert_ptr_equal(v, &vcpu->vmx);
    read_passes[msr - 0x800] = write_passes[msr - 0x800] = false;
}

/* ---- The callbacks of both APICs ------------------------------------------------------------- */

static uint64_t now(void *context)
{
    (void)context;
    return tsc;
}

static void interrupt(void *context)
{
    if (context == vcpu)
        vcpu_update_interrupt(vcpu);
}

static void timer(void *context)
{
    if (context == vcpu)
        clock_arm(vcpu, tsc);
}

static void no_nmi(void *context)
{
    (void)context;
    fail();
}

static void end_level(void *context, uint8_t vector)
{
    struct ends *e = context == vcpu ? &ends : &twin_ends;
    e->hash = (e->hash + vector + 1) * 0x9e3779b97f4a7c15;
    e->count++;
}

static const struct lapic_host host = {.now = now,
                                       .interrupt = interrupt,
                                       .timer = timer,
                                       .raise_nmi = no_nmi,
                                       .end_level = end_level};

/* ---- A CPU, by the SDM ----------------------------------------------------------------------- */

static struct {
    uint8_t rvi, svi, vppr;
    bool recognized;
} cpu;

static uint8_t *page_at(unsigned offset)
{
    return (uint8_t *)phys_to_virt(HPA(vmcs[VMCS_VIRTUAL_APIC_ADDRESS])) + offset;
}

static bool page_bit(unsigned first, uint8_t vector)
{
    return *page_at(first + vector / 32 * 16 + vector % 32 / 8) & 1u << vector % 8;
}

static void page_set_bit(unsigned first, uint8_t vector, bool on)
{
    uint8_t *byte = page_at(first + vector / 32 * 16 + vector % 32 / 8),
            bit = (uint8_t)(1 << vector % 8);
    *byte = on ? *byte | bit : (uint8_t)(*byte & ~bit);
}

static uint8_t page_highest(unsigned first)
{
    for (unsigned v = 255; v; v--)
        if (page_bit(first, (uint8_t)v))
            return (uint8_t)v;
    return 0;
}

static void page_put64(unsigned offset, uint64_t value)
{
    memcpy(page_at(offset), &value, sizeof(value));
}

static void cpu_saves_status(void)
{
    vmcs[VMCS_GUEST_INTERRUPT_STATUS] = (uint64_t)cpu.svi << 8 | cpu.rvi;
}

/* 30.2.1 */
static void cpu_evaluates(void)
{
    cpu.recognized = !(vmcs[VMCS_PRIMARY_CONTROLS] & PRIMARY_INTERRUPT_WINDOW_EXITING) &&
                     cpu.rvi >> 4 > cpu.vppr >> 4;
    cpu_saves_status();
}

/* 30.1.3 */
static void cpu_virtualizes_ppr(void)
{
    uint8_t vtpr = *page_at(0x80);
    cpu.vppr = vtpr >> 4 >= cpu.svi >> 4 ? vtpr : cpu.svi & 0xf0;
    page_put64(0xa0, cpu.vppr);
}

/* 27.3.2.5 */
static void cpu_enters(void)
{
    cpu.rvi = (uint8_t)vmcs[VMCS_GUEST_INTERRUPT_STATUS];
    cpu.svi = (uint8_t)(vmcs[VMCS_GUEST_INTERRUPT_STATUS] >> 8);
    cpu_virtualizes_ppr();
    cpu_evaluates();
}

/* 30.1.4. Returns true if the EOI exits. */
static bool cpu_ends(uint8_t *vector)
{
    *vector = cpu.svi;
    page_set_bit(0x100, *vector, false);
    cpu.svi = page_highest(0x100);
    cpu_virtualizes_ppr();
    if (vmcs[VMCS_EOI_EXIT_BITMAP_0 + 2 * (*vector / 64)] & BIT(*vector % 64)) {
        cpu_saves_status();
        return true;
    }
    cpu_evaluates();
    return false;
}

/* 30.1.5 */
static void cpu_sends_to_itself(uint8_t vector)
{
    page_set_bit(0x200, vector, true);
    if (vector > cpu.rvi)
        cpu.rvi = vector;
    cpu_evaluates();
}

/* 30.2.2. Returns the vector, or -1. */
static int cpu_delivers(void)
{
    uint8_t vector = cpu.rvi;
    if (!cpu.recognized)
        return -1;
    page_set_bit(0x100, vector, true);
    cpu.svi = vector;
    cpu.vppr = vector & 0xf0;
    page_put64(0xa0, cpu.vppr);
    page_set_bit(0x200, vector, false);
    cpu.rvi = page_highest(0x200);
    cpu.recognized = false;
    cpu_saves_status();
    return vector;
}

/* ---- The hypervisor around it ---------------------------------------------------------------- */

/* The preemption timer exits before the next instruction, and every entry writes what has
 * changed. */
static void enter(void)
{
    while (tsc >= armed) {
        lapic_tick(&vcpu->lapic);
        lapic_tick(&twin);
        clock_arm(vcpu, tsc);
    }
    if (!vcpu->vmx.apicv.on)
        return;
    if (vcpu->vmx.apicv.changed) {
        apicv_sync(vcpu);
        if (tsc >= armed) {
            enter();
            return;
        }
    }
    assert_false(vcpu->vmx.apicv.changed);
    cpu_enters();
    /* What the CPU has, and what it will do, is what the page says. */
    struct lapic_virtual status;
    lapic_page_status(&vcpu->lapic, &status);
    assert_int_equal(cpu.rvi, status.rvi);
    assert_int_equal(cpu.svi, status.svi);
    assert_int_equal(cpu.recognized, lapic_pending(&vcpu->lapic) >= 0);
    /* No expiry is forgotten: the timer is armed, or what shows the next expiry exits. */
    if (lapic_deadline(&vcpu->lapic) < armed) {
        uint8_t vector = (uint8_t)vcpu->lapic.lvt[0];
        assert_false(read_passes[LAPIC_IRR + vector / 32]);
        assert_true(vmcs[VMCS_EOI_EXIT_BITMAP_0 + 2 * (vector / 64)] & BIT(vector % 64));
    }
}

static void interrupted(uint8_t vector, bool level)
{
    if (level) {
        lapic_accept_level(&vcpu->lapic, vector);
        lapic_accept_level(&twin, vector);
    } else {
        lapic_accept(&vcpu->lapic, vector);
        lapic_accept(&twin, vector);
    }
    enter();
}

/* ---- The guest ------------------------------------------------------------------------------- */

/* The twin's timer does not tick at an access that does not exit for the other guest, as it does
 * not tick there either. */
static uint64_t peek(uint32_t msr)
{
    struct lapic copy = twin;
    uint64_t value;
    copy.timer_end = 0;
    assert_true(lapic_msr_read(&copy, msr, &value));
    return value;
}

static bool write_untimed(uint32_t msr, uint64_t value)
{
    uint64_t end = twin.timer_end;
    twin.timer_end = 0;
    bool done = lapic_msr_write(&twin, msr, value);
    twin.timer_end = end;
    return done;
}

static void read_register(uint32_t reg)
{
    uint64_t value = 0, right = 0;
    bool exits = !vcpu->vmx.apicv.on || !read_passes[reg];
    if (exits) {
        bool done = lapic_msr_read(&vcpu->lapic, 0x800 + reg, &value);
        assert_int_equal(done, lapic_msr_read(&twin, 0x800 + reg, &right));
    } else { /* 30.5 */
        memcpy(&value, page_at(reg << 4), sizeof(value));
        right = peek(0x800 + reg);
    }
    if (value != right)
        fail_msg("register %#x is %#lx and not %#lx", reg, value, right);
    enter();
}

/* Returns false for #GP. The CPU accesses its own APIC if the MSR is neither intercepted nor
 * virtualized, which must not happen. */
static bool cpu_writes(uint32_t reg, uint64_t value)
{
    uint8_t vector;
    switch (reg) {
    case 0x08:
        if (value >> 8)
            return false;
        page_put64(0x80, value);
        cpu_virtualizes_ppr();
        cpu_evaluates();
        return true;
    case 0x0b:
        if (value)
            return false;
        page_put64(0xb0, 0);
        if (cpu_ends(&vector)) {
            vcpu->vmx.exit.reason = REASON_VIRTUALIZED_EOI;
            vmcs[VMCS_EXIT_QUALIFICATION] = vector;
            exit_virtualized_eoi(vcpu);
        }
        return true;
    case 0x3f:
        if (value >> 8)
            return false;
        page_put64(0x3f0, value);
        if (value >> 4) {
            cpu_sends_to_itself((uint8_t)value);
            return true;
        }
        cpu_saves_status();
        vcpu->vmx.exit.reason = REASON_APIC_WRITE;
        vmcs[VMCS_EXIT_QUALIFICATION] = 0x3f0;
        exit_apic_write(vcpu);
        return true;
    default:
        fail_msg("a write to register %#x reaches the CPU's own APIC", reg);
        return false;
    }
}

static void write_register(uint32_t reg, uint64_t value)
{
    bool exits = !vcpu->vmx.apicv.on || !write_passes[reg], done, right;
    if (exits) {
        done = lapic_msr_write(&vcpu->lapic, 0x800 + reg, value);
        right = lapic_msr_write(&twin, 0x800 + reg, value);
    } else if (reg == 0x3f && value < 16) { /* exits after the write */
        done = cpu_writes(reg, value);
        right = lapic_msr_write(&twin, 0x800 + reg, value);
    } else {
        done = cpu_writes(reg, value);
        right = write_untimed(0x800 + reg, value);
    }
    assert_int_equal(done, right);
    assert_int_equal(ends.count, twin_ends.count);
    assert_true(ends.hash == twin_ends.hash);
    enter();
}

/* The guest can be interrupted. */
static int take_one(void)
{
    int right = lapic_pending(&twin), vector;
    if (right >= 0)
        lapic_acknowledge(&twin);
    if (vcpu->vmx.apicv.on) {
        vector = cpu_delivers();
    } else {
        vector = lapic_pending(&vcpu->lapic);
        if (vector >= 0)
            lapic_acknowledge(&vcpu->lapic);
    }
    assert_int_equal(vector, right);
    enter();
    return vector;
}

static void set_mode(unsigned mode)
{
    bool done = lapic_set_mode(&vcpu->lapic, mode);
    assert_int_equal(done, lapic_set_mode(&twin, mode));
    apicv_follow(vcpu);
    enter();
}

static void init_signal(void)
{
    lapic_reset(&vcpu->lapic);
    lapic_reset(&twin);
    vcpu_update_interrupt(vcpu);
    armed = NEVER; /* ipi_start() is followed by look_at_clock() */
    enter();
}

/* ---- The beginning --------------------------------------------------------------------------- */

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&vm, 0, sizeof(vm));
    memset(&twin, 0, sizeof(twin));
    memset(&ends, 0, sizeof(ends));
    memset(&twin_ends, 0, sizeof(twin_ends));
    memset(&cpu, 0, sizeof(cpu));
    memset(read_passes, 0, sizeof(read_passes));
    memset(write_passes, 0, sizeof(write_passes));
    vmx.msrs = icelake_u;
    assert_int_equal(vmx_negotiate(&vmx.msrs, &vmx.controls), 0);
    vmx.apicv = vmx_apicv_possible();
    vcpu->vm = &vm;
    tsc = 1000;
    armed = NEVER;
    lapic_init(&vcpu->lapic, 3, &host, vcpu);
    lapic_init(&twin, 3, &host, &twin);
    vmcs[VMCS_PRIMARY_CONTROLS] = vmx.controls.set[CONTROL_PRIMARY] & ~PRIMARY_TPR_SHADOW;
    vmcs[VMCS_SECONDARY_CONTROLS] = vmx.controls.set[CONTROL_SECONDARY] & ~SECONDARY_APICV;
    assert_int_equal(apicv_setup(vcpu), 0);
    memset(phys_to_virt(vcpu->vmx.apicv.page), 0xff, PAGE_SIZE);
    return 0;
}

static int setup_on(void **state)
{
    setup(state);
    set_mode(LAPIC_X2APIC);
    write_register(LAPIC_SVR, 0x1ff);
    return 0;
}
