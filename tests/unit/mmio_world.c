#include "tests/unit/mmio_world.h"

#include "lib/errno.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint8_t world_ram[WORLD_RAM_PAGES][4096] __attribute__((aligned(4096)));
struct world world;

/* ---- vmx/regs.h ------------------------------------------------------------------------------ */

uint64_t cpu_reg(struct cpu_regs *cpu, enum cpu_reg reg)
{
    assert_ptr_equal(cpu, &world.cpu);
    world.reg_reads[reg]++;
    return world.regs[reg];
}

void cpu_set_reg(struct cpu_regs *cpu, enum cpu_reg reg, uint64_t value)
{
    assert_ptr_equal(cpu, &world.cpu);
    world.regs[reg] = value;
}

/* ---- mmu/mmu.h ------------------------------------------------------------------------------- */

static int slot_of(const struct mmu *mmu, uint64_t gfn)
{
    for (int i = 0; i < WORLD_SLOTS; i++)
        if (gfn - mmu->slots[i].gfn < mmu->slots[i].pages)
            return i;
    return -1;
}

static unsigned spte_of(const struct mmu *mmu, uint64_t gfn)
{
    unsigned i = 0;
    while (i < WORLD_SPTES && mmu->sptes[i].state != SPTE_NONE && mmu->sptes[i].gfn != gfn)
        i++;
    assert_true(i < WORLD_SPTES);
    return i;
}

void world_set_spte(uint64_t gpa, enum spte_state state, uint64_t generation)
{
    unsigned i = spte_of(&world.mmu, gpa >> 12);
    world.mmu.sptes[i].gfn = gpa >> 12;
    world.mmu.sptes[i].state = state;
    world.mmu.sptes[i].generation = generation;
}

int mmu_fault(struct mmu *mmu, gpa_t gpa, uint32_t error_code, struct mmio_info *info)
{
    mmu->faults++;
    if (mmu->forced_fault)
        return mmu->forced_fault;
    int slot = slot_of(mmu, gpa.v >> 12);
    if (slot < 0) {
        world_set_spte(gpa.v, SPTE_MMIO, mmu->generation);
        *info = (struct mmio_info){gpa_to_gfn(gpa), mmu->generation};
        return FAULT_EMULATE;
    }
    if (mmu->slots[slot].readonly && error_code & ACCESS_WRITE)
        return FAULT_EMULATE;
    world_set_spte(gpa.v, SPTE_RAM, 0);
    return FAULT_FIXED;
}

int mmu_mmio_check(struct mmu *mmu, gpa_t gpa, struct mmio_info *info)
{
    mmu->checks++;
    unsigned i = spte_of(mmu, gpa.v >> 12);
    if (mmu->sptes[i].state == SPTE_BROKEN)
        return -EINVAL;
    if (mmu->sptes[i].state != SPTE_MMIO)
        return FAULT_RETRY;
    if (mmu->sptes[i].generation != mmu->generation)
        return FAULT_INVALID;
    *info = (struct mmio_info){gpa_to_gfn(gpa), mmu->generation};
    return FAULT_EMULATE;
}

uint64_t mmu_slot_generation(const struct mmu *mmu)
{
    return mmu->generation;
}

uint64_t mmu_invalidate_sequence(const struct mmu *mmu)
{
    return mmu->sequence;
}

const void *guest_page(struct mmu *mmu, gfn_t gfn)
{
    int slot = slot_of(mmu, gfn.v);
    return slot < 0 ? NULL : mmu->slots[slot].host + (gfn.v - mmu->slots[slot].gfn) * 4096;
}

static uint8_t *byte_of(struct mmu *mmu, uint64_t gpa, bool write)
{
    int slot = slot_of(mmu, gpa >> 12);
    if (slot < 0 || (write && mmu->slots[slot].readonly))
        return NULL;
    return mmu->slots[slot].host + (gpa - mmu->slots[slot].gfn * 4096);
}

