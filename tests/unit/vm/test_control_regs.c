/* SPDX-License-Identifier: MIT */
/*
 * Exits of MOV to and from control registers, CLTS and LMSW (vm/control_regs.c): which register is
 * set to what, for each source register, in code of 64 and 32 bits; the consequences of each
 * effect; and which bits exit. test_control_rules.c tests the effects of the values.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "vm/control_regs.c"

#include <stdio.h>
#include <string.h>

struct vmx_machine vmx;

static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;
static enum control_effect answer;
static struct {
    char what;
    uint64_t value;
    unsigned raised, skipped, updates, forgotten, flushes, flush_type;
    uint64_t primary;
} seen;

/* ---- Functions that the file under test calls ------------------------------------------------ */

static enum control_effect set(char what, uint64_t value, const struct control_rules *rules)
{
    assert_ptr_equal(rules->cpu, &vcpu->vmx.regs);
    assert_ptr_equal(rules->mmu, &vm.mmu);
    assert_int_equal(rules->cr4_offered, features_cr4());
    assert_int_equal(rules->maxphyaddr, 39);
    assert_int_equal(rules->tr_rights, 0x8b);
    seen.what = what;
    seen.value = value;
    return answer;
}

enum control_effect control_set_cr0(const struct control_rules *rules, uint64_t value)
{
    return set('0', value, rules);
}

enum control_effect control_set_cr3(const struct control_rules *rules, uint64_t value)
{
    return set('3', value, rules);
}

enum control_effect control_set_cr4(const struct control_rules *rules, uint64_t value)
{
    return set('4', value, rules);
}

enum control_effect control_lmsw(const struct control_rules *rules, uint16_t word)
{
    return set('l', word, rules);
}

enum control_effect control_set_efer(const struct control_rules *rules, uint64_t value)
{
    return set('e', value, rules);
}

uint64_t features_cr4(void)
{
    return 0x3707ff;
}

uint64_t cpu_reg_load(struct cpu_regs *cpu, enum cpu_reg reg)
{
    return cpu->value[reg];
}

void cpu_set_reg(struct cpu_regs *cpu, enum cpu_reg reg, uint64_t value)
{
    cpu->value[reg] = value;
}

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

void vmx_set_primary(uint64_t mask, bool on)
{
    assert_true(on);
    seen.primary |= mask;
}

void cpuid_update(struct vcpu *which)
{
    assert_ptr_equal(which, vcpu);
    seen.updates++;
}

void mmio_cache_clear_gva(struct mmio_cache *cache)
{
    assert_ptr_equal(cache, &vcpu->mmio.cache);
    seen.forgotten++;
}

void tlb_invvpid(struct mmu *mmu, unsigned type, uint16_t vpid, gva_t address,
                 enum invvpid_reason reason)
{
    (void)address;
    assert_ptr_equal(mmu, &vm.mmu);
    assert_int_equal(vpid, 77);
    assert_int_equal(reason, INVVPID_GUEST);
    seen.flushes++;
    seen.flush_type = type;
}

uint32_t lapic_read(struct lapic *lapic, uint32_t offset)
{
    assert_ptr_equal(lapic, &vcpu->lapic);
    assert_int_equal(offset, LAPIC_TPR);
    return 0xb7;
}

void lapic_write(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    assert_ptr_equal(lapic, &vcpu->lapic);
    assert_int_equal(offset, LAPIC_TPR);
    seen.what = '8';
    seen.value = value;
}

/* ---- Exits ----------------------------------------------------------------------------------- */

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(vmcs, 0, sizeof(vmcs));
    memset(&seen, 0, sizeof(seen));
    vcpu->vm = &vm;
    vcpu->vpid = 77;
    vcpu->vmx.exit.reason = REASON_CR_ACCESS;
    vcpu->vmx.regs.known = 0;
    vmx.maxphyaddr = 39;
    vmcs[VMCS_GUEST_TR_ACCESS_RIGHTS] = 0x8b;
    answer = CONTROL_DONE;
    return 0;
}

