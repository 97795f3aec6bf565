/*
 * A small machine for the MMIO tests: RAM, memslots, an EPT of one word per frame, registers, and a
 * CPU that makes one access at a time as silicon would, exits included.
 *
 * It stands where mmu/ and vmx/ stand in the real house: mmio_world.c defines the functions of
 * mmu/mmu.h and vmx/regs.h. It is linked before the library, so the library's are not used.
 */
#pragma once

#include "tests/unit/support.h"

#include "guest/abi.h"
#include "lib/bits.h"
#include "mmio/dev/testdev.h"
#include "mmio/flow.h"
#include "mmio/walk.h"

#define WORLD_RAM_PAGES 256 /* from GPA 0 */
#define WORLD_SLOTS     4
#define WORLD_SPTES     32

#define WORLD_CODE 0x5000ull /* GPA and GVA of the code */

/* Guest page table entry bits. */
#define PTE_P  0x1ull
#define PTE_W  0x2ull
#define PTE_U  0x4ull
#define PTE_A  0x20ull
#define PTE_D  0x40ull
#define PTE_PS 0x80ull
#define PTE_XD (1ull << 63)

#define CR0_PE 0x1ull
#define CR0_WP (1ull << 16)
#define CR0_PG (1ull << 31)

#define CR4_PSE  (1ull << 4)
#define CR4_PAE  (1ull << 5)
#define CR4_LA57 (1ull << 12)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)
#define CR4_PKE  (1ull << 22)

#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)

#define RFLAGS_AC (1ull << 18)

#define AR_CODE64 0xa09bu
#define AR_CODE32 0xc09bu
#define AR_CODE16 0x009bu
#define AR_DATA32 0xc093u
#define AR_DATA16 0x0093u

enum spte_state {
    SPTE_NONE,
    SPTE_RAM,
    SPTE_MMIO,
    SPTE_BROKEN,
};

struct mmu {
    struct {
        uint64_t gfn, pages;
        uint8_t *host;
        bool readonly;
    } slots[WORLD_SLOTS];
    struct {
        uint64_t gfn;
        enum spte_state state;
        uint64_t generation;
    } sptes[WORLD_SPTES];
    uint64_t generation;
    uint64_t sequence;
    int forced_fault;        /* result of mmu_fault(), if not 0 */
    unsigned lost_exchanges; /* the next guest_cmpxchg()s that fail */
    unsigned faults, checks, reads, exchanges;
};

struct world {
    struct cpu_regs cpu;
    uint64_t regs[REG_COUNT];
    unsigned reg_reads[REG_COUNT];
    struct mmu mmu;
    struct bus bus;
    struct testdev a, b;
    struct mmio_vcpu vcpu;
    uint64_t next_table; /* GPA of the next free page table page */
    bool tlb;            /* the CPU holds one translation, which may be outdated */
    uint64_t tlb_page, tlb_frame;
    unsigned invvpids, violations, misconfigs;
};

extern uint8_t world_ram[WORLD_RAM_PAGES][4096];
extern struct world world;

/* 64-bit ring 0 code with WP and NXE, code mapped at WORLD_CODE, testdev A and B on the bus. */
void world_init(enum gva_cache mode);

/* 4-level tables: a new root; a page mapped with `flags` in all levels' W and U. */
uint64_t world_new_cr3(void);
void world_map(uint64_t cr3, uint64_t gva, uint64_t gpa, uint64_t flags);
uint64_t *world_pte(uint64_t cr3, uint64_t gva); /* its last entry */

void world_slot_add(uint64_t gpa, uint8_t *host, uint64_t pages, bool readonly);
void world_slot_delete(uint64_t gpa);
void world_set_spte(uint64_t gpa, enum spte_state state, uint64_t generation);

/* Puts code at RIP and RIP at WORLD_CODE. */
void world_code(const void *bytes, unsigned size);

/* What a walk by the letter of the SDM yields; a second implementation, on `ram`. */
struct oracle {
    bool fault;
    bool outside; /* an entry lies outside RAM */
    uint32_t error_code;
    uint64_t gpa;
};
struct oracle world_oracle(uint8_t ram[][4096], uint64_t gva, bool write, bool fetch,
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

/* The guest's flushes as the hypervisor sees them: only `exits` does anything. */
void world_invlpg(uint64_t gva);
void world_mov_cr3(uint64_t cr3);

uint64_t world_random(void);
uint64_t world_seed(void); /* from SEED, or the clock; printed */