int guest_read(struct mmu *mmu, gpa_t gpa, void *buffer, size_t size, enum mmu_access access)
{
    (void)access;
    mmu->reads++;
    for (size_t i = 0; i < size; i++) {
        uint8_t *byte = byte_of(mmu, gpa.v + i, false);
        if (!byte)
            return -EFAULT;
        ((uint8_t *)buffer)[i] = *byte;
    }
    return 0;
}

int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t *byte = byte_of(mmu, gpa.v + i, true);
        if (!byte)
            return -EFAULT;
        *byte = ((const uint8_t *)buffer)[i];
    }
    return 0;
}

int guest_cmpxchg(struct mmu *mmu, gpa_t gpa, size_t size, uint64_t old, uint64_t new)
{
    uint8_t *byte = byte_of(mmu, gpa.v, true);
    mmu->exchanges++;
    if (!byte)
        return -EFAULT;
    if (mmu->lost_exchanges) {
        mmu->lost_exchanges--;
        return -EAGAIN;
    }
    if (memcmp(byte, &old, size))
        return -EAGAIN;
    memcpy(byte, &new, size);
    return 0;
}

void world_slot_add(uint64_t gpa, uint8_t *host, uint64_t pages, bool readonly)
{
    for (int i = 0; i < WORLD_SLOTS; i++) {
        if (world.mmu.slots[i].pages)
            continue;
        world.mmu.slots[i].gfn = gpa >> 12;
        world.mmu.slots[i].pages = pages;
        world.mmu.slots[i].host = host;
        world.mmu.slots[i].readonly = readonly;
        world.mmu.generation++;
        return;
    }
    fail_msg("no free slot");
}

void world_slot_delete(uint64_t gpa)
{
    int slot = slot_of(&world.mmu, gpa >> 12);
    assert_true(slot >= 0);
    for (unsigned i = 0; i < WORLD_SPTES; i++)
        if (world.mmu.sptes[i].state == SPTE_RAM &&
            slot_of(&world.mmu, world.mmu.sptes[i].gfn) == slot)
            world.mmu.sptes[i].generation = world.mmu.generation - 1,
            world.mmu.sptes[i].state = SPTE_MMIO; /* a word that is stale at once */
    world.mmu.slots[slot].pages = 0;
    world.mmu.generation += 2;
    world.mmu.sequence += 2;
}

/* ---- Page tables ----------------------------------------------------------------------------- */

static uint64_t *table(uint64_t gpa)
{
    return (uint64_t *)(void *)world_ram[gpa >> 12];
}

static uint64_t new_table(void)
{
    uint64_t gpa = world.next_table;
    world.next_table += 4096;
    assert_true(world.next_table <= WORLD_RAM_PAGES * 4096);
    memset(world_ram[gpa >> 12], 0, 4096);
    return gpa;
}

uint64_t world_new_cr3(void)
{
    uint64_t cr3 = new_table();
    world_map(cr3, WORLD_CODE, WORLD_CODE, PTE_P | PTE_W | PTE_U);
    world_map(cr3, WORLD_CODE + 4096, WORLD_CODE + 4096, PTE_P | PTE_W | PTE_U);
    return cr3;
}

uint64_t *world_pte(uint64_t cr3, uint64_t gva)
{
    uint64_t *entry = &table(cr3)[(gva >> 39) & 511];
    for (unsigned shift = 30; shift >= 12; shift -= 9) {
        if (!(*entry & PTE_P))
            *entry = new_table() | PTE_P | PTE_W | PTE_U;
        entry = &table(*entry & 0xffffffffff000ull)[(gva >> shift) & 511];
    }
    return entry;
}

void world_map(uint64_t cr3, uint64_t gva, uint64_t gpa, uint64_t flags)
{
    *world_pte(cr3, gva) = gpa | flags;
}

/* ---- The oracle: one mode after the other, as the SDM tells it ------------------------------- */

struct reading {
    uint8_t (*ram)[4096];
    const struct walk_limits *limits;
    struct oracle out;
    bool writable, user, executable;
    uint64_t seen[4];
    unsigned wide, count;
};

