/* SPDX-License-Identifier: MIT */
/*
 * XSETBV: which values of which registers set XCR0, and that a value which is refused by the
 * hypervisor or by the CPU changes nothing. A refusal is said.
 */
#include "tests/unit/vm/dispatch_world.h"

static struct cpuid has_all(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    return leaf ? (struct cpuid){~0u, ~0u, ~0u, ~0u} : (struct cpuid){0x1f, 0, 0, 0};
}

static uint64_t asked;
static unsigned asks;
static bool cpu_refuses;
static bool cpu_answers(uint64_t value)
{
    asked = value;
    asks++;
    return !cpu_refuses;
}

static void xsetbv(uint64_t rax, uint64_t rdx, uint64_t rcx, unsigned cpl)
{
    prepare();
    asks = 0;
    cpu_takes_xcr0 = cpu_answers;
    vcpu->extra.xcr0 = 0x11;
    vcpu->vmx.regs.gpr[GPR_RAX] = rax;
    vcpu->vmx.regs.gpr[GPR_RDX] = rdx;
    vcpu->vmx.regs.gpr[GPR_RCX] = rcx;
    vmcs[VMCS_GUEST_SS_ACCESS_RIGHTS] = 0x93 | cpl << 5;
    vmcs[VMCS_EXIT_REASON] = REASON_XSETBV;
    assert_true(vmx_exited(&vcpu->vmx));
}

static void is_set(uint64_t value)
{
    assert_int_equal(vcpu->extra.xcr0, value);
    assert_int_equal(asked, value);
    assert_int_equal(seen.updates, 1);
    assert_int_equal(seen.skipped, 1);
    assert_int_equal(seen.raised, 0);
}

static void is_refused(void)
{
    assert_int_equal(vcpu->extra.xcr0, 0x11);
    assert_int_equal(seen.updates | seen.skipped, 0);
    assert_int_equal(seen.raised, 1);
    assert_int_equal(seen.vector, VECTOR_GP);
    assert_int_equal(seen.error_code, 0);
}

/* The SDM's rules (SDM 1, 13.3), written differently from vmx/xcr0.c. */
static bool is_legal(uint64_t value, uint64_t has)
{
    bool sse = value & 2, avx = value & 4;
    uint64_t avx512 = value >> 5 & 7, other = value & ~(BIT(9) | 0xe7);
    return (value & 1) && !(value & ~has) && !other && (sse || !avx) && (avx || !avx512) &&
           (avx512 == 0 || avx512 == 7);
}

static const uint64_t hosts[] = {3, 7, 0xe7, 0x203, 0x207, 0x2e7, 0x602e7};

static void each_value(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(hosts); i++) {
        const struct feature_host host = {
            .cpuid = has_all, .xcr0 = hosts[i], .secondary = ~0ull, .cr4 = ~0ull};
        features_setup(&host);
        unsigned taken = 0;
        for (uint64_t value = 0; value < BIT(10); value++) {
            bool legal = is_legal(value, hosts[i]);
            xsetbv(value, 0, 0, 0);
            legal ? is_set(value) : is_refused();
            assert_int_equal(asks, legal); /* the CPU is asked for legal values only */
            taken += legal;
            /* Bits 63:32 of the registers are ignored. */
            xsetbv(value | 0xdeadbeefull << 32, 0xabcdull << 32, 0x1234ull << 32, 0);
            legal ? is_set(value) : is_refused();
        }
        assert_true(taken > 1);
        for (unsigned bit = 10; bit < 64; bit++) { /* each alone and beside the others */
            uint64_t value = 3 | BIT(bit);
            xsetbv((uint32_t)value, value >> 32, 0, 0);
            is_refused();
        }
    }
}

static void other_registers_and_rings(void **state)
{
    (void)state;
    for (unsigned cpl = 1; cpl < 4; cpl++) {
        xsetbv(3, 0, 0, cpl);
        is_refused();
        assert_int_equal(asks, 0);
    }
    for (unsigned bit = 0; bit < 32; bit++) { /* no other register exists */
        xsetbv(3, 0, BIT(bit), 0);
        is_refused();
        assert_int_equal(asks, 0);
    }
}

/* The CPU may refuse a value for a reason that the hypervisor does not know. */
static void the_cpu_refuses(void **state)
{
    (void)state;
    cpu_refuses = true;
    xsetbv(3, 0, 0, 0);
    cpu_refuses = false;
    is_refused();
    assert_int_equal(asks, 1);
}

static void refusals_are_said(void **state)
{
    (void)state;
    support_reset();
    vm.refused = 0;
    xsetbv(0x80000006, 0x1234, 7, 0);
    is_refused();
    assert_non_null(strstr(support_log(), ": XSETBV of 0x123480000006 to XCR7 at RIP 0: #GP"));
    vcpu->vmx.regs.gpr[GPR_RCX] = 0xffffffff40000001;
    (void)exits(REASON_RDPMC);
    assert_non_null(strstr(support_log(), ": RDPMC of counter 0x40000001 at RIP 0: #GP"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_value),
        cmocka_unit_test(other_registers_and_rings),
        cmocka_unit_test(the_cpu_refuses),
        cmocka_unit_test(refusals_are_said),
    };
    return cmocka_run_group_tests_name("xsetbv", tests, setup, NULL);
}
