/* SPDX-License-Identifier: MIT */
/*
 * What INIT leaves in the VMCS and in the registers that no exit saves. It starts from every kind
 * of guest, with all fields dirty. The fields of the SDM's table 10-1 have its values, all others
 * are unchanged, and a CPU accepts the state at a VM entry.
 */
#include "tests/unit/support.h"

#include "arch/x86/cpu.h"
#include "tests/unit/vmx/test_vmx_image.h"
#include "tests/unit/vmx/test_vmx_models.h"
#include "vmx/init_state.h"

#define VECTOR    0x9a
#define SIGNATURE 0x706e5u

static struct image image, before;
static struct cpu_regs cpu;
static struct extra_state extra;

uint64_t cpu_reg_load(struct cpu_regs *regs, enum cpu_reg reg)
{
    (void)regs;
    assert_int_equal(reg, REG_CR0); /* the result depends on nothing else */
    return image.value[VMCS_GUEST_CR0];
}

void cpu_set_reg(struct cpu_regs *regs, enum cpu_reg reg, uint64_t value)
{
    (void)regs;
    switch (reg) {
    case REG_CR0:
        image.value[VMCS_CR0_READ_SHADOW] = value;
        image.value[VMCS_GUEST_CR0] = value | CR0_NE;
        break;
    case REG_CR3:
        image.value[VMCS_GUEST_CR3] = value;
        break;
    case REG_CR4:
        image.value[VMCS_CR4_READ_SHADOW] = value;
        image.value[VMCS_GUEST_CR4] = value | CR4_VMXE;
        break;
    case REG_EFER: /* vmx/regs.c also writes the entry control */
        image.value[VMCS_GUEST_EFER] = value;
        image.value[VMCS_ENTRY_CONTROLS] &= ~ENTRY_IA32E_GUEST;
        break;
    default:
        fail_msg("register %u", reg);
    }
}

static void write_field(uint32_t field, uint64_t value)
{
    image.value[field] = value;
}

/* The table of the SDM, with CS and RIP as the start-up IPI sets them. */
static const struct image_field table[] = {
    {VMCS_GUEST_RFLAGS, 2},
    {VMCS_GUEST_RIP, 0},
    {VMCS_GUEST_RSP, 0},
    {VMCS_GUEST_CR3, 0},
    {VMCS_GUEST_CR4, CR4_VMXE}, /* the bit is the hypervisor's own */
    {VMCS_CR4_READ_SHADOW, 0},
    {VMCS_GUEST_EFER, 0},
    {VMCS_GUEST_DR7, 0x400},
    {VMCS_GUEST_PENDING_DEBUG, 0},
    {VMCS_GUEST_INTERRUPTIBILITY, 0},
    {VMCS_GUEST_ACTIVITY_STATE, 0},
    {VMCS_GUEST_CS_SELECTOR, VECTOR << 8},
    {VMCS_GUEST_CS_BASE, VECTOR << 12},
    {VMCS_GUEST_CS_LIMIT, 0xffff},
    {VMCS_GUEST_CS_ACCESS_RIGHTS, 0x9b},
    {VMCS_GUEST_SS_SELECTOR, 0},
    {VMCS_GUEST_SS_BASE, 0},
    {VMCS_GUEST_SS_LIMIT, 0xffff},
    {VMCS_GUEST_SS_ACCESS_RIGHTS, 0x93},
    {VMCS_GUEST_DS_SELECTOR, 0},
    {VMCS_GUEST_DS_BASE, 0},
    {VMCS_GUEST_DS_LIMIT, 0xffff},
    {VMCS_GUEST_DS_ACCESS_RIGHTS, 0x93},
    {VMCS_GUEST_ES_SELECTOR, 0},
    {VMCS_GUEST_ES_BASE, 0},
    {VMCS_GUEST_ES_LIMIT, 0xffff},
    {VMCS_GUEST_ES_ACCESS_RIGHTS, 0x93},
    {VMCS_GUEST_FS_SELECTOR, 0},
    {VMCS_GUEST_FS_BASE, 0},
    {VMCS_GUEST_FS_LIMIT, 0xffff},
    {VMCS_GUEST_FS_ACCESS_RIGHTS, 0x93},
    {VMCS_GUEST_GS_SELECTOR, 0},
    {VMCS_GUEST_GS_BASE, 0},
    {VMCS_GUEST_GS_LIMIT, 0xffff},
    {VMCS_GUEST_GS_ACCESS_RIGHTS, 0x93},
    {VMCS_GUEST_GDTR_BASE, 0},
    {VMCS_GUEST_GDTR_LIMIT, 0xffff},
    {VMCS_GUEST_IDTR_BASE, 0},
    {VMCS_GUEST_IDTR_LIMIT, 0xffff},
    {VMCS_GUEST_LDTR_SELECTOR, 0},
    {VMCS_GUEST_LDTR_BASE, 0},
    {VMCS_GUEST_LDTR_LIMIT, 0xffff},
    {VMCS_GUEST_LDTR_ACCESS_RIGHTS, 0x82},
    {VMCS_GUEST_TR_SELECTOR, 0},
    {VMCS_GUEST_TR_BASE, 0},
    {VMCS_GUEST_TR_LIMIT, 0xffff},
    {VMCS_GUEST_TR_ACCESS_RIGHTS, 0x8b},
};