static bool fetch_entry(struct reading *r, uint64_t gpa, uint64_t *entry)
{
    *entry = 0;
    if (gpa + r->wide > WORLD_RAM_PAGES * 4096) {
        r->out.outside = true;
        r->out.gpa = gpa;
        return false;
    }
    memcpy(entry, (uint8_t *)r->ram + gpa, r->wide);
    r->seen[r->count++] = gpa;
    return true;
}

/* One entry of PAE or 4-level paging. True: go on with it. */
static bool long_entry(struct reading *r, uint64_t gpa, int level, bool four_levels,
                       uint64_t *entry)
{
    if (!fetch_entry(r, gpa, entry))
        return false;
    uint64_t e = *entry;
    if (!(e & 1)) {
        r->out.fault = true;
        return false;
    }
    bool bad = false;
    for (int bit = r->limits->physical_bits; bit <= 51; bit++)
        bad |= e >> bit & 1;
    if (!four_levels)
        for (int bit = 52; bit <= 62; bit++)
            bad |= e >> bit & 1;
    if (!(world.regs[REG_EFER] & EFER_NXE) && e >> 63)
        bad = true;
    if (e & PTE_PS) {
        if (level == 4 || (level == 3 && !r->limits->page_1g))
            bad = true;
        for (int bit = 13; bit < (level == 3 ? 30 : 21); bit++)
            if (level == 3 || level == 2)
                bad |= e >> bit & 1;
    }
    if (bad) {
        r->out.fault = true;
        r->out.error_code = 1 | 8;
        return false;
    }
    r->writable &= (e & PTE_W) != 0;
    r->user &= (e & PTE_U) != 0;
    r->executable &= !(e >> 63);
    return true;
}

static bool walk_long(struct reading *r, uint64_t gva, uint64_t *leaf)
{
    bool four = world.regs[REG_EFER] & EFER_LMA;
    uint64_t at = world.regs[REG_CR3] & 0xffffffffff000ull;
    r->wide = 8;
    if (!four) {
        uint64_t pdpte = world.regs[REG_PDPTE0 + (gva >> 30 & 3)];
        if (!(pdpte & 1)) {
            r->out.fault = true;
            return false;
        }
        at = pdpte & 0xffffffffff000ull;
    }
    for (int level = four ? 4 : 2; level >= 1; level--) {
        unsigned shift = 12 + 9 * (unsigned)(level - 1);
        if (!long_entry(r, (at & 0xffffffffff000ull) + 8 * (gva >> shift & 511), level, four, leaf))
            return false;
        at = *leaf & 0xffffffffff000ull;
        if (level == 1 || (level < 4 && *leaf & PTE_PS)) {
            uint64_t low = (1ull << shift) - 1;
            r->out.gpa = (at & ~low) | (gva & low);
            return true;
        }
    }
    return false;
}

static bool walk_short(struct reading *r, uint64_t gva, uint64_t *leaf)
{
    r->wide = 4;
    uint64_t pde, pte;
    if (!fetch_entry(r, (world.regs[REG_CR3] & 0xfffff000) + 4 * (gva >> 22), &pde))
        return false;
    r->out.fault = !(pde & 1);
    if (r->out.fault)
        return false;
    r->writable = pde & PTE_W;
    r->user = pde & PTE_U;
    *leaf = pde;
    if (pde & PTE_PS && world.regs[REG_CR4] & CR4_PSE) {
        bool bad = pde >> 21 & 1;
        for (int bit = 13; bit <= 20; bit++)
            if (bit - 13 + 32 >= r->limits->physical_bits)
                bad |= pde >> bit & 1;
        r->out.gpa = (pde & 0xffc00000) | (pde >> 13 & 0xff) << 32 | (gva & 0x3fffff);
        r->out.fault = bad;
        r->out.error_code = bad ? 9 : 0;
        return !bad;
    }
    if (!fetch_entry(r, (pde & 0xfffff000) + 4 * (gva >> 12 & 1023), &pte))
        return false;
    r->out.fault = !(pte & 1);
    if (r->out.fault)
        return false;
    r->writable &= (pte & PTE_W) != 0;
    r->user &= (pte & PTE_U) != 0;
    *leaf = pte;
    r->out.gpa = (pte & 0xfffff000) | (gva & 0xfff);
    return true;
}