static void exits(uint64_t qualification, bool bits64)
{
    memset(&seen, 0, sizeof(seen));
    vmcs[VMCS_EXIT_QUALIFICATION] = qualification;
    vmcs[VMCS_ENTRY_CONTROLS] = bits64 ? ENTRY_IA32E_GUEST : 0;
    vmcs[VMCS_GUEST_CS_ACCESS_RIGHTS] = SEG_AR_L;
    exit_cr_access(vcpu);
    assert_int_equal(seen.raised + seen.skipped, 1);
}

#define MOV_TO(cr, gpr) ((uint64_t)(cr) | (gpr) << 8)

#define HIGH 0xabcdef0100000000ull
#define LOW  0x89abcd00ull

static void each_register_to_each(void **state)
{
    static const unsigned numbers[] = {0, 3, 4};
    (void)state;
    for (unsigned gpr = 0; gpr < 16; gpr++) {
        vcpu->vmx.regs.gpr[gpr] = gpr == GPR_RSP ? 0 : HIGH + LOW + gpr;
        vcpu->vmx.regs.value[REG_RSP] = HIGH + LOW + GPR_RSP;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
        for (uint64_t gpr = 0; gpr < 16; gpr++) {
            exits(MOV_TO(numbers[i], gpr), true);
            assert_int_equal(seen.what, '0' + (char)numbers[i]);
            assert_int_equal(seen.value, HIGH + LOW + gpr);
            exits(MOV_TO(numbers[i], gpr), false);
            assert_int_equal(seen.value, LOW + gpr);
            vmcs[VMCS_ENTRY_CONTROLS] = ENTRY_IA32E_GUEST; /* compatibility mode */
            vmcs[VMCS_GUEST_CS_ACCESS_RIGHTS] = 0;
            exit_cr_access(vcpu);
            assert_int_equal(seen.value, LOW + gpr);
        }
}

static void task_priority(void **state)
{
    (void)state;
    for (uint64_t value = 0; value < 64; value++) {
        vcpu->vmx.regs.gpr[GPR_RBX] = value < 32 ? value : BIT(value);
        exits(MOV_TO(8, GPR_RBX), true);
        assert_int_equal(seen.raised, value > 15);
        if (value <= 15)
            assert_true(seen.what == '8' && seen.value == value << 4);
        else
            assert_int_equal(seen.what, 0);
    }
    for (uint64_t gpr = 0; gpr < 16; gpr++) {
        vcpu->vmx.regs.gpr[gpr] = ~0ull;
        exits(8 | CR_MOV_FROM << 4 | gpr << 8, true);
        uint64_t got = gpr == GPR_RSP ? vcpu->vmx.regs.value[REG_RSP] : vcpu->vmx.regs.gpr[gpr];
        assert_int_equal(got, 0xb);
    }
}

static void clts_and_lmsw(void **state)
{
    (void)state;
    vcpu->vmx.regs.value[REG_CR0] = 0x8005003b;
    exits(CR_CLTS << 4, false);
    assert_int_equal(seen.what, '0');
    assert_int_equal(seen.value, 0x80050033);
    exits((uint64_t)CR_LMSW << 4 | 0xfedcull << 16 | 0xffull << 56, false);
    assert_int_equal(seen.what, 'l');
    assert_int_equal(seen.value, 0xfedc);
}

/* By each instruction that writes the register. */
static void effects(void **state)
{
    static const struct {
        enum control_effect effect;
        unsigned raised, forgotten, flushes, type;
    } rows[] = {
        {CONTROL_FAULT, 1, 0, 0, 0},
        {CONTROL_DONE, 0, 0, 0, 0},
        {CONTROL_FORGET, 0, 1, 0, 0},
        {CONTROL_FLUSH, 0, 1, 1, INVVPID_GLOBALS},
        {CONTROL_FLUSH_GLOBALS, 0, 1, 1, INVVPID_SINGLE},
    };
    static const uint64_t ways[] = {MOV_TO(0, 0ull), MOV_TO(3, 0ull), MOV_TO(4, 0ull), CR_CLTS << 4,
                                    CR_LMSW << 4};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        answer = rows[i].effect;
        for (unsigned way = 0; way <= ARRAY_SIZE(ways); way++) {
            bool call = way == ARRAY_SIZE(ways);
            memset(&seen, 0, sizeof(seen));
            if (call)
                assert_int_equal(vcpu_set_cr3(vcpu, 0x1234), !rows[i].raised);
            else
                exits(ways[way], true);
            assert_int_equal(seen.raised, call ? 0 : rows[i].raised);
            assert_int_equal(seen.forgotten, rows[i].forgotten);
            assert_int_equal(seen.flushes, rows[i].flushes);
            assert_int_equal(seen.flush_type, rows[i].type);
        }
        assert_int_equal(vcpu_set_efer(vcpu, 0x501), !rows[i].raised);
        assert_true(seen.what == 'e' && seen.value == 0x501);
    }
}

