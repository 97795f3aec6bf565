/* SPDX-License-Identifier: MIT */
/*
 * Interrupts by the CPU (vm/apicv.c, vmx/apicv.c, dev/lapic_page.c) against the software model: the
 * same random accesses and interrupts go to an APIC whose page and VMCS belong to a CPU, and to one
 * without. The CPU here does what SDM 3, chapter 30, says, and not what an emulator does. Both
 * guests must read the same, take the same interrupts, and end the same level-triggered ones.
 */
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
static struct lapic twin; /* the model */
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
    if (v->vmx.apicv.on)
        apicv_watch_timer(v);
}

void vcpu_update_interrupt(struct vcpu *v)
{
    assert_ptr_equal(v, vcpu);
    updates++;
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
    if (context == vcpu && vcpu->vmx.apicv.on) /* as in vm/apic.c */
        apicv_changed(vcpu);
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

static const struct lapic_host host = {
    .now = now, .interrupt = interrupt, .timer = timer, .raise_nmi = no_nmi, .end_level = end_level};

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
    uint8_t *byte = page_at(first + vector / 32 * 16 + vector % 32 / 8), bit = (uint8_t)(1 << vector % 8);
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
    if (vcpu->vmx.apicv.on) /* as in vm/ipi.c */
        apicv_changed(vcpu);
    armed = NEVER; /* ipi_start() is followed by look_at_clock() */
    enter();
}

/* ---- Tests ----------------------------------------------------------------------------------- */

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

static uint64_t primary(void)
{
    return vmcs[VMCS_PRIMARY_CONTROLS] &
           (PRIMARY_TPR_SHADOW | PRIMARY_CR8_LOAD_EXITING | PRIMARY_CR8_STORE_EXITING);
}

static uint64_t secondary(void)
{
    return vmcs[VMCS_SECONDARY_CONTROLS] & SECONDARY_APICV;
}

static unsigned passing(const bool passes[0x100])
{
    unsigned count = 0;
    for (unsigned i = 0; i < 0x100; i++)
        count += passes[i];
    return count;
}

/* The controls follow the mode, all of them together, and nothing else changes (rule N30). */
static void controls_follow_the_mode(void **state)
{
    (void)state;
    const uint64_t first = vmcs[VMCS_PRIMARY_CONTROLS], second = vmcs[VMCS_SECONDARY_CONTROLS];
    const uint64_t cr8 = PRIMARY_CR8_LOAD_EXITING | PRIMARY_CR8_STORE_EXITING;
    static const uint8_t modes[] = {LAPIC_XAPIC, LAPIC_X2APIC, LAPIC_X2APIC, LAPIC_OFF,
                                    LAPIC_OFF,   LAPIC_XAPIC,  LAPIC_X2APIC, LAPIC_OFF};
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        set_mode(modes[i]);
        bool on = modes[i] == LAPIC_X2APIC;
        assert_int_equal(vcpu->vmx.apicv.on, on);
        assert_int_equal(primary(), on ? PRIMARY_TPR_SHADOW : cr8);
        assert_int_equal(secondary(), on ? SECONDARY_APICV : 0);
        assert_int_equal((vmcs[VMCS_PRIMARY_CONTROLS] ^ first) & ~cr8 & ~PRIMARY_TPR_SHADOW, 0);
        assert_int_equal((vmcs[VMCS_SECONDARY_CONTROLS] ^ second) & ~SECONDARY_APICV, 0);
        assert_int_equal(passing(read_passes), on ? 29 : 0);
        assert_int_equal(passing(write_passes), on ? 2 : 0);
        assert_true(vcpu->lapic.page == (on ? phys_to_virt(vcpu->vmx.apicv.page) : NULL));
    }
}

/* A CPU that lacks one of the controls, or on which a CR8 exit must be on. */
static void other_cpus(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        static const uint64_t bits[] = {PRIMARY_TPR_SHADOW, SECONDARY_VIRTUALIZE_X2APIC,
                                        SECONDARY_APIC_REGISTERS,
                                        SECONDARY_VIRTUAL_INTERRUPT_DELIVERY};
        vmx.controls.set[i ? CONTROL_SECONDARY : CONTROL_PRIMARY] &= ~bits[i];
        assert_false(vmx_apicv_possible());
        vmx.controls.set[i ? CONTROL_SECONDARY : CONTROL_PRIMARY] |= bits[i];
        assert_true(vmx_apicv_possible());
    }
    vmx.msrs.true_primary |= PRIMARY_CR8_LOAD_EXITING;
    set_mode(LAPIC_X2APIC);
    assert_int_equal(primary(), PRIMARY_TPR_SHADOW | PRIMARY_CR8_LOAD_EXITING);
}