/* SDM 3, 4.6.1, sentence by sentence: supervisor-mode accesses, then user-mode ones. */
static bool allowed(const struct reading *r, bool user, bool write, bool fetch)
{
    bool wp = world.regs[REG_CR0] & CR0_WP;
    bool smap = world.regs[REG_CR4] & CR4_SMAP, smep = world.regs[REG_CR4] & CR4_SMEP;
    bool ac = world.regs[REG_RFLAGS] & RFLAGS_AC;
    if (user) {
        if (!r->user)
            return false;
        return fetch ? r->executable : write ? r->writable : true;
    }
    if (fetch)
        return r->executable && !(r->user && smep);
    if (r->user && smap && !ac)
        return false;
    return write ? r->writable || !wp : true;
}

struct oracle world_oracle(uint8_t ram[][4096], uint64_t gva, bool write, bool fetch,
                           const struct walk_limits *limits)
{
    struct reading r = {.ram = ram, .limits = limits, .writable = true, .user = true};
    r.executable = true;
    uint64_t cr4 = world.regs[REG_CR4], efer = world.regs[REG_EFER], leaf = 0;
    bool user = (world.regs[REG_SEG_AR + SEG_SS] >> 5 & 3) == 3;
    if (!(world.regs[REG_CR0] & CR0_PG)) {
        r.out.gpa = gva;
        return r.out;
    }
    bool found = cr4 & CR4_PAE ? walk_long(&r, gva, &leaf) : walk_short(&r, gva, &leaf);
    if (found) {
        bool key = false;
        if (efer & EFER_LMA && cr4 & CR4_PKE && r.user && !fetch) {
            unsigned pair = world.regs[REG_PKRU] >> (2 * (leaf >> 59 & 15)) & 3;
            key = pair & 1 || (pair & 2 && write && (user || world.regs[REG_CR0] & CR0_WP));
        }
        r.out.fault = key || !allowed(&r, user, write, fetch);
        r.out.error_code = r.out.fault ? 1 | (key ? 0x20 : 0) : 0;
    }
    if (r.out.fault) {
        bool names_fetch = cr4 & CR4_SMEP || (cr4 & CR4_PAE && efer & EFER_NXE);
        r.out.error_code |= (write ? 2 : 0) | (user ? 4 : 0) | (fetch && names_fetch ? 0x10 : 0);
    }
    for (unsigned i = 0; found && !r.out.fault && i < r.count; i++)
        ((uint8_t *)r.ram)[r.seen[i]] |= i + 1 == r.count && write ? 0x60 : 0x20;
    return r.out;
}

/* ---- The CPU --------------------------------------------------------------------------------- */

void world_code(const void *bytes, unsigned size)
{
    memcpy((uint8_t *)world_ram + WORLD_CODE, bytes, size);
    world.regs[REG_RIP] = WORLD_CODE;
}

void world_init(enum gva_cache mode)
{
    static const struct walk_limits limits = {40, true};
    support_reset();
    memset(&world, 0, sizeof(world));
    memset(world_ram, 0, sizeof(world_ram));
    world.mmu.generation = 2;
    world_slot_add(0, world_ram[0], WORLD_RAM_PAGES, false);
    world.next_table = 0x20000;
    world.regs[REG_CR3] = world_new_cr3();
    world.regs[REG_CR0] = CR0_PE | CR0_PG | CR0_WP;
    world.regs[REG_CR4] = CR4_PAE;
    world.regs[REG_EFER] = EFER_LMA | EFER_NXE;
    world.regs[REG_RFLAGS] = 2;
    world.regs[REG_SEG_AR + SEG_CS] = AR_CODE64;
    world.regs[REG_SEG_AR + SEG_SS] = AR_DATA32;
    for (int i = 0; i < SEG_COUNT; i++)
        world.regs[REG_SEG_LIMIT + i] = 0xffffffff;
    for (int i = SEG_ES; i < SEG_COUNT; i++)
        if (i != SEG_CS)
            world.regs[REG_SEG_AR + i] = AR_DATA32;
    bus_init(&world.bus, "mmio", ~0ull >> 12);
    testdev_init(&world.a, 'A');
    testdev_init(&world.b, 'B');
    assert_int_equal(bus_add(&world.bus, TESTDEV_A_BASE, TESTDEV_SIZE, &testdev_ops, &world.a), 0);
    assert_int_equal(bus_add(&world.bus, TESTDEV_B_BASE, TESTDEV_SIZE, &testdev_ops, &world.b), 0);
    mmio_vcpu_init(&world.vcpu, &world.cpu, &world.mmu, &world.bus, &limits, mode);
}

