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
#define MMIO_HOT     (1u << MMIO_HOT_BITS)
#define MMIO_HOT_BITS 6

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

/* An entry of a walk, and what it must still say. */
struct hot_entry {
    const void *host;
    uint64_t value;
};

/* One instruction, one place that it touched, and one address space. Four cache lines, of which the
 * last two hold the entries of the walks. */
struct hot {
    uint64_t rip; /* HOT_NONE: nothing is kept here */
    gpa_t gpa;
    uint64_t cr3;
    uint64_t mode; /* cpu_mode() */
    uint64_t generation, sequence, bus_sequence;
    const uint8_t *code;
    uint64_t bytes[2];
    uint64_t registers; /* what base and index make, so that the operand is this place */
    void *device;
    union {
        __typeof__(((struct bus_ops *)0)->read) read;
        __typeof__(((struct bus_ops *)0)->write) write;
    };
    uint32_t offset; /* in the device */
    int32_t imm;
    uint32_t pkru; /* if HOT_KEYED */
    uint8_t flags;  /* HOT_ */
    uint8_t length; /* of the instruction */
    uint8_t size;   /* of the access */
    uint8_t reg_size;
    uint8_t base, index; /* general registers, or INSN_NO_REG; the index with its shift */
    uint8_t reg;
    uint8_t first_entry;
    union {
        struct hot_entry entries[8]; /* of the walk for the code, then for the data; the last ones */
        struct {                     /* HOT_BELL */
            struct hot_entry code[4]; /* unused ones point to their own value */
            uint64_t next;            /* RIP behind the instruction */
        } bell;
    };
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct hot) == 256, "an index is a shift");

#define HOT_BELL       BIT(0) /* a write that rings a doorbell */
#define HOT_WRITE      BIT(1)
#define HOT_IMM        BIT(2) /* of `imm`, not a register */
#define HOT_WHOLE      BIT(3) /* a load that fills the register as it is */
#define HOT_SIGNED     BIT(4)
#define HOT_KEYED      BIT(5)     /* CR4.PKE is set */
#define HOT_CODE_COUNT BITS(7, 6) /* entries of the walk for the code, less one */

#define HOT_INDEX BITS(4, 0)
#define HOT_SHIFT BITS(6, 5)

/* Not canonical, so no instruction is there. */
#define HOT_NONE BIT(62)

/* What would be kept if its place were free, and how often in a row it was looked for in vain. */
struct hot_wish {
    uint32_t mixed, count;
};

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
    struct hot_wish wishes[MMIO_HOT];
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