static const char *refusal(uint64_t qualification, bool bits64)
{
    support_reset();
    vm.refused = 0;
    answer = CONTROL_FAULT;
    exits(qualification, bits64);
    assert_int_equal(seen.raised, 1);
    return support_log();
}

static void refusals_are_said(void **state)
{
    (void)state;
    snprintf(vm.name, sizeof(vm.name), "guest");
    vcpu->index = 3;
    cpu_set_reg(&vcpu->vmx.regs, REG_RIP, 0x1234);
    vcpu->vmx.regs.known |= BIT(REG_RIP);
    vcpu->vmx.regs.gpr[GPR_RDX] = 0xabcd000000002020;
#define SAID "# guest: vCPU 3: "
    assert_string_equal(refusal(MOV_TO(0, GPR_RDX), true),
                        SAID "MOV of 0xabcd000000002020 to CR0 at RIP 0x1234: #GP\n");
    assert_string_equal(refusal(MOV_TO(3, GPR_RDX), false),
                        SAID "MOV of 0x2020 to CR3 at RIP 0x1234: #GP\n");
    assert_string_equal(refusal(MOV_TO(8, GPR_RDX), true),
                        SAID "MOV of 0xabcd000000002020 to CR8 at RIP 0x1234: #GP\n");
    assert_string_equal(refusal(MOV_TO(4, GPR_RDX), false), SAID
                        "MOV of 0x2020 to CR4, which does not have bits 0x2000, at RIP 0x1234: "
                        "#GP\n");
    vcpu->vmx.regs.gpr[GPR_RDX] = 0x20000; /* PCIDE outside of IA-32e mode: the bit exists */
    assert_string_equal(refusal(MOV_TO(4, GPR_RDX), false),
                        SAID "MOV of 0x20000 to CR4 at RIP 0x1234: #GP\n");
    assert_string_equal(refusal(CR_LMSW << 4, true), SAID "CLTS or LMSW at RIP 0x1234: #GP\n");
    answer = CONTROL_DONE;
    support_reset();
    exits(MOV_TO(4, GPR_RDX), true);
    assert_string_equal(support_log(), "");
}

/* CPUID reflects OSXSAVE and OSPKE: it is updated when one of them changes, but not for another bit
 * or after a fault. */
static void cpuid_follows_cr4(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        vcpu->vmx.regs.value[REG_CR4] = 0x20;
        vcpu->vmx.regs.gpr[GPR_RAX] = 0x20 ^ BIT(bit);
        answer = CONTROL_DONE;
        exits(MOV_TO(4, 0ull), true);
        assert_int_equal(seen.updates, bit == 18 || bit == 22);
        answer = CONTROL_FAULT;
        exits(MOV_TO(4, 0ull), true);
        assert_int_equal(seen.updates, 0);
    }
}

/* The bits whose changes exit: those that the hypervisor owns, MCE among them even if it is offered
 * (N125), those that are not offered, and those on which caches depend. */
static void owned_bits(void **state)
{
    (void)state;
    vmx.msrs.cr4_fixed0 = BIT(13);
    vmx.msrs.cr4_fixed1 = 0x3727ff;
    uint64_t cr4 = 0x3707ffull;
    uint64_t always = BIT(4) | BIT(5) | BIT(6) | BIT(18) | BIT(20) | BIT(21) | BIT(22);
    for (unsigned exits_too = 0; exits_too < 2; exits_too++) {
        vcpu->mmio.cache.mode = exits_too ? GVA_CACHE_EXITS : GVA_CACHE_VERIFY;
        memset(&seen, 0, sizeof(seen));
        control_registers_setup(vcpu);
        assert_int_equal(vmcs[VMCS_CR0_GUEST_HOST_MASK], 0xe0000020 | (exits_too ? BIT(16) : 0));
        assert_int_equal(vmcs[VMCS_CR4_GUEST_HOST_MASK],
                         ~cr4 | always | BIT(13) | (exits_too ? BIT(7) | BIT(17) : 0));
        assert_int_equal(seen.primary,
                         exits_too ? PRIMARY_CR3_LOAD_EXITING | PRIMARY_INVLPG_EXITING : 0);
    }
}

