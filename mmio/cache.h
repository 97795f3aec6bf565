/* SPDX-License-Identifier: MIT */
/*
 * The MMIO cache of one vCPU.
 *
 * - The last frame known to be MMIO, with the generation of the slots for which this holds (C1 to
 *   C5). It serves step 2 of the flow.
 * - Walks of the guest's page tables. With EPT, the guest changes its tables and flushes its TLB
 *   without an exit, so that no flush tells when a cached walk is outdated. `verify` caches each
 *   walk with all its inputs and reads its entries again: a hit has the result of a new walk.
 *   `exits` makes the guest's flushes exit instead and clears the cache then. `off` caches no walk.
 * - Decoded instructions, with their bytes.
 *
 * The vCPU owns its cache; nothing in it is shared.
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

#define MMIO_CACHED_WALKS 16 /* each for data and code; a power of two, like the next two */
#define MMIO_DECODED      32
#define MMIO_BUS_RANGES   8

#define MMIO_MULTIPLIER 0x42108647u /* of mmio_mix() */

#define CACHED_WALK_EMPTY (~0ull) /* in cached_walk.page */

/* A successful walk with all its inputs. */
struct cached_walk {
    uint64_t page; /* address >> 12, or CACHED_WALK_EMPTY */
    uint64_t key;  /* includes KEY_WRITE or KEY_FETCH */
    uint64_t cr3;
    uint64_t pkru;
    uint64_t generation;
    uint64_t sequence;
    uint64_t frame;      /* GPA of the page */
    const uint8_t *host; /* of code: the page in host memory if it is readable RAM, else NULL */
    uint64_t pdpte;
    uint32_t count;
    uint8_t entry_size;
    bool by_pdpte;                /* PAE paging: the walk began at a PDPTE register */
    bool needs_wp;                /* the result may depend on CR0.WP */
    struct walk_entry entries[4]; /* `host` of unused ones points to their own `value` */
};

/* Why a cached walk does not serve: the first input that differs, or entry that has changed. */
enum walk_why {
    WALK_SERVES,
    WALK_OTHER_PAGE, /* the slot is empty, or holds the walk of another page */
    WALK_OTHER_CR3,
    WALK_OTHER_KEY, /* the kind of access, or the mode */
    WALK_OTHER_PKRU,
    WALK_OTHER_GENERATION,
    WALK_OTHER_SEQUENCE,
    WALK_OTHER_ENTRY, /* of the guest's tables, or a PDPTE */
};

#define DECODED_EMPTY 0xff /* in insn.code */

/* Why a decoded instruction does not serve. */
enum decoded_why {
    DECODED_SERVES,
    DECODED_OTHER_BYTES, /* the slot is empty or holds others; or the guest has changed its code */
    DECODED_OTHER_MODE,  /* 16, 32 or 64-bit code, or none that is kept */
    DECODED_PAGE_END,    /* 16 bytes at RIP reach beyond the page or the limit of CS */
    DECODED_NOT_RAM,     /* the code is not in readable RAM */
};

struct decoded {
    uint64_t bytes[2]; /* the 16 bytes at RIP, which may exceed the instruction */
    struct insn insn;
    struct move move;
};

/* The bus range of accesses of one size and direction to a page. */
struct bus_range {
    struct bus_hint hint; /* sequence 0: empty */
    uint64_t page;
    uint64_t generation; /* of the slots for which the page is MMIO, or GENERATION_NEVER */
    uint8_t size;
    bool write;
};
#define GENERATION_NEVER (~0ull) /* has bit 63 set, unlike any current generation */

/* The last access that no replay entry served, and what else did not. For the monitor; written by
 * the slower paths only, where the last three stay 0 if they were not asked. */
struct mmio_miss {
    uint64_t rip;
    gpa_t gpa;
    union {
        uint64_t whys;
        struct {
            uint8_t replay;  /* enum replay_why; 0: there was no entry */
            uint8_t known;   /* enum known_why; 0: mmio/known.h made the access */
            uint8_t decoded; /* enum decoded_why */
            uint8_t code;    /* enum walk_why, of the walk to the instruction */
            uint8_t data;    /* and to the operand */
        };
    };
};

