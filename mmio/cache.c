/* SPDX-License-Identifier: MIT */
/*
 * The per-vCPU cache of one MMIO frame and of walks (D6). Called by the flow and the emulator of
 * the same vCPU, and by the exit handlers of the guest's flushes. Pure.
 */
#include "mmio/cache.h"

#include "lib/bits.h"
#include "lib/compiler.h"
#include "lib/string.h"
#include "lib/trace.h"

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
    for (unsigned i = 0; i < MMIO_CACHED_WALKS; i++)
        cache->data[i].page = cache->code[i].page = CACHED_WALK_EMPTY;
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
    for (unsigned i = 0; i < MMIO_CACHED_WALKS; i++)
        cache->data[i].page = cache->code[i].page = CACHED_WALK_EMPTY;
    cache->cpu->regime += REGIME_STEP;
}

/* The slot of a page also depends on CR3 and the access, so that any slot may hold the page. */
void mmio_cache_clear_gva_page(struct mmio_cache *cache, gva_t address)
{
    uint64_t page = address.v >> PAGE_SHIFT;
    for (unsigned i = 0; i < MMIO_CACHED_WALKS; i++) {
        if (cache->data[i].page == page)
            cache->data[i].page = CACHED_WALK_EMPTY;
        if (cache->code[i].page == page)
            cache->code[i].page = CACHED_WALK_EMPTY;
    }
    cache->cpu->regime += REGIME_STEP;
}

/* Whether setting CR0.WP could deny a supervisor write that was allowed with CR0.WP clear: WP adds
 * the checks of W and of the protection key. Clearing WP denies nothing. */
static bool cached_walk_needs_wp(uint64_t key, const struct walk *walk)
{
    uint64_t all = ENTRY_W;
    if (!(key & KEY_WRITE) || key & (KEY_USER | KEY_WP))
        return false;
    for (unsigned i = 0; i < walk->count; i++)
        all &= walk->entries[i].value;
    return !all || key & KEY_PKE;
}

static void cached_walk_keep(struct cached_walk *cached, const struct walk_context *context,
                             gva_t address, uint64_t key, const struct walk *walk,
                             const uint8_t *host_page)
{
    cached->page = CACHED_WALK_EMPTY;
    if (!walk->keepable || context->sequence & 1 || context->generation & GENERATION_BUSY)
        return;
    cached->page = address.v >> PAGE_SHIFT;
    cached->key = key;
    cached->cr3 = context->cr3;
    cached->pkru = context->pkru;
    cached->generation = context->generation;
    cached->sequence = context->sequence;
    cached->frame = walk->gpa.v & PAGE_MASK;
    cached->host = host_page;
    cached->pdpte = walk->pdpte;
    cached->entry_size = (uint8_t)walk->entry_size;
    cached->by_pdpte = (key & (KEY_PG | KEY_PAE | KEY_LMA)) == (KEY_PG | KEY_PAE);
    cached->count = walk->count;
    cached->needs_wp = cached_walk_needs_wp(key, walk);
    for (unsigned i = 0; i < ARRAY_SIZE(cached->entries); i++) {
        bool used = i < walk->count;
        cached->entries[i] =
            used ? walk->entries[i] : (struct walk_entry){.host = &cached->entries[i].value};
    }
}

static NOINLINE enum walk_result translate_by_walk(struct mmio_cache *cache,
                                                   const struct walk_context *context,
                                                   gva_t address, uint64_t access,
                                                   struct translation *translation)
{
    struct walk result;
    const struct cached_walk *cached = cached_walk_slot(cache, context, address, access);
    enum walk_why why = cached_walk_why(cache, cached, context, address, access);
    if (access & KEY_FETCH)
        cache->miss.code = (uint8_t)why;
    else
        cache->miss.data = (uint8_t)why;
    enum walk_result outcome =
        walk(cache->mmu, cache->cpu, &cache->limits, context, address, access, &result);
    translation->gpa = result.gpa;
    translation->error_code = result.error_code;
    translation->host_page = NULL;
    if (outcome == WALK_OK) {
        if (access & KEY_FETCH)
            translation->host_page = guest_page(cache->mmu, result.gpa, ACCESS_FETCH);
        if (cache->mode != GVA_CACHE_OFF)
            cached_walk_keep(cached_walk_slot(cache, context, address, access), context, address,
                             context->key | access, &result, translation->host_page);
    }
    return outcome;
}

enum walk_result mmio_cache_translate(struct mmio_cache *cache, const struct walk_context *context,
                                      gva_t address, uint64_t access,
                                      struct translation *translation)
{
    const struct cached_walk *cached = mmio_cached_walk(cache, context, address, access);
    if (unlikely(!cached))
        return translate_by_walk(cache, context, address, access, translation);
    translation->gpa = GPA(cached->frame | page_offset(address.v));
    translation->host_page = cached->host;
    if (!(access & KEY_FETCH)) {
        cache->gva_hits++;
        trace(vcpu_match_mmio, address.v, translation->gpa.v, !!(access & KEY_WRITE), false);
    }
    return WALK_OK;
}
