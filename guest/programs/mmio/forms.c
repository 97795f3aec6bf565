/* SPDX-License-Identifier: MIT */
/*
 * Runs the list of MOV forms in each CPU mode, on the test device and on RAM. Called by mmio.c.
 */
#include "guest/programs/mmio/forms.h"
#include "guest/programs/mmio/legacy.h"

#define RAM_PAGE 0x60000ull /* below 1 MiB, its low 16 address bits are 0 */

#define CR0_32_UNPAGED 0x00010033u
#define CR0_32_PAGED   0x80010033u

extern const struct form forms64[], forms64_end[], forms32[], forms32_end[], forms16[],
    forms16_end[];
extern uint8_t form16_code[], form16_code_end[], form_near[];
extern uint64_t rt_gdt[], rt_pd[4][512];

struct mode {
    const struct form *first, *end;
    uint16_t cs, ds;
    bool is_legacy, is_paged;
    uint32_t cr0, cr4;
};

/* The list of forms, the code and data selectors, and CR0 and CR4 for legacy_call(). */
#define LONG_MODE(list, cs, ds)                     \
    {                                               \
        list, list##_end, cs, ds, false, true, 0, 0 \
    }
#define LEGACY_MODE(list, cs, ds, cr0, cr4)                 \
    {                                                       \
        list, list##_end, cs, ds, true, cr0 >> 31, cr0, cr4 \
    }

static const struct mode modes[] = {
    [MODE_64] = LONG_MODE(forms64, SEL_CODE64, SEL_DATA),
    [MODE_COMPAT_32] = LONG_MODE(forms32, SEL_CODE32, SEL_DATA),
    [MODE_COMPAT_16] = LONG_MODE(forms16, SEL_CODE16, SEL_DATA16),
    [MODE_32_UNPAGED] = LEGACY_MODE(forms32, SEL_CODE32, SEL_DATA, CR0_32_UNPAGED, 0),
    [MODE_32_PAGED] = LEGACY_MODE(forms32, SEL_CODE32, SEL_DATA, CR0_32_PAGED, CR4_PSE),
    [MODE_32_PAE] = LEGACY_MODE(forms32, SEL_CODE32, SEL_DATA, CR0_32_PAGED, CR4_PAE),
    [MODE_16_PROTECTED] = LEGACY_MODE(forms16, SEL_CODE16, SEL_DATA16, CR0_32_UNPAGED, 0),
    [MODE_REAL] = LEGACY_MODE(forms16, REAL_SEGMENT, SEL_DATA16, CR0_32_UNPAGED, 0),
};

static void set_segment_base(unsigned selector, uint64_t base)
{
    uint64_t *entry = &rt_gdt[selector / 8];

    *entry = (*entry & ~(BITS(39, 16) | BITS(63, 56))) | field_put(base, BITS(39, 16)) |
             field_put(base >> 24, BITS(63, 56));
}

static uint64_t form_page; /* the page at FORM_PAGE, in the modes with paging */

/* Page tables for the modes outside of long mode. FORM_PAGE is mapped by a 4 KiB page; everything
 * else is identity-mapped. */
static uint32_t legacy_cr3(uint32_t cr4)
{
    static uint64_t pdpt[4] __attribute__((aligned(32)));
    static uint32_t directory[1024] __attribute__((aligned(4096)));
    static uint32_t table[1024] __attribute__((aligned(4096)));

    if (cr4 & CR4_PAE) {
        for (unsigned i = 0; i < 4; i++)
            pdpt[i] = (uint64_t)rt_pd[i] | PTE_P;
        return (uint32_t)(uintptr_t)pdpt;
    }
    for (uint32_t i = 0; i < 1024; i++)
        directory[i] = i << 22 | (uint32_t)(PTE_P | PTE_W | PTE_PS);
    directory[FORM_PAGE >> 22] = (uint32_t)(uintptr_t)table | (uint32_t)(PTE_P | PTE_W);
    table[FORM_PAGE >> 12 & 1023] = (uint32_t)(form_page | PTE_P | PTE_W);
    return (uint32_t)(uintptr_t)directory;
}