struct mmio_cache {
    enum gva_cache mode;
    struct mmu *mmu;
    struct cpu_regs *cpu;
    struct walk_limits limits;
    alias_t alias;
    uint64_t generation;
    uint64_t gva_hits; /* translations of data without a walk */
    struct cached_walk data[MMIO_CACHED_WALKS];
    struct cached_walk code[MMIO_CACHED_WALKS];
    struct decoded decoded[MMIO_DECODED];
    struct bus_range ranges[MMIO_BUS_RANGES];

    /* cpu_mode() and walk_context.key of the last emulated code that mmio/known.h supports. */
    uint64_t last_mode, last_key;

    struct mmio_miss miss;
};

/* The result of a translation. */
struct translation {
    gpa_t gpa;
    const uint8_t *host_page; /* WALK_OK: of code in readable RAM, its page; else NULL */
    uint32_t error_code;      /* WALK_FAULT */
};

/* A 32-bit hash whose upper bits are an index. The multiplier was chosen among many by the spread
 * of typical driver accesses: 64 adjacent instructions, 64 registers, the product of both, and each
 * of these in two address spaces. */
static inline uint32_t mmio_mix(uint64_t value)
{
    return (uint32_t)value * MMIO_MULTIPLIER;
}

/* The slot of the decoded instruction at RIP. */
static inline struct decoded *mmio_decoded_at(struct mmio_cache *cache, uint64_t rip)
{
    return &cache->decoded[mmio_mix(rip) / (BIT(32) / MMIO_DECODED)];
}

void mmio_cache_init(struct mmio_cache *cache, enum gva_cache mode, struct mmu *mmu,
                     struct cpu_regs *cpu, const struct walk_limits *limits);

/* Caches the MMU's answer that a frame is MMIO; page 0 and generation 0 are never cached (C1). */
void mmio_cache_fill(struct mmio_cache *cache, const struct mmio_info *info);

/* Step 2 of the flow: whether `gpa` lies in the frame that is MMIO in this generation. */
static inline bool mmio_cache_hit(const struct mmio_cache *cache, gpa_t gpa, uint64_t generation)
{
    return cache->alias.v == gpa_to_alias(gpa).v && cache->generation == generation;
}

/* The guest flushed its TLB (C2): either all of it (MOV CR3, CR4, CR0, INVPCID, task switch), or
 * one page in all address spaces (INVLPG, INVPCID of an address). For the exit handlers of
 * gva_cache=exits; harmless in the other modes. */
void mmio_cache_clear_gva(struct mmio_cache *cache);
void mmio_cache_clear_gva_page(struct mmio_cache *cache, gva_t address);

/* Translates by a valid cached walk, or else by a new walk. `access` as for walk(). The caller is
 * inside an epoch. */
enum walk_result mmio_cache_translate(struct mmio_cache *cache, const struct walk_context *context,
                                      gva_t address, uint64_t access,
                                      struct translation *translation) MUST_CHECK;

/* ---- Looking up a walk: inlined, because every access does it twice -------------------------- */

#define ENTRY_NOW(type, i) \
    (*(const volatile type *)cached->entries[i].host ^ cached->entries[i].value)

/* Whether every entry still has the value that the walk read. Each entry is read once, from the
 * root to the leaf: the entries before it are unchanged, so a new walk would reach it as well.
 * There is neither a loop nor a branch, because every access comes here twice. */
static ALWAYS_INLINE bool cached_entries_unchanged(const struct cached_walk *cached)
{
    uint64_t difference = 0;
    if (unlikely(cached->entry_size != 8)) {
        for (unsigned i = 0; i < cached->count; i++)
            difference |= ENTRY_NOW(uint32_t, i);
        return !difference;
    }
    difference |= ENTRY_NOW(uint64_t, 0);
    difference |= ENTRY_NOW(uint64_t, 1);
    difference |= ENTRY_NOW(uint64_t, 2);
    difference |= ENTRY_NOW(uint64_t, 3);
    return !difference;
}

