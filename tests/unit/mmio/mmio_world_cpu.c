/* SPDX-License-Identifier: MIT */
/*
 * The CPU of the MMIO tests: registers, one access from fetch to end, the exits that it makes and
 * what the hypervisor's dispatcher does with their outcomes. The EPT is walked by the second
 * opinion of the MMU tests, entry by entry as the MMU left it.
 */
#include "tests/unit/mmio/mmio_world.h"
#include "arch/x86/reg_bits.h"
#include "tests/unit/mmu/mmu_world.h"

#include "mmio/emulate.h"
#include "mmio/doorbell.h"
#include "mmio/known.h"
#include "mmio/replay.h"

#include <string.h>

#define VPID 1

static void (*during_update)(void);

/* Registers never become known, so each reading is counted, and a test may change them any time. */
uint64_t cpu_reg_load(struct cpu_regs *cpu, enum cpu_reg reg)
{
    assert_ptr_equal(cpu, &world.cpu);
    world.reg_reads[reg]++;
    return world.regs[reg];
}

void cpu_reg_load_usual(struct cpu_regs *cpu)
{
    (void)cpu;
}

void cpu_set_reg(struct cpu_regs *cpu, enum cpu_reg reg, uint64_t value)
{
    assert_ptr_equal(cpu, &world.cpu);
    world.regs[reg] = value;
}

void cpu_complete(struct cpu_regs *cpu, uint64_t next, uint64_t rflags)
{
    assert_int_equal(rflags, world.regs[REG_RFLAGS]);
    cpu_set_reg(cpu, REG_RIP, next);
    cpu_set_reg(cpu, REG_RFLAGS, rflags & ~RFLAGS_RF);
}

/* ---- Invalidations --------------------------------------------------------------------------- */

/* A second CPU lags behind, so that an update of the slots has to wait for it. */
static void on_kick(unsigned pcpu)
{
    void (*action)(void) = during_update;
    world_leave(pcpu);
    epoch_offline(pcpu);
    during_update = NULL;
    if (action)
        action();
}

void world_during_update(void (*action)(void))
{
    during_update = action;
    kick_hook = on_kick;
    if (action)
        epoch_online(1, NULL);
}

static void flush_guest(unsigned type, gva_t address, enum invvpid_reason reason)
{
    unsigned before = invvpid_calls;
    tlb_invvpid(&world.mmu, type, VPID, address, reason);
    assert_int_equal(invvpid_calls, before + 1);
    world.tlb = false;
}

void world_invlpg(uint64_t gva)
{
    world.tlb = false;
    if (world.vcpu.cache.mode == GVA_CACHE_EXITS) {
        mmio_cache_clear_gva_page(&world.vcpu.cache, GVA(gva));
        flush_guest(INVVPID_ADDRESS, GVA(gva), INVVPID_GUEST);
    }
}

void world_mov_cr3(uint64_t cr3)
{
    world.tlb = false;
    world.regs[REG_CR3] = cr3;
    if (world.vcpu.cache.mode == GVA_CACHE_EXITS) {
        mmio_cache_clear_gva(&world.vcpu.cache);
        flush_guest(INVVPID_SINGLE, GVA(0), INVVPID_GUEST);
    }
}

bool world_mmio_caching = true;

void world_cpu_reset(void)
{
    const struct mmu_config config = {
        .mmio_caching = world_mmio_caching, .ad = true, .huge = true, .slot_generation_start = 1};
    world_reset(WORLD_CAPS, &config);
}

/* ---- One access ------------------------------------------------------------------------------ */

/* With A and D bits in the EPT, a walk of the guest's tables counts as writing them (SDM 3, 29.3.5:
 * accesses to paging-structure entries are treated as writes). */
#define TABLE_ACCESS (ACCESS_READ | ACCESS_WRITE)

static uint8_t *host_of(const struct hw_translation *hw, uint64_t gpa)
{
    return (uint8_t *)phys_to_virt(hw->page) + page_offset(gpa);
}

