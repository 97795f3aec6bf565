/* SPDX-License-Identifier: MIT */
/*
 * MSRs that exit (vm/msr.c). Tested are which MSRs exist on a host with all features and on one
 * with none, which values each accepts, that the upper halves of the registers are ignored, and
 * that a refused access raises #GP and changes nothing. The TSC, its adjustment and the APIC's
 * deadline change together.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "arch/x86/cpu.h"

static uint64_t tsc; /* of the host */
#define rdtsc() tsc
#include "vm/apicv.h"
#include "vm/msr.c"

#include <string.h>

struct vmx_machine vmx;

static struct vm vm;
static struct vcpu before;
static struct vcpu *const vcpu = &vm.vcpu;

static struct {
    unsigned raised, skipped, updates;
    uint64_t efer;
    bool efer_valid, efer_reads_pass;
} seen;

/* ---- What the file uses ---------------------------------------------------------------------- */

void vmx_raise(struct vmx_vcpu *half, uint8_t vector, uint32_t error_code)
{
    assert_ptr_equal(half, &vcpu->vmx);
    assert_int_equal(vector, VECTOR_GP);
    assert_int_equal(error_code, 0);
    seen.raised++;
}

void vmx_skip_instruction(struct vmx_vcpu *half)
{
    assert_ptr_equal(half, &vcpu->vmx);
    seen.skipped++;
}

/* The only MSR that is switched with the guest and whose writes exit is EFER. */
void vmx_pass_msr(struct vmx_vcpu *half, uint32_t msr)
{
    assert_ptr_equal(half, &vcpu->vmx);
    assert_int_not_equal(msr, MSR_EFER);
}

void vmx_pass_msr_reads(struct vmx_vcpu *half, uint32_t msr)
{
    assert_ptr_equal(half, &vcpu->vmx);
    assert_int_equal(msr, MSR_EFER);
    seen.efer_reads_pass = true;
}

/* The APIC's mode may have changed; the CPU does not deliver its interrupts here. */
void apicv_follow(struct vcpu *v)
{
    assert_false(v->vmx.apicv.on);
}

/* Whether the page of the APIC may be moved now. */
static bool page_moves;

bool apic_page_move(struct vcpu *v, uint64_t page)
{
    assert_ptr_equal(v, vcpu);
    if (page != v->apic_page && !page_moves)
        return false;
    v->apic_page = page;
    return true;
}

void cpuid_update(struct vcpu *v)
{
    assert_ptr_equal(v, vcpu);
    seen.updates++;
}

bool vcpu_set_efer(struct vcpu *v, uint64_t value)
{
    assert_ptr_equal(v, vcpu);
    seen.efer = value;
    return seen.efer_valid;
}

uint64_t cpu_reg_load(struct cpu_regs *cpu, enum cpu_reg reg)
{
    (void)cpu;
    assert_int_equal(reg, REG_RIP);
    return 0x1234;
}

static uint64_t lapic_now(void *context)
{
    (void)context;
    return tsc;
}

static void ignore(void *context)
{
    (void)context;
}

static const struct lapic_host lapic_host = {
    .now = lapic_now, .interrupt = ignore, .timer = ignore, .raise_nmi = ignore};

/* ---- Exits ----------------------------------------------------------------------------------- */

/* Garbage in the upper halves of the registers, which neither instruction reads. */
#define GARBAGE 0xdeadbeef00000000ull

static bool rdmsr_exits(uint32_t msr, uint64_t *value)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    seen.raised = seen.skipped = 0;
    gpr[GPR_RCX] = GARBAGE | msr;
    gpr[GPR_RAX] = gpr[GPR_RDX] = ~0ull;
    vmcs[VMCS_GUEST_RFLAGS] = RFLAGS_TF; /* so that vmx_skip_instruction() completes it */
    before = *vcpu;
    exit_rdmsr(vcpu);
    assert_int_equal(seen.raised + seen.skipped, 1);
    if (seen.raised) {
        assert_int_equal(memcmp(vcpu, &before, sizeof(*vcpu)), 0);
        return false;
    }
    assert_int_equal((gpr[GPR_RAX] | gpr[GPR_RDX]) >> 32, 0);
    *value = gpr[GPR_RDX] << 32 | gpr[GPR_RAX];
    return true;
}