/* PAE walks start at a PDPTE register, which may differ from the table at CR3. */
static inline bool cached_pdpte_unchanged(const struct cached_walk *cached, struct cpu_regs *cpu)
{
    return cached->pdpte == cpu_reg(cpu, REG_PDPTE0 + (enum cpu_reg)((cached->page >> 18) & 3));
}

/* The slot of a walk. It depends on CR3 and the access, so that two address spaces, or reads and
 * writes, of one page do not evict each other. */
static ALWAYS_INLINE struct cached_walk *cached_walk_slot(struct mmio_cache *cache,
                                                          const struct walk_context *context,
                                                          gva_t address, uint64_t access)
{
    uint64_t page = address.v >> PAGE_SHIFT;
    uint64_t slot = (page ^ context->cr3 >> PAGE_SHIFT ^ access >> 1) % MMIO_CACHED_WALKS;
    return access & KEY_FETCH ? &cache->code[slot] : &cache->data[slot];
}

/* Never WALK_SERVES in mode `off`, which caches no walk. */
static ALWAYS_INLINE enum walk_why cached_walk_inputs(const struct cached_walk *cached,
                                                      const struct walk_context *context,
                                                      gva_t address, uint64_t access)
{
    return cached->page != address.v >> PAGE_SHIFT     ? WALK_OTHER_PAGE
           : cached->cr3 != context->cr3               ? WALK_OTHER_CR3
           : cached->key != (context->key | access)    ? WALK_OTHER_KEY
           : cached->pkru != context->pkru             ? WALK_OTHER_PKRU
           : cached->generation != context->generation ? WALK_OTHER_GENERATION
           : cached->sequence != context->sequence     ? WALK_OTHER_SEQUENCE
                                                       : WALK_SERVES;
}

/* Whether a new walk with these inputs would have the same result as the cached one, or why
 * perhaps not. The caller is inside an epoch. */
static ALWAYS_INLINE enum walk_why cached_walk_why(const struct mmio_cache *cache,
                                                   const struct cached_walk *cached,
                                                   const struct walk_context *context,
                                                   gva_t address, uint64_t access)
{
    enum walk_why why = cached_walk_inputs(cached, context, address, access);
    if (unlikely(why != WALK_SERVES))
        return why;
    /* For data, `exits` trusts the guest's flushes, as a TLB does. Code is always verified, because
     * a stale GPA of data is detected later, and stale bytes of code are not. */
    bool trust = cache->mode == GVA_CACHE_EXITS && !(access & KEY_FETCH);
    if (likely(trust || ((!cached->by_pdpte || cached_pdpte_unchanged(cached, cache->cpu)) &&
                         cached_entries_unchanged(cached))))
        return WALK_SERVES;
    return WALK_OTHER_ENTRY;
}

/* The cached walk for these inputs if it serves, else NULL. */
static ALWAYS_INLINE const struct cached_walk *mmio_cached_walk(struct mmio_cache *cache,
                                                                const struct walk_context *context,
                                                                gva_t address, uint64_t access)
{
    const struct cached_walk *cached = cached_walk_slot(cache, context, address, access);
    return likely(cached_walk_why(cache, cached, context, address, access) == WALK_SERVES) ? cached
                                                                                           : NULL;
}

/* Whether a decoded instruction is that of these bytes in code of this size. */
static ALWAYS_INLINE enum decoded_why mmio_decoded_why(const struct decoded *decoded,
                                                       const uint64_t bytes[2], enum code_size code)
{
    if (likely(decoded->bytes[0] == bytes[0] && decoded->bytes[1] == bytes[1]))
        return likely(decoded->insn.code == code) ? DECODED_SERVES : DECODED_OTHER_MODE;
    return DECODED_OTHER_BYTES;
}
