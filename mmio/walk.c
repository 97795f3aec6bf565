/* SPDX-License-Identifier: MIT */
/*
 * The walk of guest page tables. Called by the cache of walks on a miss. Reads the guest's tables
 * and sets their A and D bits, as the CPU does; touches nothing else. Pure.
 */
#include "mmio/walk.h"

#include "arch/x86/reg_bits.h"
#include "lib/errno.h"
#include "lib/string.h"

#define KEY_CR0  (KEY_PG | KEY_WP)
#define KEY_CR4  (KEY_PSE | KEY_PAE | KEY_LA57 | KEY_SMEP | KEY_SMAP | KEY_PKE | KEY_PKS)
#define KEY_EFER (KEY_LMA | KEY_NXE)
#define KEY_CS   (KEY_CODE64 | KEY_CODE32)
#define KEY_OWN  (KEY_WRITE | KEY_USER | KEY_FETCH | KEY_LOOK)

/* The sum of bit sets equals their union only if the sets are disjoint. */
_Static_assert((KEY_CR0 | KEY_CR4 | KEY_EFER | KEY_CS | KEY_OWN | KEY_AC) ==
                   KEY_CR0 + KEY_CR4 + KEY_EFER + KEY_CS + KEY_OWN + KEY_AC,
               "bits of the key collide");
_Static_assert(KEY_CS == (SEG_AR_L | SEG_AR_DB), "code mode bits are those of CS");
_Static_assert(KEY_WRITE == PF_WRITE && KEY_USER == PF_USER, "error codes take these as they are");

#define ENTRY_P        BIT(0)
#define ENTRY_W        BIT(1)
#define ENTRY_U        BIT(2)
#define ENTRY_A        BIT(5)
#define ENTRY_D        BIT(6)
#define ENTRY_PS       BIT(7)
#define ENTRY_XD       BIT(63)
#define ENTRY_KEY      BITS(62, 59)
#define ENTRY_ADDRESS  BITS(51, 12)
#define ENTRY_PSE36    BITS(20, 13) /* address bits 39:32 of a 4 MiB page */
#define CR3_ADDRESS_32 BITS(31, 12)
#define CR3_ADDRESS    BITS(51, 12)

/* Attempts of a walk while other CPUs change the entries, before the guest is entered to retry. */
#define ATTEMPTS 8

struct format {
    uint8_t top_shift; /* lowest address bit of the index into the first table in memory */
    uint8_t index_bits;
    uint8_t entry_size;
};

static const struct format format_32 = {22, 10, 4};
static const struct format format_pae = {21, 9, 8};
static const struct format format_4_level = {39, 9, 8};

void walk_context_load(struct walk_context *context, struct cpu_regs *cpu, const struct mmu *mmu)
{
    context->generation = mmu_slot_generation(mmu);
    context->sequence = mmu_invalidate_sequence(mmu);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    uint64_t cr0 = cpu_reg(cpu, REG_CR0);
    uint64_t cr4 = cpu_reg(cpu, REG_CR4);
    context->cr3 = cpu_reg(cpu, REG_CR3);
    context->rflags = cpu_reg(cpu, REG_RFLAGS);
    context->cs_rights = (uint32_t)cpu_reg(cpu, REG_SEG_AR + SEG_CS);
    context->protected = cr0 & CR0_PE;
    context->pkru = cr4 & KEY_PKE ? cpu_reg(cpu, REG_PKRU) : 0;
    /* The DPL of nonconforming code equals the CPL; this saves reading SS. */
    bool nonconforming = (context->cs_rights & 0xc) == 0x8;
    unsigned cpl =
        nonconforming ? (unsigned)field_get(context->cs_rights, SEG_AR_DPL) : cpu_cpl(cpu);
    context->key = (cr0 & KEY_CR0) | (cr4 & KEY_CR4) | (cpu_reg(cpu, REG_EFER) & KEY_EFER) |
                   (context->cs_rights & KEY_CS) | (context->rflags & KEY_AC) |
                   (cpl == 3 ? KEY_USER : 0);
}

