/* SPDX-License-Identifier: MIT */
/*
 * The effects of an emulated access (vm/outcome.c), and of INVLPG and INVPCID (vm/flushes.c). Each
 * outcome has its effect on the guest and no other. An access that was let through is closed unless
 * it continues. The translations that are flushed are those that the instruction names.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "arch/x86/cpu.h"

static uint64_t cr2;
#define write_cr2(value) (cr2 = (value))

#include "vm/flushes.c"
#include "vm/outcome.c"

#include <stdio.h>
#include <string.h>

static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;

/* The calls that were made, in their order. */
static char did[128];
static void note(const char *what)
{
    strncat(did, what, sizeof(did) - strlen(did) - 1);
}

void vmx_end_interrupt_shadow(void)
{
    note("shadow ");
}

void vmx_begin_mov_ss_shadow(void)
{
    note("mov_ss ");
}

void vmx_raise_single_step(struct vmx_vcpu *half)
{
    (void)half;
    note("step ");
}

void vmx_raise_trap(uint64_t pending)
{
    char text[32];
    snprintf(text, sizeof(text), "trap=%lx ", pending);
    note(text);
}

void vmx_retry_instruction(struct vmx_vcpu *half)
{
    (void)half;
    note("retry ");
}

void vmx_skip_instruction(struct vmx_vcpu *half)
{
    (void)half;
    note("skip ");
}

void vmx_raise(struct vmx_vcpu *half, uint8_t vector, uint32_t error_code)
{
    char text[32];
    (void)half;
    snprintf(text, sizeof(text), "raise=%u,%x ", vector, error_code);
    note(text);
}

void pass_open(struct vcpu *v, gpa_t gpa)
{
    (void)v;
    assert_int_equal(gpa.v, 0x5000);
    note("open ");
}

void pass_close(struct vcpu *v)
{
    (void)v;
    note("close ");
}

void ve_take(struct vcpu *v)
{
    (void)v;
    note("ve ");
}

void mmio_cache_clear_gva(struct mmio_cache *cache)
{
    assert_ptr_equal(cache, &vcpu->mmio.cache);
    note("forget ");
}

void mmio_cache_clear_gva_page(struct mmio_cache *cache, gva_t address)
{
    char text[32];
    assert_ptr_equal(cache, &vcpu->mmio.cache);
    snprintf(text, sizeof(text), "forget=%lx ", address.v);
    note(text);
}

void tlb_invvpid(struct mmu *mmu, unsigned type, uint16_t vpid, gva_t address,
                 enum invvpid_reason reason)
{
    char text[48];
    assert_ptr_equal(mmu, &vm.mmu);
    assert_int_equal(vpid, 9);
    snprintf(text, sizeof(text), "flush=%u,%lx,%u ", type, address.v, reason);
    note(text);
}

void vcpu_end(const struct vcpu *which, enum vm_ending ending, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(which->vm->message, sizeof(which->vm->message), format, arguments);
    va_end(arguments);
    which->vm->ending = ending;
    note("end ");
}

static struct invpcid operand;
static enum mmio_outcome operand_outcome;
enum mmio_outcome mmio_invpcid(struct mmio_vcpu *v, uint64_t info, uint64_t displacement,
                               struct invpcid *invpcid)
{
    assert_ptr_equal(v, &vcpu->mmio);
    assert_int_equal(info, 0x11);
    assert_int_equal(displacement, 0x22);
    *invpcid = operand;
    return operand_outcome;
}

static int setup(void **state)
{
    (void)state;
    memset(&vm, 0, sizeof(vm));
    memset(vmcs, 0, sizeof(vmcs));
    vcpu->vm = &vm;
    vcpu->vpid = 9;
    vcpu->vmx.exit.reason = REASON_EPT_VIOLATION;
    vmcs[VMCS_GUEST_PHYSICAL_ADDRESS] = 0x5000;
    cr2 = 0x111;
    did[0] = 0;
    return 0;
}

static void expect(enum mmio_outcome outcome, const char *right)
{
    did[0] = 0;
    mmio_act_on(vcpu, outcome);
    assert_string_equal(did, right);
}

/* ---- Outcomes -------------------------------------------------------------------------------- */

static void emulated(void **state)
{
    (void)state;
    expect(MMIO_DONE, "shadow ");
    vcpu->mmio.single_step = true;
    expect(MMIO_DONE, "shadow step ");
    vcpu->mmio.breakpoints_met = 0x1002;
    expect(MMIO_DONE, "shadow step trap=1002 ");
    vcpu->mmio.breakpoints_met = BREAKPOINTS_MOV_SS; /* the shadow of an older instruction ends */
    expect(MMIO_DONE, "shadow step mov_ss ");
}

/* RF is set again only if the exit of the instruction itself had cleared it. */
static void not_changed(void **state)
{
    (void)state;
    expect(MMIO_REENTER, "");
    vcpu->vmx.exit.reason = REASON_INVPCID;
    expect(MMIO_REENTER, "retry ");
}

