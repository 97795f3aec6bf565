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
 *
 * Owned by its vCPU; nothing here is shared.
 */
#pragma once

#include "mmio/bus.h"
#include "mmio/decode.h"
#include "mmio/move.h"
#include "mmio/walk.h"

enum gva_cache {
    GVA_CACHE_OFF,
    GVA_CACHE_EXITS,
    GVA_CACHE_VERIFY,
};

#define MMIO_MEMOS   16 /* of data, and as many of code; powers of two */
#define MMIO_DECODED 32
#define MMIO_PLACES  8

#define MMIO_MULTIPLIER 0x42108647u /* of mmio_mix() */

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
    uint32_t count;
    uint8_t entry_size;
    bool by_pdpte;                /* PAE paging: the walk began at a register */
    bool needs_wp;                /* with another CR0.WP it may end otherwise */
    struct walk_entry entries[4]; /* unused ones of 8 bytes point to their own value */
};

#define DECODED_EMPTY 0xff /* in insn.code */

struct decoded {
    uint64_t bytes[2]; /* at RIP, whatever of them belongs to the instruction */
    struct insn insn;
    struct move move;
};

/* Where accesses of one size and direction to some page led to on the bus. */
struct place {
    struct bus_hint hint; /* its sequence 0: nowhere */
    uint64_t page;
    uint64_t
        generation; /* of the slots: the page is known to be MMIO; GENERATION_NEVER: it is not */
    uint8_t size;
    bool write;
};
#define GENERATION_NEVER (~0ull) /* bit 63: no current generation has it */

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
    struct place places[MMIO_PLACES];

    /* The mode (cpu_mode()) of the last emulated plain 64-bit code, and its bits of the key. */
    uint64_t last_mode, last_key;
};

/* A translation. On WALK_OK the GPA and, for code in readable RAM, where the page is. */
struct translation {
    gpa_t gpa;
    const uint8_t *host_page;
    uint32_t error_code; /* WALK_FAULT */
};

/* A number of 32 bits whose upper ones say where something is kept. The multiplier is the one, of
 * many that were tried, that spreads best what drivers do: 64 instructions side by side, 64
 * registers, both crossed, and the same in two address spaces. */
static inline uint32_t mmio_mix(uint64_t value)
{
    return (uint32_t)value * MMIO_MULTIPLIER;
}

/* Where an instruction is kept that is or was decoded at RIP. */
static inline struct decoded *mmio_decoded_at(struct mmio_cache *cache, uint64_t rip)
{
    return &cache->decoded[mmio_mix(rip) / (BIT(32) / MMIO_DECODED)];
}

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

/* The kept walk for these inputs, if a fresh one would say the same; else NULL. Needs an epoch. */
const struct memo *mmio_cache_memo(struct mmio_cache *cache, const struct walk_context *context,
                                   gva_t address, uint64_t access);
