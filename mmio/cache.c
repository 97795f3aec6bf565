/*
 * The per-vCPU cache: one known MMIO frame and a few kept walks (decision D6). Called by the flow
 * and the emulator of the same vCPU, and by the exit handlers of the guest's flushes. Pure.
 */
#include "mmio/cache.h"

#include "lib/bits.h"
#include "lib/compiler.h"
#include "lib/string.h"
#include "lib/trace.h"

#define MEMO_EMPTY      (~0ull)
#define MODE_NEVER      (~0ull)
#define GENERATION_BUSY BIT(63)
#define ENTRY_W         BIT(1)

void mmio_cache_init(struct mmio_cache *cache, enum gva_cache mode, struct mmu *mmu,
                     struct cpu_regs *cpu, const struct walk_limits *limits)
{
    memset(cache, 0, sizeof(*cache));
    cache->mode = mode;
    cache->mmu = mmu;
    cache->cpu = cpu;
    cache->limits = *limits;
    cache->generation = GENERATION_NEVER;
    for (unsigned i = 0; i < MMIO_MEMOS; i++)
        cache->data[i].page = cache->code[i].page = MEMO_EMPTY;
    for (unsigned i = 0; i < MMIO_DECODED; i++)
        cache->decoded[i].insn.code = DECODED_EMPTY;
    cache->last_mode = MODE_NEVER;
}

void mmio_cache_fill(struct mmio_cache *cache, const struct mmio_info *info)
{
    if (!info->generation || info->generation & GENERATION_BUSY || !info->alias.v)
        return;
    cache->alias = info->alias;
    cache->generation = info->generation;
}

void mmio_cache_clear_gva(struct mmio_cache *cache)
{
    for (unsigned i = 0; i < MMIO_MEMOS; i++)
        cache->data[i].page = cache->code[i].page = MEMO_EMPTY;
    cache->cpu->regime += REGIME_STEP;
}

/* The slot of a page depends on CR3 and the access too, so all are looked at. */
void mmio_cache_clear_gva_page(struct mmio_cache *cache, gva_t address)
{
    uint64_t page = address.v >> PAGE_SHIFT;
    for (unsigned i = 0; i < MMIO_MEMOS; i++) {
        if (cache->data[i].page == page)
            cache->data[i].page = MEMO_EMPTY;
        if (cache->code[i].page == page)
            cache->code[i].page = MEMO_EMPTY;
    }
    cache->cpu->regime += REGIME_STEP;
}

#define ENTRY_NOW(type, i) (*(const volatile type *)memo->entries[i].host ^ memo->entries[i].value)

/* Whether every entry still says what the walk read. Each is read once, from root to leaf: an entry
 * was reached through the ones before it, so if they are unchanged, a fresh walk reads it too. No
 * loop and no branch: this is on the path of every access, twice. */
static inline bool entries_unchanged(const struct memo *memo)
{
    uint64_t difference = 0;
    if (unlikely(memo->entry_size != 8)) {
        for (unsigned i = 0; i < memo->count; i++)
            difference |= ENTRY_NOW(uint32_t, i);
        return !difference;
    }
    difference |= ENTRY_NOW(uint64_t, 0);
    difference |= ENTRY_NOW(uint64_t, 1);
    difference |= ENTRY_NOW(uint64_t, 2);
    difference |= ENTRY_NOW(uint64_t, 3);
    return !difference;
}

/* PAE paging starts at a register that may differ from the memory that CR3 points to. */
static bool pdpte_unchanged(const struct memo *memo, struct cpu_regs *cpu)
{
    return memo->pdpte == cpu_reg(cpu, REG_PDPTE0 + (enum cpu_reg)((memo->page >> 18) & 3));
}

/* Supervisors' writes ask for W and for the page's key if CR0.WP is set; so what is allowed then is
 * allowed without, too, and the other way round if there is nothing that could forbid it. */
static bool needs_wp(uint64_t key, const struct walk *walk)
{
    uint64_t all = ENTRY_W;
    if (!(key & KEY_WRITE) || key & (KEY_USER | KEY_WP))
        return false;
    for (unsigned i = 0; i < walk->count; i++)
        all &= walk->entries[i].value;
    return !all || key & KEY_PKE;
}