static void faults(void **state)
{
    (void)state;
    vcpu->mmio.fault = (struct mmio_fault){.vector = VECTOR_GP, .error_code = 7, .cr2 = 0x222};
    expect(MMIO_INJECT, "raise=13,7 ");
    assert_int_equal(cr2, 0x111);
    vcpu->mmio.fault.vector = VECTOR_PF;
    expect(MMIO_INJECT, "raise=14,7 ");
    assert_int_equal(cr2, 0x222);
}

static void others(void **state)
{
    char stale[32];
    (void)state;
    expect(MMIO_PASS, "open ");
    expect(MMIO_VE, "ve ");
    snprintf(stale, sizeof(stale), "flush=%u,0,%u ", INVVPID_SINGLE, INVVPID_STALE);
    expect(MMIO_STALE, stale);
}

static void ends(void **state)
{
    static const enum vm_ending endings[] = {
        [MMIO_END_DELIVERY] = VM_ENDED_MMIO_DURING_DELIVERY,
        [MMIO_END_MISCONFIG] = VM_ENDED_MISCONFIGURATION,
        [MMIO_END_UNSUPPORTED] = VM_ENDED_UNSUPPORTED_INSTRUCTION,
        [MMIO_END_FETCH] = VM_ENDED_MEMORY_FAULT,
        [MMIO_END_TABLES] = VM_ENDED_MEMORY_FAULT,
        [MMIO_END_PAGING] = VM_ENDED_MEMORY_FAULT,
        [MMIO_END_STALE] = VM_ENDED_MEMORY_FAULT,
        [MMIO_END_MEMORY] = VM_ENDED_MEMORY_FAULT,
    };
    (void)state;
    strcpy(vcpu->mmio.text, "100%s of it"); /* the text must not be used as a format */
    for (unsigned i = MMIO_END_NONE + 1; i < ARRAY_SIZE(endings); i++) {
        vcpu->mmio.end = (enum mmio_end)i;
        expect(MMIO_END, "end ");
        assert_int_equal(vm.ending, endings[i]);
        assert_string_equal(vm.message, "100%s of it");
    }
}

/* An instruction continues on another page, or its access is complete. */
static void open_pages(void **state)
{
    (void)state;
    vcpu->vmx.attention.word = ATTENTION_PASS;
    expect(MMIO_REENTER, "");
    expect(MMIO_PASS, "open ");
    expect(MMIO_DONE, "close shadow ");
    vcpu->mmio.fault.vector = VECTOR_GP;
    expect(MMIO_INJECT, "close raise=13,0 ");
    expect(MMIO_VE, "close ve ");
}

/* ---- Flushes --------------------------------------------------------------------------------- */

static void flush_a_page(void **state)
{
    char right[64];
    (void)state;
    vcpu->vmx.exit.reason = REASON_INVLPG;
    vmcs[VMCS_EXIT_QUALIFICATION] = 0xffff800000123456;
    exit_invlpg(vcpu);
    snprintf(right, sizeof(right), "forget=ffff800000123456 flush=%u,ffff800000123456,%u skip ",
             INVVPID_ADDRESS, INVVPID_GUEST);
    assert_string_equal(did, right);
}

static void flush_by_pcid(void **state)
{
    char one[64], all[64];
    (void)state;
    snprintf(one, sizeof(one), "forget=7000 flush=%u,7000,%u skip ", INVVPID_ADDRESS,
             INVVPID_GUEST);
    snprintf(all, sizeof(all), "forget flush=%u,0,%u skip ", INVVPID_SINGLE, INVVPID_GUEST);
    vcpu->vmx.exit.reason = REASON_INVPCID;
    vmcs[VMCS_EXIT_INSTRUCTION_INFO] = 0x11;
    vmcs[VMCS_EXIT_QUALIFICATION] = 0x22;
    operand_outcome = MMIO_DONE;
    for (unsigned type = 0; type < 4; type++) {
        did[0] = 0;
        operand = (struct invpcid){.type = type, .address = 0x7000};
        exit_invpcid(vcpu);
        assert_string_equal(did, type == INVPCID_ADDRESS ? one : all);
    }
    vcpu->mmio.breakpoints_met = 0x1001; /* by the descriptor */
    did[0] = 0;
    exit_invpcid(vcpu);
    assert_string_equal(did + strlen(all), "trap=1001 ");
    operand_outcome = MMIO_INJECT;
    vcpu->mmio.fault.vector = VECTOR_SS;
    did[0] = 0;
    exit_invpcid(vcpu);
    assert_string_equal(did, "raise=12,0 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(emulated, setup),     cmocka_unit_test_setup(not_changed, setup),
        cmocka_unit_test_setup(faults, setup),       cmocka_unit_test_setup(others, setup),
        cmocka_unit_test_setup(ends, setup),         cmocka_unit_test_setup(open_pages, setup),
        cmocka_unit_test_setup(flush_a_page, setup), cmocka_unit_test_setup(flush_by_pcid, setup),
    };
    return cmocka_run_group_tests_name("outcomes", tests, NULL, NULL);
}
