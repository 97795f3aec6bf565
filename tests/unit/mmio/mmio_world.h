/* SPDX-License-Identifier: MIT */
/*
 * A small machine for the MMIO tests: one VM with the real MMU, 2 MiB of RAM in a slot, two test
 * devices, and a CPU that makes one access at a time as silicon would, exits included.
 *
 * Only the CPU is made up: its registers (arch/x86/regs.h), its walks of the guest's tables and of
 * the EPT, a TLB of one entry, INVEPT and INVVPID. mmio_world.c builds the machine and the guest's
 * page tables, mmio_world_cpu.c is the CPU, mmio_world_oracle.c its guest paging.
 */
#pragma once

#include "tests/unit/support.h"

#include "guest/abi.h"
#include "lib/bits.h"
#include "dev/testdev.h"
#include "mmio/flow.h"
#include "mmio/walk.h"

#define WORLD_RAM_PAGES 512ull /* from GPA 0 */
#define WORLD_RAM_SIZE  (WORLD_RAM_PAGES * PAGE_SIZE)

#define WORLD_CODE 0x5000ull /* GPA and GVA of the code */

/* Guest page table entry bits. */
#define PTE_P  0x1ull
#define PTE_W  0x2ull
#define PTE_U  0x4ull
#define PTE_A  0x20ull
#define PTE_D  0x40ull
#define PTE_PS 0x80ull
#define PTE_XD (1ull << 63)

#define AR_CODE64 0xa09bu
#define AR_CODE32 0xc09bu
#define AR_CODE16 0x009bu
#define AR_DATA32 0xc093u
#define AR_DATA16 0x0093u

struct world {
    struct cpu_regs cpu;
    uint64_t regs[REG_COUNT];
    unsigned reg_reads[REG_COUNT];
    struct mmu mmu;
    struct bus bus;
    struct testdev a, b;
    struct mmio_vcpu vcpu;
    uint64_t next_table; /* GPA of the next free page table page */
    bool tlb;            /* the CPU holds one translation of data, which may be outdated */
    uint64_t tlb_page, tlb_frame;
    unsigned violations, misconfigs; /* exits of the CPU */
    unsigned replay;                 /* of these, accesses that mmio/replay.c made, */
    unsigned bells;                  /* doorbells that it rang, */
    unsigned known;                  /* and accesses that mmio/known.c made at once */
};

extern struct world world;
extern uint8_t (*world_ram)[PAGE_SIZE]; /* the RAM, which is one block of the host */

/* 64-bit ring 0 code with WP and NXE, code mapped at WORLD_CODE, testdev A and B on the bus, all
 * RAM mapped by the EPT. Ends the world before it, if there is one. */
void world_init(enum gva_cache mode);

/* Teardown: destroys the VM. Fails if a page is left or something warned. */
int world_end(void **state);

/* ---- The guest's 4-level tables -------------------------------------------------------------- */

uint64_t world_new_cr3(void); /* a new root, with the code in it */
void world_map(uint64_t cr3, uint64_t gva, uint64_t gpa, uint64_t flags);

/* The entry of `level`, 4 to 1, for `gva`; makes the tables above, with W and U. */
uint64_t *world_entry(uint64_t cr3, uint64_t gva, unsigned level);

static inline uint64_t *world_pte(uint64_t cr3, uint64_t gva)
{
    return world_entry(cr3, gva, 1);
}

static inline void *world_table(uint64_t gpa)
{
    return world_ram[gpa / PAGE_SIZE];
}

/* Puts code at RIP and RIP at WORLD_CODE. */
void world_code(const void *bytes, unsigned size);

/* ---- Slots and SPTEs ------------------------------------------------------------------------- */

void world_slot_add(uint64_t gpa, uint64_t pages, uint32_t flags);
void world_slot_delete(uint64_t gpa);
uint8_t *world_page(uint64_t gpa); /* the host's page behind a GPA in a slot; populates it */

/* Leaves a current MMIO SPTE and an empty MMIO cache behind: as if another vCPU had touched it. */
void world_mmio_spte(uint64_t gpa);
uint64_t *world_sptep(uint64_t gpa); /* the lowest entry of the walk, for writing it by hand */

/* ---- The CPU --------------------------------------------------------------------------------- */

/* Configures the MMU for this CPU. Whoever wants no MMIO SPTEs says so before, and sets it back. */
extern bool world_mmio_caching;
void world_cpu_reset(void);

/* What a walk by the letter of the SDM yields; a second implementation. `memory` tells where the
 * table entry at a GPA can be read and written, or NULL. */
struct oracle {
    bool fault;
    bool outside; /* no memory at `gpa`, where an entry was looked for */
    uint32_t error_code;
    uint64_t gpa;
};
struct oracle world_oracle(uint8_t *(*memory)(uint64_t gpa), uint64_t gva, bool write, bool fetch,
                           const struct walk_limits *limits);

/* One store or load of 32 bits at `gva` by the CPU: `mov [rax], ebx` or `mov ebx, [rax]`. */
enum world_result {
    WORLD_RAM, /* the CPU did it alone */
    WORLD_EMULATED,
    WORLD_PAGE_FAULT, /* found by the CPU, or injected */
    WORLD_OTHER_FAULT,
    WORLD_ENDED,
};
enum world_result world_store(uint64_t gva, uint32_t value);
enum world_result world_load(uint64_t gva, uint32_t *value);

/* The misconfiguration exit of the same instructions, whatever the CPU would find now: what a stale
 * TLB entry does. */
enum mmio_outcome world_exit(uint64_t gva, uint64_t gpa, bool write);

/* A misconfiguration at RIP, answered as vm/dispatch.c has it answered. */
void world_note_registers(void);
enum mmio_outcome world_misconfig(gpa_t gpa, bool delivering);

/* The guest's flushes as the hypervisor sees them: in `exits` they exit. */
void world_invlpg(uint64_t gva);
void world_mov_cr3(uint64_t cr3);

/* Runs `action` once, during the next update of the slots: what another CPU does meanwhile. */
void world_during_update(void (*action)(void));

/* ---- Randomness ------------------------------------------------------------------------------ */

uint64_t world_random(void);
uint64_t world_seed(void); /* from SEED, or the clock; printed */