/* Without apicv=1 there is no page, and the APIC stays with the hypervisor. */
static void switched_off(void **state)
{
    (void)state;
    vcpu->vmx.apicv.page = HPA(0);
    vmx.apicv = false;
    assert_int_equal(apicv_setup(vcpu), 0);
    assert_int_equal(vcpu->vmx.apicv.page.v, 0);
    set_mode(LAPIC_X2APIC);
    assert_false(vcpu->vmx.apicv.on);
    assert_int_equal(secondary(), 0);
    assert_int_equal(passing(read_passes) + passing(write_passes), 0);
}

/* The reads of a TD that are #VE exit. */
static void registers_of_a_td(void **state)
{
    (void)state;
    static struct td_vcpu *const td = (struct td_vcpu *)0x1000;
    vcpu->td = td;
    set_mode(LAPIC_X2APIC);
    assert_int_equal(passing(read_passes), 26);
    assert_false(read_passes[LAPIC_ID] || read_passes[LAPIC_VERSION] || read_passes[LAPIC_LDR]);
}

/* A change of the mode keeps what an xAPIC has accepted, and loses what is disabled (N31). */
static void what_waits_moves_along(void **state)
{
    (void)state;
    lapic_write(&vcpu->lapic, LAPIC_SVR, 0x1ff);
    lapic_write(&twin, LAPIC_SVR, 0x1ff);
    interrupted(0x41, false);
    interrupted(0x93, true);
    assert_int_equal(take_one(), 0x93);
    set_mode(LAPIC_X2APIC);
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPT_STATUS], 0x9341);
    assert_int_equal(take_one(), -1);
    write_register(LAPIC_EOI, 0);
    assert_int_equal(ends.count, 1);
    assert_int_equal(take_one(), 0x41);
    interrupted(0x51, false);
    set_mode(LAPIC_OFF);
    assert_int_equal(lapic_pending(&vcpu->lapic), -1);
    set_mode(LAPIC_XAPIC);
    set_mode(LAPIC_X2APIC);
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPT_STATUS], 0);
    for (unsigned reg = LAPIC_ISR; reg < LAPIC_IRR + 8; reg++)
        read_register(reg);
}

/* INIT clears the page, and with it RVI, SVI and the EOI-exit bitmap (N32). */
static void init_clears(void **state)
{
    (void)state;
    interrupted(0x41, false);
    interrupted(0x93, true);
    assert_int_equal(take_one(), 0x93);
    write_register(LAPIC_TPR, 0x20);
    assert_true(vmcs[VMCS_EOI_EXIT_BITMAP_2]);
    init_signal();
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPT_STATUS], 0);
    assert_int_equal(vmcs[VMCS_EOI_EXIT_BITMAP_2], 0);
    assert_true(vcpu->vmx.apicv.on);
    for (unsigned reg = 0; reg < 0x40; reg++)
        read_register(reg);
}

/* Of level-triggered vectors, and of no others, the EOI exits (N33). */
static void level_triggered_ones_exit(void **state)
{
    (void)state;
    for (unsigned v = 16; v < 256; v++) {
        for (unsigned level = 0; level < 2; level++) {
            interrupted((uint8_t)v, level);
            for (unsigned w = 0; w < 256; w++)
                assert_int_equal(!!(vmcs[VMCS_EOI_EXIT_BITMAP_0 + 2 * (w / 64)] & BIT(w % 64)),
                                 w == v && level);
            assert_int_equal(take_one(), (int)v);
            write_register(LAPIC_EOI, 0);
            assert_int_equal(ends.count, level);
        }
        interrupted((uint8_t)v, false); /* edge-triggered again */
        assert_int_equal(take_one(), (int)v);
        write_register(LAPIC_EOI, 0);
        ends = twin_ends = (struct ends){0};
    }
}

