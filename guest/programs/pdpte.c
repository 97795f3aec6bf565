/* SPDX-License-Identifier: MIT */
/*
 * When the CPU loads the PDPTEs of PAE paging (SDM 3, 4.4.1): 32-bit code with PAE paging changes
 * the fourth one in memory, then one bit of CR0 or CR4, and reads an address above 3 GiB. After a
 * change of a bit that loads the PDPTEs, the new one leads to RAM with a mark. Nothing is expected
 * of the other bits, because the CPU may reload the PDPTEs at any time.
 */
#include "guest/programs/mmio/forms.h"

#define MARK      0x12345678u
#define MARK_PAGE 0x1000000u
#define BASE_CR0  0x80000033u /* PG NE ET MP PE */
#define BASE_CR4  0x20u       /* PAE */

extern uint64_t rt_pd[4 * 512];
extern uint8_t pdpte_cr0[], pdpte_cr4[];
extern uint64_t pdpte_table[4];
extern uint32_t pdpte_new;
uint64_t pdpte_table[4] __attribute__((aligned(RT_PAGE)));
static uint64_t other_directory[512] __attribute__((aligned(RT_PAGE)));
uint32_t pdpte_new;

/* EDI: the bits that are changed and changed back. */
__asm__(".text\n.code32\n"
        "pdpte_cr0: movl pdpte_new, %eax\n movl %eax, pdpte_table + 24\n"
        " movl %cr0, %eax\n xorl %edi, %eax\n movl %eax, %cr0\n"
        " movl 0xc0200000, %ecx\n"
        " movl %cr0, %eax\n xorl %edi, %eax\n movl %eax, %cr0\n"
        " movl %ecx, %eax\n lret\n"
        "pdpte_cr4: movl pdpte_new, %eax\n movl %eax, pdpte_table + 24\n"
        " movl %cr4, %eax\n xorl %edi, %eax\n movl %eax, %cr4\n"
        " movl 0xc0200000, %ecx\n"
        " movl %cr4, %eax\n xorl %edi, %eax\n movl %eax, %cr4\n"
        " movl %ecx, %eax\n lret\n"
        ".code64\n");

static uint32_t read_behind(const uint8_t *code, uint32_t cr0, uint32_t cr4, uint64_t toggle)
{
    for (unsigned i = 0; i < 4; i++)
        pdpte_table[i] = (uint64_t)(rt_pd + 512 * i) | PTE_P;
    other_directory[1] = MARK_PAGE | PTE_P | PTE_W | PTE_PS;
    write32(MARK_PAGE, MARK);
    pdpte_new = (uint32_t)(uint64_t)other_directory | PTE_P;
    struct form_call call = {
        .offset = (uint32_t)(uint64_t)code,
        .cs = SEL_CODE32,
        .ds = SEL_DATA,
        .rdi = toggle,
        .cr0 = cr0,
        .cr3 = (uint32_t)(uint64_t)pdpte_table,
        .cr4 = cr4,
    };
    legacy_call(&call);
    return (uint32_t)call.rax;
}

/* Each legal change of CD and NW, and of both. */
static void cr0(void)
{
    static const struct {
        uint32_t from, toggle;
    } rows[] = {
        {0, BIT(30)},       {BIT(30), BIT(30)},
        {0, BITS(30, 29)},  {BITS(30, 29), BITS(30, 29)},
        {BIT(30), BIT(29)}, {BITS(30, 29), BIT(29)},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        EXPECT_EQ(read_behind(pdpte_cr0, BASE_CR0 | rows[i].from, BASE_CR4, rows[i].toggle), MARK);
}

static bool has_smep(void)
{
    return cpuid(0).eax >= 7 && cpuid(7).ebx & BIT(7);
}

/* PSE, PGE and SMEP, on and off. */
static void cr4(void)
{
    static const unsigned bits[] = {4, 7, 20};
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        uint32_t bit = (uint32_t)BIT(bits[i]);
        if (bits[i] == 20 && !has_smep())
            continue;
        EXPECT_EQ(read_behind(pdpte_cr4, BASE_CR0, BASE_CR4, bit), MARK);
        EXPECT_EQ(read_behind(pdpte_cr4, BASE_CR0, BASE_CR4 | bit, bit), MARK);
    }
}

void guest_main(void)
{
    static const struct test tests[] = {
        {"cr0", cr0, 0},
        {"cr4", cr4, 0},
    };
    run_tests(tests, ARRAY_SIZE(tests));
}