/* A TD's MOV to CR0 or CR4 is judged by the value in its register, of 32 bits outside of 64-bit
 * code; no other access is. Its CR4.MCE is not reserved, and its masks have the module's bits. */
static void of_a_td(void **state)
{
    (void)state;
    static struct td td = {.xfam = 7};
    static struct td_vcpu td_vcpu = {.td = &td};
    static const struct {
        unsigned type, number;
        uint64_t value;
        bool code64;
        enum tdx_access access;
    } rows[] = {
        {CR_MOV_TO, 0, 0x80050033, true, TDX_DIRECT},
        {CR_MOV_TO, 0, 0xc0050033, true, TDX_VE},
        {CR_MOV_TO, 0, 0x80050013, true, TDX_GP},
        {CR_MOV_TO, 0, 0x180050033, true, TDX_GP},
        {CR_MOV_TO, 0, 0x180050033, false, TDX_DIRECT},
        {CR_MOV_TO, 4, 0x60, true, TDX_DIRECT},
        {CR_MOV_TO, 4, 0x20, true, TDX_VE},
        {CR_MOV_TO, 4, 0x2060, true, TDX_VE},
        {CR_MOV_TO, 4, 0x400060, true, TDX_GP},
        {CR_MOV_TO, 4, 0x100000060, true, TDX_GP},
        {CR_MOV_TO, 4, 0x100000060, false, TDX_DIRECT},
        {CR_MOV_TO, 3, 0, true, TDX_DIRECT},
        {CR_MOV_TO, 8, 0, true, TDX_DIRECT},
        {CR_MOV_FROM, 0, 0, true, TDX_DIRECT},
        {CR_MOV_FROM, 8, 0, true, TDX_DIRECT},
        {CR_CLTS, 0, 0, true, TDX_DIRECT},
        {CR_LMSW, 0, 0, true, TDX_DIRECT},
    };
    vcpu->td = &td_vcpu;
    vcpu->mmio.cache.mode = GVA_CACHE_OFF;
    control_registers_setup(vcpu);
    control_registers_setup_td(vcpu);
    assert_int_equal(vcpu->vmx.regs.value[REG_CR0], 0x21);
    assert_int_equal(vcpu->vmx.regs.value[REG_CR4], 0x40);
    /* MP, EM, TS, ET, WP and AM are the guest's; PG is owned in each VM. */
    assert_int_equal(vmcs[VMCS_CR0_GUEST_HOST_MASK], ~0x5001eull);
    assert_int_equal(vmcs[VMCS_CR4_GUEST_HOST_MASK] & BITS(25, 22), BITS(25, 22));
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        vcpu->vmx.regs.value[REG_CR4] = 0x60;
        vcpu->vmx.regs.gpr[GPR_RDI] = rows[i].value;
        vmcs[VMCS_GUEST_CS_ACCESS_RIGHTS] = rows[i].code64 ? SEG_AR_L : 0;
        vmcs[VMCS_ENTRY_CONTROLS] = ENTRY_IA32E_GUEST;
        vmcs[VMCS_EXIT_QUALIFICATION] = rows[i].number | rows[i].type << 4 | GPR_RDI << 8;
        assert_int_equal(control_regs_access_of_td(vcpu), rows[i].access);
    }
    assert_int_equal(cr4_offered(vcpu), features_cr4() | CR4_MCE);
    vcpu->td = NULL;
    assert_int_equal(cr4_offered(vcpu), features_cr4());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_register_to_each, setup),
        cmocka_unit_test_setup(task_priority, setup),
        cmocka_unit_test_setup(clts_and_lmsw, setup),
        cmocka_unit_test_setup(effects, setup),
        cmocka_unit_test_setup(refusals_are_said, setup),
        cmocka_unit_test_setup(cpuid_follows_cr4, setup),
        cmocka_unit_test_setup(owned_bits, setup),
        cmocka_unit_test_setup(of_a_td, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