/* The CPU sends a self-IPI only if that differs in nothing from what the APIC does (N34). */
static void self_ipis(void **state)
{
    (void)state;
    assert_true(write_passes[LAPIC_SELF_IPI]);
    write_register(LAPIC_SELF_IPI, 0x61);
    assert_int_equal(take_one(), 0x61);
    write_register(LAPIC_SELF_IPI, 5); /* illegal: an error, and no interrupt */
    write_register(LAPIC_ESR, 0);
    read_register(LAPIC_ESR);
    assert_int_equal(lapic_read(&vcpu->lapic, LAPIC_ESR), 0x60);
    write_register(LAPIC_SVR, 0xff); /* disabled by software */
    assert_false(write_passes[LAPIC_SELF_IPI]);
    write_register(LAPIC_SELF_IPI, 0x71);
    write_register(LAPIC_SVR, 0x1ff);
    assert_true(write_passes[LAPIC_SELF_IPI]);
    assert_int_equal(take_one(), -1);
    interrupted(0x81, true);
    assert_false(write_passes[LAPIC_SELF_IPI]);
    write_register(LAPIC_SELF_IPI, 0x81); /* edge-triggered from now on */
    assert_true(write_passes[LAPIC_SELF_IPI]);
    assert_int_equal(take_one(), 0x81);
    write_register(LAPIC_EOI, 0);
    assert_int_equal(ends.count, 0);
}

/* The VMCS is written only after a change, and of the bitmap only what differs (N35). */
static void writes_only_changes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        vmcs[VMCS_EOI_EXIT_BITMAP_0 + 2 * i] = 0xbad;
    interrupted(0x41, false);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(vmcs[VMCS_EOI_EXIT_BITMAP_0 + 2 * i], 0xbad);
    interrupted(0x95, true);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(vmcs[VMCS_EOI_EXIT_BITMAP_0 + 2 * i], i == 2 ? BIT(0x95 % 64) : 0xbad);
    for (unsigned i = 0; i < 4; i++)
        vmcs[VMCS_EOI_EXIT_BITMAP_0 + 2 * i] = i == 2 ? BIT(0x95 % 64) : 0;
    vcpu->vmx.attention.word = 0;
    assert_int_equal(take_one(), 0x95);
    write_register(LAPIC_TPR, 0x30);
    read_register(LAPIC_PPR);
    assert_int_equal(vcpu->vmx.attention.word, 0);
    interrupted(0x42, false);
    assert_int_equal(vcpu->vmx.attention.word, ATTENTION_EVENT);
}

/* A timer with the shortest period does not make the guest exit all the time while its vector
 * waits, and after the delivery no expiry is lost (N36). */
static void the_timer_waits_for_the_cpu(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        setup_on(state);
        write_register(LAPIC_LVT_TIMER, 0x20061);
        write_register(LAPIC_DIVIDE, 0xb);
        write_register(LAPIC_INITIAL_COUNT, 1);
        tsc += 100;
        enter();
        assert_int_equal(armed, NEVER);
        assert_int_equal(cpu.rvi, 0x61);
        assert_false(read_passes[LAPIC_IRR + 3]);
        assert_int_equal(take_one(), 0x61);
        tsc += 100;
        if (way == 0) { /* the guest polls IRR */
            read_register(LAPIC_IRR + 3);
        } else if (way == 1) { /* something else is synchronised meanwhile */
            interrupted(0x31, false);
        } else if (way == 2) { /* INIT */
            init_signal();
            assert_true(read_passes[LAPIC_IRR + 3]);
            continue;
        }
        write_register(LAPIC_EOI, 0);
        assert_int_equal(take_one(), 0x61);
    }
}

/* The same vector is pending because the CPU has sent it, when the timer is armed. */
static void the_timer_shares_its_vector(void **state)
{
    (void)state;
    write_register(LAPIC_LVT_TIMER, 0x61);
    write_register(LAPIC_DIVIDE, 0xb);
    write_register(LAPIC_SELF_IPI, 0x61);
    write_register(LAPIC_INITIAL_COUNT, 1000);
    assert_int_equal(armed, NEVER);
    assert_int_equal(take_one(), 0x61);
    write_register(LAPIC_EOI, 0);
    assert_int_equal(armed, tsc + 1000);
    tsc += 1000;
    enter();
    assert_int_equal(take_one(), 0x61);
}

/* ---- Random sequences ------------------------------------------------------------------------ */

static uint8_t some_vector(void)
{
    static const uint8_t few[] = {0x20, 0x21, 0x3f, 0x40, 0x61, 0x80, 0xef, 0xff};
    return below(2) ? few[below(8)] : (uint8_t)next();
}