static uint64_t random_state;
static uint64_t next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

/* Fields that must not change: the MSRs, the link pointer, PAT, and the host's fields. */
static bool may_be_dirtied(uint32_t field)
{
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
        if (table[i].field == field)
            return true;
    return field == VMCS_GUEST_CR0;
}

static void dirty(enum image_kind kind, uint64_t cr0)
{
    image_make(&image, &icelake_u, kind);
    for (unsigned i = 0; i < vmcs_field_count; i++)
        if (may_be_dirtied(vmcs_fields[i]))
            image.value[vmcs_fields[i]] =
                next() & (~0ull >> (64 - vmcs_field_bits(vmcs_fields[i])));
    image.value[VMCS_GUEST_CR0] = (next() & ~BITS(30, 29)) | cr0;
    image.value[VMCS_GUEST_SYSENTER_CS] = 8;
    image.value[VMCS_GUEST_SYSENTER_ESP] = 0x1111;
    image.value[VMCS_GUEST_SYSENTER_EIP] = 0x2222;
    image.value[VMCS_GUEST_PAT] = 0x0706050400010406;
    for (unsigned i = 0; i < GPR_COUNT; i++)
        cpu.gpr[i] = next();
    cpu.known = 0;
    extra = (struct extra_state){
        .cr2 = 1, .dr0 = 2, .dr1 = 3, .dr2 = 4, .dr3 = 5, .dr6 = 6, .xcr0 = 7, .xss = 8, .pkru = 9};
    for (unsigned i = 0; i < EXTRA_MSRS; i++)
        extra.msrs[i] = next();
    before = image;
}

static void collect(void *ctx, const struct entry_finding *finding)
{
    (void)ctx;
    fail_msg("%s", finding->text);
}

static void check(uint64_t cr0)
{
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
        if (image.value[table[i].field] != table[i].value)
            fail_msg("%s is 0x%llx", vmcs_field_name(table[i].field),
                     (unsigned long long)image.value[table[i].field]);
    assert_int_equal(image.value[VMCS_CR0_READ_SHADOW], cr0 | 0x10);
    for (unsigned i = 0; i < vmcs_field_count; i++)
        if (!may_be_dirtied(vmcs_fields[i]) && vmcs_fields[i] != VMCS_ENTRY_CONTROLS &&
            vmcs_fields[i] != VMCS_CR0_READ_SHADOW)
            assert_int_equal(image.value[vmcs_fields[i]], before.value[vmcs_fields[i]]);
    assert_int_equal(entry_check(&image.input, collect, NULL), 0);
    for (unsigned i = 0; i < GPR_COUNT; i++)
        assert_int_equal(cpu.gpr[i], i == GPR_RDX ? SIGNATURE : 0);
}

static void as_the_table_says(void **state)
{
    (void)state;
    static const uint64_t cache[] = {0, CR0_CD, CR0_CD | CR0_NW, CR0_NW};
    random_state = 88172645463325252ull;
    for (unsigned round = 0; round < 400; round++) {
        uint64_t cr0 = cache[round % 4], msrs[EXTRA_MSRS];
        /* A guest cannot set CR0.NW without CD, but INIT would keep that, too. */
        dirty(round % IMAGE_KINDS == RESTRICTED ? LONG : round % IMAGE_KINDS, cr0);
        memcpy(msrs, extra.msrs, sizeof(msrs));
        init_state(&cpu, &extra, SIGNATURE, VECTOR, write_field);
        if (cr0 == CR0_NW)
            image.value[VMCS_GUEST_CR0] &= ~CR0_NW;
        check(cr0);
        assert_int_equal(extra.cr2 | extra.dr0 | extra.dr1 | extra.dr2 | extra.dr3, 0);
        assert_int_equal(extra.dr6, 0xffff0ff0);
        assert_int_equal(extra.xcr0, 7);
        assert_int_equal(extra.xss, 8);
        assert_int_equal(extra.pkru, 9);
        assert_memory_equal(msrs, extra.msrs, sizeof(msrs));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_table_says),
    };
    return cmocka_run_group_tests_name("INIT", tests, NULL, NULL);
}
