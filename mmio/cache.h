/*
 * What one vCPU remembers of its MMIO.
 *
 * - The last frame that is known to be MMIO, with the generation of the slots for which that holds
 *   (rules C1 to C5). It answers step 2 of the flow.
 * - Walks of the guest's page tables. EPT lets the guest change its tables and its TLB without an
 *   exit, so a walk can't be kept until the guest says that it is over. `verify` keeps each walk
 * with all of its inputs and reads its entries again: a hit is what a fresh walk would say. `exits`
 *   makes the guest's flushes exit instead and forgets then. `off` keeps none.
 * - Decoded instructions, under their bytes.
 * - Whole accesses, under their RIP: mmio/hot.h.
 *
 * Owned by its vCPU; nothing here is shared.
 */
#pragma once

#include "mmio/bus.h"
#include "mmio/decode.h"
#include "mmio/walk.h"

enum gva_cache {
    GVA_CACHE_OFF,
    GVA_CACHE_EXITS,
    GVA_CACHE_VERIFY,
};

#define MMIO_MEMOS   16 /* of data, and as many of code; powers of two */
#define MMIO_DECODED 16
#define MMIO_HOT     16

/* A walk that ended well, with every input that it had. */
struct memo {
    uint64_t page; /* address >> 12, or MEMO_EMPTY */
    uint64_t key;  /* with the bits of the access */
    uint64_t cr3;
    uint64_t pkru;
    uint64_t generation;
    uint64_t sequence;
    uint64_t frame;      /* the GPA of the page */
    const uint8_t *host; /* code: the page itself, where it is readable RAM */
    uint64_t pdpte;
    uint32_t entry_size;
    uint32_t count;
    struct walk_entry entries[4]; /* unused ones of 8 bytes point to their own value */
};

#define DECODED_EMPTY 0xff /* in insn.code */

struct decoded {
    uint64_t bytes[2]; /* at RIP, whatever of them belongs to the instruction */
    struct insn insn;
};

/* One instruction and the access that it made last. */
struct hot {
    uint64_t rip, next; /* HOT_NONE: nothing is kept here */
    uint64_t bell;      /* the RIP of a write that rings a doorbell, instead of `rip` */
    struct cpu_state state;
    uint64_t generation, sequence, bus_sequence;
    uint64_t pkru; /* if `keyed`: CR4.PKE is set */
    const uint8_t *code;
    gpa_t code_page;
    uint64_t bytes[2];
    struct insn insn;
    uint8_t base, index; /* general registers, or INSN_NO_REG */
    bool keyed;
    bool whole; /* a load that fills the register as it is */
    uint8_t first_entry;
    uint64_t disp;        /* with the base and the index: how far the operand is from `first` */
    uint64_t first, span; /* the place on the bus, as far as it goes in this page */
    uint64_t mask;        /* of the operand's size */
    struct bus_region region;
    __typeof__(((struct bus_ops *)0)->write) write; /* the region's */
    struct walk_entry entries[8]; /* of the walk for the code, then for the data; the last ones; for
                                     a doorbell the first 4, of the code, as in a memo */
};

/* Not canonical, so no instruction is there. */
#define HOT_NONE BIT(62)

static inline void mmio_hot_forget(struct hot *hot)
{
    hot->rip = hot->bell = HOT_NONE;
}

struct mmio_cache {
    enum gva_cache mode;
    struct mmu *mmu;
    struct cpu_regs *cpu;
    struct walk_limits limits;
    alias_t alias;
    uint64_t generation;
    uint64_t gva_hits; /* translations of data that needed no walk */
    struct memo data[MMIO_MEMOS];
    struct memo code[MMIO_MEMOS];
    struct decoded decoded[MMIO_DECODED];
    struct hot hot[MMIO_HOT];
};

/* A translation. On WALK_OK the GPA and, for code in readable RAM, where the page is. */
struct translation {
    gpa_t gpa;
    const uint8_t *host_page;
    uint32_t error_code; /* WALK_FAULT */
};

void mmio_cache_init(struct mmio_cache *cache, enum gva_cache mode, struct mmu *mmu,
                     struct cpu_regs *cpu, const struct walk_limits *limits);

/* Remembers what the MMU said of a frame; page 0 and generation 0 are never kept (C1). */
void mmio_cache_fill(struct mmio_cache *cache, const struct mmio_info *info);

/* Step 2 of the flow: whether `gpa` lies in the frame known to be MMIO, for this generation. */
static inline bool mmio_cache_hit(const struct mmio_cache *cache, gpa_t gpa, uint64_t generation)
{
    return cache->alias.v == gpa_to_alias(gpa).v && cache->generation == generation;
}

/* The guest flushed its TLB (C2): all of it (MOV CR3, CR4, CR0, INVPCID, task switch), or one page
 * in all address spaces (INVLPG, INVPCID of an address). For the exit handlers of gva_cache=exits;
 * harmless in the others. */
void mmio_cache_clear_gva(struct mmio_cache *cache);
void mmio_cache_clear_gva_page(struct mmio_cache *cache, gva_t address);

/* Translates, by a kept walk if there is a valid one, else by a fresh one. `access` as for walk().
 * Needs an epoch. */
enum walk_result mmio_cache_translate(struct mmio_cache *cache, const struct walk_context *context,
                                      gva_t address, uint64_t access,
                                      struct translation *translation) MUST_CHECK;

/* The kept walk for exactly these inputs, or NULL. Its entries have not been read again. */
struct memo *mmio_cache_memo(struct mmio_cache *cache, const struct walk_context *context,
                             gva_t address, uint64_t access);