static uint64_t some_value(uint32_t reg)
{
    switch (reg) {
    case LAPIC_EOI:
    case LAPIC_ESR:
        return below(20) ? 0 : next();
    case LAPIC_SVR:
        return 0xff | (below(8) ? 0x100 : 0);
    case LAPIC_LVT_TIMER:
        return some_vector() | (uint64_t)below(4) << 17 | (below(8) ? 0 : BIT(16));
    case LAPIC_INITIAL_COUNT:
        return below(300);
    case LAPIC_ICR: /* to itself: fixed or lowest priority */
        return some_vector() | 0x40000 | below(2) << 8;
    case LAPIC_SELF_IPI:
        return below(20) ? some_vector() : next() >> below(64);
    case LAPIC_TPR:
        return below(20) ? below(0x100) & (below(2) ? 0x3f : 0xff) : next() >> below(64);
    default:
        return next() >> below(64);
    }
}

static void a_write(void)
{
    static const uint8_t often[] = {LAPIC_EOI,       LAPIC_EOI, LAPIC_EOI,           LAPIC_TPR,
                                    LAPIC_SELF_IPI,  LAPIC_ICR, LAPIC_INITIAL_COUNT, LAPIC_SVR,
                                    LAPIC_LVT_TIMER, LAPIC_EOI};
    uint32_t reg = below(8) ? often[below(ARRAY_SIZE(often))] : below(0x40);
    if (reg != LAPIC_ICR || below(2))
        write_register(reg, some_value(reg));
}

static void a_deadline(void)
{
    uint64_t until = below(4) ? tsc + below(300) : 0;
    lapic_set_tsc_deadline(&vcpu->lapic, until);
    lapic_set_tsc_deadline(&twin, until);
    enter();
}

static void another_mode(void)
{
    static const uint8_t modes[] = {LAPIC_OFF, LAPIC_XAPIC, LAPIC_X2APIC};
    unsigned mode = modes[below(3)];
    if (mode == LAPIC_XAPIC && twin.mode == LAPIC_X2APIC)
        return;
    if (mode == LAPIC_X2APIC && twin.mode == LAPIC_OFF)
        return;
    set_mode(mode);
    if (mode == LAPIC_XAPIC) {
        lapic_write(&vcpu->lapic, LAPIC_SVR, 0x1ff);
        lapic_write(&twin, LAPIC_SVR, 0x1ff);
    }
}

/* The page and the VMCS are all that the CPU has of the guest: another CPU goes on with them. */
static void another_cpu(void)
{
    if (!vcpu->vmx.apicv.on)
        return;
    memset(&cpu, 0xee, sizeof(cpu));
    enter();
}

static void step(void)
{
    unsigned what = below(100);
    tsc += below(4) ? below(20) : below(400);
    enter();
    if (what < 20)
        interrupted(some_vector(), below(3) == 0);
    else if (what < 45)
        (void)take_one();
    else if (what < 70)
        a_write();
    else if (what < 92)
        read_register(below(6) ? below(0x40) : below(0x100));
    else if (what < 95)
        a_deadline();
    else if (what < 97)
        another_cpu();
    else if (what == 97 || twin.mode != LAPIC_X2APIC)
        another_mode();
    else if (below(4) == 0)
        init_signal();
}

static void the_models_agree(void **state)
{
    (void)state;
    uint64_t exits = 0, delivered = 0;
    for (uint64_t seed = 1; seed <= support_rounds(400); seed++) {
        setup_on(state);
        random_state = seed * 0x9e3779b97f4a7c15 | 1;
        for (unsigned i = 0; i < 600; i++)
            step();
        exits += ends.count;
        delivered += updates;
    }
    assert_true(exits && delivered);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup_on)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(controls_follow_the_mode, setup),
        cmocka_unit_test_setup(other_cpus, setup),
        cmocka_unit_test_setup(switched_off, setup),
        cmocka_unit_test_setup(registers_of_a_td, setup),
        cmocka_unit_test_setup(what_waits_moves_along, setup),
        TEST(init_clears),
        TEST(level_triggered_ones_exit),
        TEST(self_ipis),
        TEST(writes_only_changes),
        TEST(the_timer_waits_for_the_cpu),
        TEST(the_timer_shares_its_vector),
        TEST(the_models_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