static bool wrmsr_exits(uint32_t msr, uint64_t value)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr, offset = vmcs[VMCS_TSC_OFFSET];
    seen.raised = seen.skipped = 0;
    gpr[GPR_RCX] = GARBAGE | msr;
    gpr[GPR_RAX] = GARBAGE | (uint32_t)value;
    gpr[GPR_RDX] = GARBAGE | value >> 32;
    vmcs[VMCS_GUEST_RFLAGS] = RFLAGS_TF;
    before = *vcpu;
    exit_wrmsr(vcpu);
    assert_int_equal(seen.raised + seen.skipped, 1);
    if (!seen.raised)
        return true;
    assert_int_equal(memcmp(vcpu, &before, sizeof(*vcpu)), 0);
    assert_int_equal(vmcs[VMCS_TSC_OFFSET], offset);
    return false;
}

static struct cpuid has_all(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    if (leaf == 0x80000000)
        return (struct cpuid){0x80000008, 0, 0, 0};
    return leaf ? (struct cpuid){~0u, ~0u, ~0u, ~0u} : (struct cpuid){0x1f, 0, 0, 0};
}

static struct cpuid has_nothing(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    return leaf ? (struct cpuid){0} : (struct cpuid){7, 0, 0, 0};
}

static void prepare(bool all, enum lapic_mode mode)
{
    const struct feature_host host = {.cpuid = all ? has_all : has_nothing,
                                      .xcr0 = all ? 0x2e7 : 0,
                                      .secondary = all ? ~0ull : 0,
                                      .cr4 = ~0ull};
    support_reset();
    features_setup(&host);
    memset(&vm, 0, sizeof(vm));
    memset(vmcs, 0, sizeof(vmcs));
    memset(&seen, 0, sizeof(seen));
    strcpy(vm.name, "guest");
    vcpu->vm = &vm;
    tsc = 1ull << 40;
    lapic_init(&vcpu->lapic, 0, &lapic_host, vcpu);
    vcpu->lapic.mode = mode;
    vcpu->apic_page = GUEST_LAPIC;
    page_moves = false;
    vmx.maxphyaddr = 40;
}

/* An MSR that is switched with the guest is its own, except that EFER's new values are checked. */
static void which_exit(void **state)
{
    (void)state;
    for (unsigned all = 0; all < 2; all++) {
        prepare(all, LAPIC_XAPIC);
        vmx.maxphyaddr = 40;
        msr_setup(vcpu);
        assert_int_equal(seen.efer_reads_pass, all);
    }
}

/* ---- Which exist ----------------------------------------------------------------------------- */

struct right {
    uint32_t msr;
    bool ours; /* without a feature of the host's */
};
static const struct right readable[] = {
    {0x10, true},  {0x17, false},  {0x1b, true},   {0x3a, false}, {0x3b, false},
    {0x8b, false}, {0x1a0, false}, {0x1d9, false}, {0x6e0, true}, {0xda0, false}};

static bool is_readable(uint32_t msr, bool all)
{
    for (unsigned i = 0; i < ARRAY_SIZE(readable); i++)
        if (readable[i].msr == msr)
            return all || readable[i].ours;
    return false;
}

/* The two ranges of the bitmaps, their ends, and the MSRs next to them. */
static uint32_t each_msr(uint32_t i)
{
    static const uint32_t others[] = {0x2000,     0x40000000, 0xbfffffff, 0xc0002000,
                                      0x4b564d00, 0x80000000, 0xffffffff};
    if (i < 0x2000)
        return i;
    if (i < 0x4000)
        return 0xc0000000 + i - 0x2000;
    return i - 0x4000 < ARRAY_SIZE(others) ? others[i - 0x4000] : 0;
}

static void which_exist(void **state)
{
    (void)state;
    for (unsigned all = 0; all < 2; all++) {
        prepare(all, LAPIC_XAPIC);
        for (uint32_t i = 0; i < 0x4007; i++) {
            uint32_t msr = each_msr(i);
            uint64_t value;
            if (rdmsr_exits(msr, &value) != is_readable(msr, all))
                fail_msg("RDMSR of %#x %s", msr, seen.raised ? "is refused" : "succeeds");
            if (!is_readable(msr, all) && msr != MSR_EFER && wrmsr_exits(msr, 0))
                fail_msg("WRMSR of %#x succeeds", msr);
        }
    }
}

/* An MSR with a fixed value refuses each value that differs from it in one bit. */
static void fixed_values(void **state)
{
    static const uint32_t fixed[] = {0x17, 0x3a, 0x8b, 0x1a0, 0x1d9, 0xda0};
    (void)state;
    prepare(true, LAPIC_XAPIC);
    for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++) {
        uint64_t value, again;
        assert_true(rdmsr_exits(fixed[i], &value));
        assert_true(wrmsr_exits(fixed[i], value));
        for (unsigned bit = 0; bit < 64; bit++)
            assert_false(wrmsr_exits(fixed[i], value ^ BIT(bit)));
        assert_true(rdmsr_exits(fixed[i], &again));
        assert_int_equal(again, value);
    }
}