static int walk_read_entry(struct mmu *mmu, unsigned size, struct walk_entry *entry)
{
    const uint8_t *page = guest_page(mmu, entry->gpa, ACCESS_READ);
    if (!page) { /* not populated: guest_read() populates it */
        entry->value = 0;
        int error = guest_read(mmu, entry->gpa, &entry->value, size, ACCESS_READ);
        page = error ? NULL : guest_page(mmu, entry->gpa, ACCESS_READ);
        entry->host = page ? page + page_offset(entry->gpa.v) : NULL;
        return error;
    }
    entry->host = page + page_offset(entry->gpa.v);
    entry->value = size == 8 ? *(const volatile uint64_t *)entry->host
                             : *(const volatile uint32_t *)entry->host;
    return 0;
}

static bool walk_is_large(const struct format *format, uint64_t key, unsigned shift, uint64_t entry)
{
    if (shift == PAGE_SHIFT || shift == format_4_level.top_shift || !(entry & ENTRY_PS))
        return false;
    return format != &format_32 || key & KEY_PSE;
}

/* The bits that must be 0 in a present entry (SDM 3, 4.3 to 4.5). */
static uint64_t walk_reserved_bits(const struct format *format, const struct walk_limits *limits,
                                   uint64_t key, unsigned shift, bool large)
{
    if (format == &format_32) {
        unsigned usable = limits->physical_bits < 40 ? limits->physical_bits - 32u : 8;
        return large ? BIT(21) | (ENTRY_PSE36 & (ENTRY_PSE36 << usable)) : 0;
    }
    uint64_t reserved = ENTRY_ADDRESS & (~0ull << limits->physical_bits);
    if (format == &format_pae)
        reserved |= BITS(62, 52);
    if (!(key & KEY_NXE))
        reserved |= ENTRY_XD;
    if (large)
        reserved |= BITS(shift - 1u, 13);
    if (shift == 39 || (shift == 30 && !limits->page_1g))
        reserved |= ENTRY_PS;
    return reserved;
}

/* The GPA of `address` in the page of the last entry. */
static gpa_t walk_leaf_address(const struct format *format, unsigned shift, uint64_t entry,
                               uint64_t address)
{
    uint64_t offset = BIT(shift) - 1;
    uint64_t page = entry & ENTRY_ADDRESS & ~offset;
    if (format == &format_32)
        page &= ~0u;
    if (format == &format_32 && shift == 22)
        page |= field_get(entry, ENTRY_PSE36) << 32;
    return GPA(page | (address & offset));
}

/* Protection keys apply to data accesses of user pages, also by supervisor code (SDM 3, 4.6.2). */
static bool walk_key_denies(const struct walk_context *context, uint64_t key, uint64_t leaf)
{
    if (!(key & KEY_PKE) || !(key & KEY_LMA) || key & KEY_FETCH)
        return false;
    uint64_t rights = context->pkru >> (2 * field_get(leaf, ENTRY_KEY));
    bool write_checked = key & KEY_WRITE && key & (KEY_USER | KEY_WP);
    return rights & 1 || (rights & 2 && write_checked);
}

/* The error code bits of a denied access (PF_PRESENT and perhaps PF_KEY), or 0 (SDM 3, 4.6.1).
 * `all` and `any` are the AND and the OR of the entries of the walk. */
static uint32_t walk_denied(const struct walk_context *context, uint64_t key, uint64_t all,
                            uint64_t any, uint64_t leaf)
{
    bool user_page = all & ENTRY_U;
    bool deny = false;
    if (key & KEY_USER)
        deny = !user_page;
    else if (user_page && key & KEY_FETCH)
        deny = key & KEY_SMEP;
    else if (user_page)
        deny = key & KEY_SMAP && !(key & KEY_AC);
    if (key & KEY_WRITE && !(all & ENTRY_W) && key & (KEY_USER | KEY_WP))
        deny = true;
    if (key & KEY_FETCH && any & ENTRY_XD) /* with NXE clear, XD is reserved */
        deny = true;
    if (user_page && walk_key_denies(context, key, leaf))
        return PF_PRESENT | PF_KEY;
    return deny ? PF_PRESENT : 0;
}