/* Runs one form with its registers pointing to `page`. Returns RAX. */
static uint64_t run_form(enum form_mode which, const struct form *form, uint64_t page)
{
    static struct form_call call; /* below 4 GiB, as the stack is */
    const struct mode *mode = &modes[which];

    call = (struct form_call){
        .offset = (uint32_t)form->code,
        .cs = mode->cs,
        .ds = mode->ds,
        .rax = form->in,
        .rdi = page + FORM_OFFSET,
        .cr0 = mode->cr0,
        .cr4 = mode->cr4,
        .is_real = which == MODE_REAL,
    };
    if (mode->first == forms16)
        call.offset -= (uint32_t)(uintptr_t)form16_code;
    if (mode->is_paged && mode->is_legacy)
        call.cr3 = legacy_cr3(mode->cr4);
    if (mode->is_legacy)
        legacy_call(&call);
    else
        call_form(&call);
    return call.rax;
}

/* Prepares the segments, the mappings and the real-mode copy for forms on `page`. In modes with
 * paging, the page is mapped at FORM_PAGE. Returns the address for the registers. */
static uint64_t prepare(enum form_mode which, uint64_t page)
{
    uint64_t view = modes[which].is_paged ? FORM_PAGE : page;

    form_page = page;
    set_segment_base(SEL_DATA16, view);
    set_segment_base(SEL_CODE16, which == MODE_REAL ? REAL_BASE : (uint64_t)form16_code);
    memcpy((void *)REAL_BASE, form16_code, (size_t)(form16_code_end - form16_code));
    map_page(rt_pml4, FORM_PAGE, page, PTE_P | PTE_W);
    map_page(rt_pml4, (uint64_t)form_near, page, PTE_P | PTE_W);
    write_cr3(read_cr3());
    return view;
}

/* Restores the runtime's mapping: FORM_PAGE is the device. */
static void finish(void)
{
    map_page(rt_pml4, FORM_PAGE, TESTDEV_A_BASE, PTE_P | PTE_W);
    write_cr3(read_cr3());
}

static uint64_t result_mask(enum form_mode which)
{
    return which == MODE_64 ? ~0ull : 0xffffffffull;
}

/* Checks RAX and memory after a form. A failure is reported with the form's name. */
static bool form_agrees(enum form_mode which, const struct form *form, uint64_t rax,
                        uint64_t memory)
{
    bool ok = EXPECT_EQ(rax & result_mask(which), form->out & result_mask(which));

    ok &= EXPECT_EQ(memory, form->after);
    if (!ok)
        print("# in form: %s\n", form->name);
    return ok;
}

void forms_on_ram(enum form_mode which)
{
    uint64_t view = prepare(which, RAM_PAGE);
    uint64_t run = 0;

    for (const struct form *form = modes[which].first; form != modes[which].end; form++) {
        if (form->is_absolute && !modes[which].is_paged && modes[which].first != forms16)
            continue; /* without paging, the RAM cannot be mapped at the form's address */
        write64(RAM_PAGE + FORM_OFFSET, form->before);
        uint64_t rax = run_form(which, form, view);
        form_agrees(which, form, rax, read64(RAM_PAGE + FORM_OFFSET));
        run++;
    }
    finish();
    note("forms", run);
}

void forms_on_device(enum form_mode which)
{
    uint64_t view = prepare(which, TESTDEV_A_BASE);
    uint64_t dev = TESTDEV_A_BASE;
    uint64_t run = 0, exits = 0;

    for (const struct form *form = modes[which].first; form != modes[which].end; form++) {
        write32(dev + TESTDEV_RESET, 1);
        write64(dev + FORM_OFFSET, form->before);
        struct watch accesses = watch(mmio_exit());
        uint64_t rax = run_form(which, form, view);
        exits += watched(accesses);
        uint32_t reads = read32(dev + TESTDEV_READS), writes = read32(dev + TESTDEV_WRITES);
        bool ok = EXPECT_EQ(reads, !form->write);
        ok &= EXPECT_EQ(writes, 1 + form->write);
        ok &= EXPECT_EQ(read32(dev + TESTDEV_LAST_OFS), FORM_OFFSET);
        ok &= EXPECT_EQ(read32(dev + TESTDEV_LAST_SIZE), form->size);
        if (form_agrees(which, form, rax, read64(dev + FORM_OFFSET)) && !ok)
            print("# in form: %s\n", form->name);
        run++;
    }
    finish();
    EXPECT_EQ(exits, run);
    note("forms", run);
    note("exits", exits);
}