static void keep(struct memo *memo, const struct walk_context *context, gva_t address, uint64_t key,
                 const struct walk *walk, const uint8_t *host_page)
{
    memo->page = MEMO_EMPTY;
    if (!walk->keepable || context->sequence & 1 || context->generation & GENERATION_BUSY)
        return;
    memo->page = address.v >> PAGE_SHIFT;
    memo->key = key;
    memo->cr3 = context->cr3;
    memo->pkru = context->pkru;
    memo->generation = context->generation;
    memo->sequence = context->sequence;
    memo->frame = walk->gpa.v & PAGE_MASK;
    memo->host = host_page;
    memo->pdpte = walk->pdpte;
    memo->entry_size = (uint8_t)walk->entry_size;
    memo->by_pdpte = (key & (KEY_PG | KEY_PAE | KEY_LMA)) == (KEY_PG | KEY_PAE);
    memo->count = walk->count;
    memo->needs_wp = needs_wp(key, walk);
    for (unsigned i = 0; i < ARRAY_SIZE(memo->entries); i++) {
        bool used = i < walk->count;
        memo->entries[i] =
            used ? walk->entries[i] : (struct walk_entry){.host = &memo->entries[i].value};
    }
}

/* Where the walk is or would be kept. CR3 and the access take part, so that two address spaces, or
 * a read and a write, of one page do not push each other out. */
static inline struct memo *place(struct mmio_cache *cache, const struct walk_context *context,
                                 gva_t address, uint64_t access)
{
    uint64_t page = address.v >> PAGE_SHIFT;
    uint64_t slot = (page ^ context->cr3 >> PAGE_SHIFT ^ access >> 1) % MMIO_MEMOS;
    return access & KEY_FETCH ? &cache->code[slot] : &cache->data[slot];
}

/* In mode `off` nothing is ever kept. */
static inline bool same_inputs(const struct memo *memo, const struct walk_context *context,
                               gva_t address, uint64_t access)
{
    return memo->page == address.v >> PAGE_SHIFT && memo->cr3 == context->cr3 &&
           memo->key == (context->key | access) && memo->pkru == context->pkru &&
           memo->generation == context->generation && memo->sequence == context->sequence;
}

static NOINLINE enum walk_result translate_afresh(struct mmio_cache *cache,
                                                  const struct walk_context *context, gva_t address,
                                                  uint64_t access, struct translation *translation)
{
    struct walk result;
    enum walk_result outcome =
        walk(cache->mmu, cache->cpu, &cache->limits, context, address, access, &result);
    translation->gpa = result.gpa;
    translation->error_code = result.error_code;
    translation->host_page = NULL;
    if (outcome == WALK_OK) {
        if (access & KEY_FETCH)
            translation->host_page = guest_page(cache->mmu, result.gpa, ACCESS_FETCH);
        if (cache->mode != GVA_CACHE_OFF)
            keep(place(cache, context, address, access), context, address, context->key | access,
                 &result, translation->host_page);
    }
    return outcome;
}

const struct memo *mmio_cache_memo(struct mmio_cache *cache, const struct walk_context *context,
                                   gva_t address, uint64_t access)
{
    const struct memo *memo = place(cache, context, address, access);
    if (unlikely(!same_inputs(memo, context, address, access)))
        return NULL;
    /* `exits` trusts the guest's flushes for data, as a TLB would; code is always verified, because
     * a stale GPA is found out later and stale bytes are not. */
    bool trust = cache->mode == GVA_CACHE_EXITS && !(access & KEY_FETCH);
    if (likely(trust ||
               ((!memo->by_pdpte || pdpte_unchanged(memo, cache->cpu)) && entries_unchanged(memo))))
        return memo;
    return NULL;
}

enum walk_result mmio_cache_translate(struct mmio_cache *cache, const struct walk_context *context,
                                      gva_t address, uint64_t access,
                                      struct translation *translation)
{
    const struct memo *memo = mmio_cache_memo(cache, context, address, access);
    if (unlikely(!memo))
        return translate_afresh(cache, context, address, access, translation);
    translation->gpa = GPA(memo->frame | page_offset(address.v));
    translation->host_page = memo->host;
    if (!(access & KEY_FETCH)) {
        cache->gva_hits++;
        trace(vcpu_match_mmio, address.v, translation->gpa.v, !!(access & KEY_WRITE), false);
    }
    return WALK_OK;
}