/* What the CPU holds for the address, or finds in the tables. */
static struct oracle cpu_translate(uint64_t gva, bool write)
{
    if (world.tlb && gva >> 12 == world.tlb_page)
        return (struct oracle){.gpa = world.tlb_frame << 12 | (gva & 0xfff)};
    return world_oracle(world_ram, gva, write, false, &world.vcpu.cache.limits);
}

static enum world_result cpu_access(uint64_t gva, bool write)
{
    for (int entries = 0; entries < 20; entries++) {
        struct oracle at = cpu_translate(gva, write);
        if (at.fault)
            return WORLD_PAGE_FAULT;
        enum spte_state state = world.mmu.sptes[spte_of(&world.mmu, at.gpa >> 12)].state;
        uint8_t *byte = byte_of(&world.mmu, at.gpa, write);
        if (state == SPTE_RAM && byte) {
            if (write)
                memcpy(byte, &world.cpu.gpr[GPR_RBX], 4);
            else
                memcpy(&world.cpu.gpr[GPR_RBX], byte, 4);
            return WORLD_RAM;
        }
        enum mmio_outcome outcome;
        if (state == SPTE_MMIO || state == SPTE_BROKEN) {
            world.misconfigs++;
            outcome = mmio_misconfig(&world.vcpu, GPA(at.gpa), false);
        } else {
            world.violations++;
            uint32_t access = write ? ACCESS_WRITE : ACCESS_READ;
            outcome = mmio_violation(&world.vcpu, GPA(at.gpa), access | FAULT_FINAL, false);
        }
        switch (outcome) {
        case MMIO_DONE:
            return WORLD_EMULATED;
        case MMIO_INJECT:
            return world.vcpu.fault.vector == 14 ? WORLD_PAGE_FAULT : WORLD_OTHER_FAULT;
        case MMIO_END:
            return WORLD_ENDED;
        case MMIO_STALE:
            world.invvpids++;
            world.tlb = false;
            break;
        case MMIO_REENTER:
            break;
        }
    }
    fail_msg("the access never ends");
    return WORLD_ENDED;
}

enum world_result world_store(uint64_t gva, uint32_t value)
{
    world_code("\x89\x18", 2);
    world.cpu.gpr[GPR_RAX] = gva;
    world.cpu.gpr[GPR_RBX] = value;
    return cpu_access(gva, true);
}

enum world_result world_load(uint64_t gva, uint32_t *value)
{
    world_code("\x8b\x18", 2);
    world.cpu.gpr[GPR_RAX] = gva;
    world.cpu.gpr[GPR_RBX] = 0;
    enum world_result result = cpu_access(gva, false);
    *value = (uint32_t)world.cpu.gpr[GPR_RBX];
    return result;
}

void world_invlpg(uint64_t gva)
{
    world.tlb = false;
    if (world.vcpu.cache.mode == GVA_CACHE_EXITS)
        mmio_cache_clear_gva_page(&world.vcpu.cache, GVA(gva));
}

void world_mov_cr3(uint64_t cr3)
{
    world.tlb = false;
    world.regs[REG_CR3] = cr3;
    if (world.vcpu.cache.mode == GVA_CACHE_EXITS)
        mmio_cache_clear_gva(&world.vcpu.cache);
}

/* ---- Randomness ------------------------------------------------------------------------------ */

static uint64_t random_state;

uint64_t world_seed(void)
{
    const char *seed = getenv("SEED");
    random_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
    printf("SEED=%llu\n", (unsigned long long)random_state);
    return random_state;
}

/* splitmix64's shape: a counter, mixed. */
uint64_t world_random(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}