static uint8_t *table_entry(uint64_t gpa)
{
    struct hw_translation hw = hw_walk(mmu_eptp(&world.mmu), gpa_to_gfn(GPA(gpa)), TABLE_ACCESS);
    return hw.result == HW_OK ? host_of(&hw, gpa) : NULL;
}

/* What the CPU holds for the address, or finds in the tables. */
static struct oracle translate(uint64_t gva, unsigned access)
{
    if (access != ACCESS_FETCH && world.tlb && gva / PAGE_SIZE == world.tlb_page)
        return (struct oracle){.gpa = world.tlb_frame * PAGE_SIZE + page_offset(gva)};
    return world_oracle(table_entry, gva, access == ACCESS_WRITE, access == ACCESS_FETCH,
                        &world.vcpu.cache.limits);
}

/* The guest has set CR0.PG, CR4 or EFER since the last exit: that was an exit of its own. CR0.WP is
 * the guest's to change. */
void world_note_registers(void)
{
    static uint64_t last[3];
    const uint64_t now[] = {world.regs[REG_CR0] & CR0_PG, world.regs[REG_CR4],
                            world.regs[REG_EFER]};
    if (memcmp(last, now, sizeof(now)) != 0)
        world.cpu.regime += REGIME_STEP;
    memcpy(last, now, sizeof(now));
}

static enum mmio_outcome other_access(gpa_t gpa)
{
    if (mmio_known_move(&world.vcpu, gpa, TARGET_UNKNOWN)) {
        world.known++;
        world.vcpu.single_step = false;
        return MMIO_DONE;
    }
    return mmio_misconfig(&world.vcpu, gpa, false);
}

/* Whether an entry serves the access, as explanations say it. */
static bool is_served(uint64_t rip, gpa_t gpa, uint64_t cr3, uint64_t mode)
{
    const struct replay *pair = mmio_replay_at(&world.vcpu, rip, gpa, cr3);
    unsigned reads = world.reg_reads[REG_PKRU];
    bool serves = mmio_replay_why(&world.vcpu, &pair[0], rip, gpa, cr3, mode) == REPLAY_SERVES ||
                  mmio_replay_why(&world.vcpu, &pair[1], rip, gpa, cr3, mode) == REPLAY_SERVES;
    world.reg_reads[REG_PKRU] = reads;
    return serves;
}

/* Makes the access by its replay entry, if it has one that holds or follows the slots. */
static bool replays(struct replay *replay, uint64_t rflags)
{
    uint64_t hits = world.vcpu.cache.gva_hits;
    if (replay->flags & REPLAY_BELL) {
        bool rings = mmio_replay_bell(&world.vcpu, replay, rflags, mmio_advance);
        world.bells += rings;
        return rings;
    }
    if (!mmio_replay_move(&world.vcpu, replay, rflags, mmio_advance, NULL))
        return false;
    world.replay += world.vcpu.cache.gva_hits != hits; /* the entry held without an update */
    return true;
}

/* Handles an EPT misconfiguration as vm/dispatch.c does. */
enum mmio_outcome world_misconfig(gpa_t gpa, bool delivering)
{
    world_note_registers();
    uint64_t rip = world.regs[REG_RIP], cr3 = world.regs[REG_CR3];
    uint64_t rflags = world.regs[REG_RFLAGS];
    uint64_t mode = cpu_mode(&world.cpu, rflags, world.regs[REG_SEG_AR + SEG_CS]);
    struct replay *replay = mmio_replay_find(&world.vcpu, rip, gpa, cr3, mode);
    if (delivering)
        return mmio_misconfig(&world.vcpu, gpa, true);
    bool serves = is_served(rip, gpa, cr3, mode);
    if (!replay) {
        assert_false(serves);
        return other_access(gpa);
    }
    unsigned made = world.replay + world.bells, bell = replay->flags & REPLAY_BELL;
    bool done = replays(replay, rflags);
    assert_int_equal(world.replay + world.bells != made, serves);
    if (done)
        return MMIO_DONE;
    return bell ? other_access(gpa) : mmio_misconfig(&world.vcpu, gpa, false);
}