/* Sets A in every entry and, for a write, D in the last entry, from the root down. */
static enum walk_result walk_set_accessed(struct mmu *mmu, struct walk *w, bool write)
{
    w->keepable = true;
    for (unsigned i = 0; i < w->count; i++) {
        struct walk_entry *entry = &w->entries[i];
        uint64_t set = entry->value | ENTRY_A | (write && i + 1 == w->count ? ENTRY_D : 0);
        if (set != entry->value) {
            int error = guest_cmpxchg(mmu, entry->gpa, w->entry_size, entry->value, set);
            if (error) {
                w->gpa = entry->gpa;
                return error == -EAGAIN   ? WALK_RETRY
                       : error == -ENOMEM ? WALK_NO_MEMORY
                                          : WALK_NOT_RAM;
            }
            entry->value = set;
        }
        w->keepable &= entry->host != NULL;
    }
    return WALK_OK;
}

static enum walk_result walk_tables(struct mmu *mmu, const struct walk_limits *limits,
                                    const struct walk_context *context, uint64_t key,
                                    const struct format *format, gpa_t table, uint64_t address,
                                    struct walk *w)
{
    uint64_t all = ~0ull, any = 0;
    w->count = 0;
    for (unsigned shift = format->top_shift;; shift -= format->index_bits) {
        uint64_t index = (address >> shift) & (BIT(format->index_bits) - 1);
        struct walk_entry *entry = &w->entries[w->count++];
        entry->gpa = gpa_add(table, index * format->entry_size);
        int error = walk_read_entry(mmu, format->entry_size, entry);
        if (error) {
            w->gpa = entry->gpa;
            return error == -ENOMEM ? WALK_NO_MEMORY : WALK_NOT_RAM;
        }
        uint64_t value = entry->value;
        if (!(value & ENTRY_P))
            return WALK_FAULT;
        bool large = walk_is_large(format, key, shift, value);
        if (value & walk_reserved_bits(format, limits, key, shift, large)) {
            w->error_code |= PF_PRESENT | PF_RESERVED;
            return WALK_FAULT;
        }
        all &= value;
        any |= value;
        if (large || shift == PAGE_SHIFT) {
            uint32_t denial = walk_denied(context, key, all, any, value);
            w->error_code |= denial;
            if (denial)
                return WALK_FAULT;
            w->gpa = walk_leaf_address(format, shift, value, address);
            return key & KEY_LOOK ? WALK_OK : walk_set_accessed(mmu, w, key & KEY_WRITE);
        }
        table = GPA(value & (format == &format_32 ? CR3_ADDRESS_32 : ENTRY_ADDRESS));
    }
}

enum walk_result walk(struct mmu *mmu, struct cpu_regs *cpu, const struct walk_limits *limits,
                      const struct walk_context *context, gva_t address, uint64_t access,
                      struct walk *result)
{
    uint64_t key = context->key | access;
    struct walk *w = result;
    w->count = 0;
    w->entry_size = 8;
    w->pdpte = 0;
    w->keepable = true;
    if (!(key & KEY_PG)) {
        w->gpa = GPA((uint32_t)address.v);
        return WALK_OK;
    }
    uint32_t error_code = (uint32_t)(key & (KEY_WRITE | KEY_USER));
    if (key & KEY_FETCH && (key & KEY_SMEP || (key & KEY_PAE && key & KEY_NXE)))
        error_code |= PF_FETCH;

    const struct format *format = &format_32;
    gpa_t table = GPA(context->cr3 & CR3_ADDRESS_32);
    if (key & KEY_LMA) {
        if (key & (KEY_LA57 | KEY_PKS))
            return WALK_UNSUPPORTED;
        format = &format_4_level;
        table = GPA(context->cr3 & CR3_ADDRESS);
    } else if (key & KEY_PAE) {
        format = &format_pae;
        w->pdpte = cpu_reg(cpu, REG_PDPTE0 + (enum cpu_reg)((address.v >> 30) & 3));
        w->error_code = error_code;
        if (!(w->pdpte & ENTRY_P))
            return WALK_FAULT;
        table = GPA(w->pdpte & ENTRY_ADDRESS);
    }
    w->entry_size = format->entry_size;
    enum walk_result outcome = WALK_RETRY;
    for (unsigned i = 0; outcome == WALK_RETRY && i < ATTEMPTS; i++) {
        w->error_code = error_code;
        outcome = walk_tables(mmu, limits, context, key, format, table, address.v, w);
    }
    return outcome;
}