static void refusals_are_said_a_few_times(void **state)
{
    (void)state;
    uint64_t value;
    unsigned lines = 0;
    prepare(true, LAPIC_XAPIC);
    for (unsigned i = 0; i < 100; i++)
        (void)(i & 1 ? wrmsr_exits(0x49, 0x8877665544332211) : rdmsr_exits(0x48, &value));
    assert_non_null(
        strstr(support_log(), "# guest: vCPU 0: RDMSR of MSR 0x48 at RIP 0x1234: #GP\n"));
    assert_non_null(strstr(support_log(),
                           "# guest: vCPU 0: WRMSR of 0x8877665544332211 to MSR 0x49 "
                           "at RIP 0x1234: #GP\n"));
    for (const char *c = support_log(); *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 16 + 1);
    const char *last = "# guest: 16 accesses were refused; further ones are not printed\n";
    assert_string_equal(support_log() + strlen(support_log()) - strlen(last), last);
}

/* ---- EFER and the APIC ----------------------------------------------------------------------- */

static void efer(void **state)
{
    (void)state;
    prepare(true, LAPIC_XAPIC);
    seen.efer_valid = true;
    assert_true(wrmsr_exits(MSR_EFER, 0x1234567800000d01));
    assert_int_equal(seen.efer, 0x1234567800000d01);
    seen.efer_valid = false;
    assert_false(wrmsr_exits(MSR_EFER, 0xd01));
}

/* SDM 3, figure 11-27: from each mode to each, with each other bit wrong. */
static void modes_of_the_apic(void **state)
{
    static const bool legal[4][4] = {[LAPIC_OFF] = {[LAPIC_OFF] = true, [LAPIC_XAPIC] = true},
                                     [LAPIC_XAPIC] = {true, false, true, true},
                                     [LAPIC_X2APIC] = {true, false, false, true}};
    (void)state;
    for (unsigned index = 0; index < 2; index++)
        for (unsigned from = 0; from < 4; from++)
            for (unsigned to = 0; to < 4 && from != 1; to++) {
                uint64_t right = 0xfee00000 | (index ? 0 : 0x100), value;
                prepare(true, (enum lapic_mode)from);
                vcpu->index = (uint8_t)index;
                assert_true(rdmsr_exits(0x1b, &value));
                assert_int_equal(value, right | from << 10);
                for (unsigned bit = 0; bit < 64; bit++)
                    if (bit != 10 && bit != 11)
                        assert_false(wrmsr_exits(0x1b, (right | to << 10) ^ BIT(bit)));
                assert_int_equal(seen.updates, 0);
                assert_int_equal(wrmsr_exits(0x1b, right | to << 10), legal[from][to]);
                assert_int_equal(seen.updates, legal[from][to]);
                assert_int_equal(vcpu->lapic.mode, legal[from][to] ? to : from);
            }
}

/* The page moves with each legal mode, and with no illegal one, to an address that the CPU has. */
static void page_of_the_apic(void **state)
{
    (void)state;
    prepare(true, LAPIC_XAPIC);
    assert_false(wrmsr_exits(0x1b, 0xfed40900));
    assert_non_null(strstr(support_log(), "# guest: vCPU 0: WRMSR of 0xfed40900 to MSR 0x1b, whose "
                                          "page moves only with legacy, at RIP"));
    vm.words.legacy = 1;
    assert_false(wrmsr_exits(0x1b, 0xfed40900));
    assert_non_null(strstr(support_log(), "whose page cannot be there, at RIP"));
    page_moves = true;
    for (unsigned bit = 0; bit < 64; bit++) {
        prepare(true, LAPIC_XAPIC);
        page_moves = true;
        uint64_t value = 0xfee00900 ^ BIT(bit), now;
        bool legal = (bit >= 10 && bit < 40); /* BIT(10): x2APIC; BIT(11): off */
        if (wrmsr_exits(0x1b, value) != legal)
            fail_msg("bit %u", bit);
        assert_true(rdmsr_exits(0x1b, &now));
        assert_int_equal(now, legal ? value : 0xfee00900);
    }
    prepare(true, LAPIC_X2APIC);
    page_moves = true;
    assert_false(wrmsr_exits(0x1b, 0xfed40900)); /* to xAPIC mode */
    assert_int_equal(vcpu->apic_page, GUEST_LAPIC);
    assert_true(wrmsr_exits(0x1b, 0xfed40100));
    assert_int_equal(vcpu->apic_page, 0xfed40000);
    assert_int_equal(vcpu->lapic.mode, LAPIC_OFF);
}

