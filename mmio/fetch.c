/* SPDX-License-Identifier: MIT */
/*
 * Instruction fetch. Called by the emulator. Reads guest memory, and sets accessed bits of the
 * guest's page tables by the walk, as the CPU's own fetch did. Pure.
 */
#include "mmio/fetch.h"

#include "lib/errno.h"
#include "lib/string.h"

#define VECTOR_UD 6
#define VECTOR_GP 13

/* A fetch in progress. */
struct fetch {
    struct mmio_vcpu *vcpu;
    const struct walk_context *context;
    uint64_t linear;  /* of the first byte */
    unsigned allowed; /* bytes, from mmio_fetch_limit() */
    unsigned count;   /* bytes fetched */
    gpa_t gpa;        /* of the exit */
    uint8_t bytes[INSN_MAX + 1];
};

/* Fetches the bytes up to the end of the page, but at most the allowed ones. */
static enum mmio_outcome fetch_page(struct fetch *f)
{
    struct mmio_vcpu *v = f->vcpu;
    uint64_t at = f->linear + f->count;
    if (mmio_code_size(f->context) != CODE_64)
        at = (uint32_t)at;
    struct translation code;
    enum walk_result result =
        mmio_cache_translate(&v->cache, f->context, GVA(at), KEY_FETCH, &code);
    if (result != WALK_OK)
        return mmio_walk_failed(v, f->context, result, at, &code);

    unsigned size = f->allowed - f->count;
    uint64_t in_page = PAGE_SIZE - page_offset(at);
    if (size > in_page)
        size = (unsigned)in_page;
    int error = guest_read(v->mmu, code.gpa, f->bytes + f->count, size, ACCESS_FETCH);
    f->count += size;
    if (!error)
        return MMIO_DONE;
    if (error == -EFAULT)
        return mmio_end(v, MMIO_END_FETCH, code.gpa, "the instruction itself lies outside RAM",
                        "run code from RAM");
    return mmio_refused(v, code.gpa, ACCESS_FETCH, error);
}

/* Fetches page by page: the second page is translated, and may fault, only if the instruction
 * extends into it. */
static enum mmio_outcome fetch_slowly(struct fetch *f, struct insn *insn, bool *memory)
{
    enum decode_result result = DECODE_TRUNCATED;
    f->count = 0;
    while (result == DECODE_TRUNCATED) {
        if (f->count == f->allowed)
            return mmio_inject(f->vcpu, f->context, VECTOR_GP, 0);
        enum mmio_outcome outcome = fetch_page(f);
        if (outcome != MMIO_DONE)
            return outcome;
        result = decode(f->bytes, f->count, mmio_code_size(f->context), insn);
    }
    switch (result) {
    case DECODE_OK:
    case DECODE_NO_MEMORY:
        *memory = result == DECODE_OK;
        return MMIO_DONE;
    case DECODE_UNDEFINED:
        return mmio_inject(f->vcpu, f->context, VECTOR_UD, 0);
    case DECODE_TOO_LONG:
        return mmio_inject(f->vcpu, f->context, VECTOR_GP, 0);
    case DECODE_UNSUPPORTED:
    case DECODE_TRUNCATED:
        break;
    }
    return mmio_not_emulated(f->vcpu, f->gpa,
                             decode_class(f->bytes, f->count, mmio_code_size(f->context)));
}

enum mmio_outcome mmio_fetch(struct mmio_vcpu *vcpu, const struct walk_context *context,
                             uint64_t rip, gpa_t gpa, const struct insn **insn, bool *memory)
{
    struct mmio_cache *cache = &vcpu->cache;
    struct fetch f; /* `bytes` is not cleared: the fast path does not use it */
    f.vcpu = vcpu;
    f.context = context;
    f.gpa = gpa;
    f.allowed = mmio_fetch_limit(vcpu->cpu, context, rip, &f.linear);

    /* If 16 bytes at RIP lie in one page of RAM, compare them with those of the decoded
     * instruction. */
    struct decoded *decoded = mmio_decoded_at(cache, rip);
    uint64_t bytes[2] = {0, 0};
    bool whole = f.allowed == INSN_MAX && page_offset(f.linear) <= PAGE_SIZE - sizeof(bytes);
    enum decoded_why why = DECODED_PAGE_END;
    if (likely(whole)) {
        struct translation code;
        enum walk_result result =
            mmio_cache_translate(cache, context, GVA(f.linear), KEY_FETCH, &code);
        if (result != WALK_OK)
            return mmio_walk_failed(vcpu, context, result, f.linear, &code);
        if (likely(code.host_page != NULL)) {
            __builtin_memcpy(bytes, code.host_page + page_offset(f.linear), sizeof(bytes));
            why = mmio_decoded_why(decoded, bytes, mmio_code_size(context));
            if (likely(why == DECODED_SERVES)) {
                *insn = &decoded->insn;
                *memory = true;
                return MMIO_DONE;
            }
        } else {
            whole = false;
            why = DECODED_NOT_RAM;
        }
    }

    cache->miss.decoded = (uint8_t)why;
    decoded->insn.code = DECODED_EMPTY;
    decoded->move.length = 0;
    struct insn fresh;
    enum mmio_outcome outcome = fetch_slowly(&f, &fresh, memory);
    if (outcome != MMIO_DONE)
        return outcome;
    decoded->insn = fresh;
    decoded->bytes[0] = bytes[0];
    decoded->bytes[1] = bytes[1];
    /* Cache the instruction only if the bytes did not change between the two reads. */
    if (!whole || !*memory || memcmp(bytes, f.bytes, fresh.length) != 0)
        decoded->insn.code = DECODED_EMPTY;
    else
        decoded->move = move_of(&fresh);
    *insn = &decoded->insn;
    return MMIO_DONE;
}