/* How far the CPU got: to memory, or to a page fault of its own, or out of the guest. */
struct step {
    uint8_t *memory;
    bool page_fault;
    enum mmio_outcome outcome;
};

static struct step reach(uint64_t gva, unsigned access)
{
    struct oracle at = translate(gva, access);
    if (at.fault)
        return (struct step){.page_fault = true};
    unsigned wanted = at.outside ? TABLE_ACCESS : access;
    struct hw_translation hw = hw_walk(mmu_eptp(&world.mmu), gpa_to_gfn(GPA(at.gpa)), wanted);
    if (hw.result == HW_OK) {
        assert_false(at.outside);
        return (struct step){.memory = host_of(&hw, at.gpa)};
    }
    if (hw.result == HW_MISCONFIG) {
        world.misconfigs++;
        return (struct step){.outcome = world_misconfig(GPA(at.gpa), false)};
    }
    world.violations++;
    world_note_registers();
    uint32_t error_code =
        wanted | (hw.permission ? FAULT_PRESENT : 0) | (at.outside ? 0 : FAULT_FINAL);
    return (struct step){.outcome = mmio_violation(&world.vcpu, GPA(at.gpa), error_code, false)};
}

static void perform(uint8_t *memory, bool write)
{
    if (write)
        memcpy(memory, &world.cpu.gpr[GPR_RBX], 4);
    else
        memcpy(&world.cpu.gpr[GPR_RBX], memory, 4);
}

/* Enters the guest until the instruction is done or never will be. */
static enum world_result run(uint64_t gva, bool write)
{
    assert_true(page_offset(gva) <= PAGE_SIZE - 4);
    for (int entries = 0; entries < 20; entries++) {
        tlb_enter(&world.mmu, support_cpu);
        tlb_assert_paid(&world.mmu, support_cpu);
        struct step step = reach(world.regs[REG_RIP], ACCESS_FETCH);
        if (step.memory)
            step = reach(gva, write ? ACCESS_WRITE : ACCESS_READ);
        if (step.memory) {
            perform(step.memory, write);
            return WORLD_RAM;
        }
        if (step.page_fault)
            return WORLD_PAGE_FAULT;
        switch (step.outcome) {
        case MMIO_DONE:
            return WORLD_EMULATED;
        case MMIO_INJECT:
            return world.vcpu.fault.vector == 14 ? WORLD_PAGE_FAULT : WORLD_OTHER_FAULT;
        case MMIO_PASS: /* the tests of tracked pages ask the flow itself */
        case MMIO_VE:   /* no VM of these tests takes #VE */
        case MMIO_END:
            return WORLD_ENDED;
        case MMIO_STALE:
            flush_guest(INVVPID_SINGLE, GVA(0), INVVPID_STALE);
            break;
        case MMIO_REENTER:
            break;
        }
    }
    fail_msg("the access never ends");
    return WORLD_ENDED;
}

static void instruction(uint64_t gva, bool write)
{
    world_code(write ? "\x89\x18" : "\x8b\x18", 2);
    world.cpu.gpr[GPR_RAX] = gva;
}

enum world_result world_store(uint64_t gva, uint32_t value)
{
    instruction(gva, true);
    world.cpu.gpr[GPR_RBX] = value;
    return run(gva, true);
}

enum world_result world_load(uint64_t gva, uint32_t *value)
{
    instruction(gva, false);
    world.cpu.gpr[GPR_RBX] = 0;
    enum world_result result = run(gva, false);
    *value = (uint32_t)world.cpu.gpr[GPR_RBX];
    return result;
}

enum mmio_outcome world_exit(uint64_t gva, uint64_t gpa, bool write)
{
    instruction(gva, write);
    return world_misconfig(GPA(gpa), false);
}