/* The registers of an x2APIC are MSRs only in x2APIC mode. */
static void registers_of_the_apic(void **state)
{
    static const enum lapic_mode modes[] = {LAPIC_OFF, LAPIC_XAPIC, LAPIC_X2APIC};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        uint64_t value;
        prepare(true, modes[i]);
        bool is = modes[i] == LAPIC_X2APIC;
        assert_int_equal(rdmsr_exits(0x808, &value), is); /* the task priority */
        assert_int_equal(wrmsr_exits(0x808, 0x20), is);
        assert_false(wrmsr_exits(0x808, 0x120));
        assert_false(rdmsr_exits(0x80b, &value)); /* EOI */
        assert_int_equal(wrmsr_exits(0x80b, 0), is);
        assert_false(wrmsr_exits(0x802, 0)); /* the ID */
        assert_false(rdmsr_exits(0x840, &value));
    }
}

/* ---- Time ------------------------------------------------------------------------------------ */

static uint64_t read_msr(uint32_t msr)
{
    uint64_t value = 0;
    assert_true(rdmsr_exits(msr, &value));
    return value;
}

static void time_moves_together(void **state)
{
    uint64_t random_state = 88172645463325252ull;
    (void)state;
    prepare(true, LAPIC_XAPIC);
    lapic_write(&vcpu->lapic, LAPIC_SVR, 0x1ff);
    lapic_write(&vcpu->lapic, LAPIC_LVT_TIMER, 0x40041); /* TSC deadline */
    for (unsigned i = 0; i < 10000; i++) {
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        uint64_t was = read_msr(0x10), adjust = read_msr(0x3b), value = random_state;
        bool by_adjust = i & 1;
        assert_true(wrmsr_exits(by_adjust ? 0x3b : 0x10, value));
        uint64_t moved = value - (by_adjust ? adjust : was);
        assert_int_equal(read_msr(0x10), was + moved);
        assert_int_equal(read_msr(0x3b), adjust + moved);
        assert_int_equal(vmcs[VMCS_TSC_OFFSET], read_msr(0x10) - tsc);
        tsc += i;
    }
}

/* A deadline is a value of the guest's TSC, also after the guest has changed its TSC. */
static void a_deadline_follows(void **state)
{
    (void)state;
    prepare(true, LAPIC_XAPIC);
    lapic_write(&vcpu->lapic, LAPIC_SVR, 0x1ff);
    lapic_write(&vcpu->lapic, LAPIC_LVT_TIMER, 0x40041);
    assert_true(wrmsr_exits(0x10, 5000));
    assert_true(wrmsr_exits(0x6e0, 6000));
    assert_int_equal(read_msr(0x6e0), 6000);
    assert_int_equal(lapic_deadline(&vcpu->lapic), tsc + 1000);
    assert_true(wrmsr_exits(0x3b, read_msr(0x3b) + 300)); /* the guest's TSC is nearer to it */
    assert_int_equal(read_msr(0x6e0), 6000);
    assert_int_equal(lapic_deadline(&vcpu->lapic), tsc + 700);
    assert_true(wrmsr_exits(0x6e0, ~0ull)); /* later than the host's TSC ever is */
    assert_true(lapic_deadline(&vcpu->lapic) > tsc);
    assert_true(wrmsr_exits(0x6e0, 0));
    assert_int_equal(lapic_deadline(&vcpu->lapic), LAPIC_NEVER);
    assert_int_equal(read_msr(0x6e0), 0);
    assert_true(wrmsr_exits(0x6e0, 1)); /* in the past: now */
    lapic_tick(&vcpu->lapic);
    assert_int_equal(lapic_pending(&vcpu->lapic), 0x41);
    assert_int_equal(read_msr(0x6e0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_exit),
        cmocka_unit_test(which_exist),
        cmocka_unit_test(fixed_values),
        cmocka_unit_test(refusals_are_said_a_few_times),
        cmocka_unit_test(efer),
        cmocka_unit_test(modes_of_the_apic),
        cmocka_unit_test(page_of_the_apic),
        cmocka_unit_test(registers_of_the_apic),
        cmocka_unit_test(time_moves_together),
        cmocka_unit_test(a_deadline_follows),
    };
    return cmocka_run_group_tests_name("MSRs", tests, NULL, NULL);
}
