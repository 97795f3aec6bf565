/* SPDX-License-Identifier: MIT */
/* The external side of a protected VM; see the header. */
#include "mmu/external.h"

#include "ept/tdx_status.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/trace.h"
#include "mmu/mirror.h"
#include "mmu/tlb.h"

/* ---- The machine, for the secure side -------------------------------------------------------- */

static struct external *external_of(struct secure_td *td)
{
    return td->context;
}

static void *external_window(void *context, hpa_t frame)
{
    (void)context;
    return page_window(frame);
}

static uint64_t external_epoch_begin(void *context)
{
    const struct external *external = context;
    return mirror_epoch_begin(external->mmu);
}

/* A pCPU that was out of the guest while the MMU waited, and that enters now, counts as one with
 * old translations until it has paid its debt. It does that once, and needs no lock for it. */
static bool external_epoch_over(void *context, uint64_t epoch)
{
    const struct external *external = context;
    for (unsigned i = 0; i < CPUS_MAX; i++) {
        if (likely(mirror_epoch_over(external->mmu, epoch)))
            return true;
        tlb_sync(external->mmu);
    }
    return false;
}

static void external_measure(void *context, gfn_t gfn, const void *content)
{
    const struct external *external = context;
    external->measure(external->mmu, gfn, content);
}

/* Each refusal is an event of the trace. A message says it once for each kind, because what a guest
 * makes the hypervisor do again and again must not fill the log. */
static COLD void external_refused(void *context, const struct secure_refusal *refusal)
{
    static const char *const calls[] = {
#define X(name, text) text,
        SECURE_CALLS(X)
#undef X
    };
    static const char *const states[] = {"FREE", "TABLE", "PENDING", "MAPPED", "BLOCKED"};
    struct external *external = context;
    uint32_t kind = 1u << tdx_status_number(refusal->status);
    trace(secure_refused, refusal->call, refusal->gfn.v, refusal->level, refusal->page.v,
          refusal->state, refusal->status);
    if (__atomic_fetch_or(&external->told[refusal->call], kind, __ATOMIC_RELAXED) & kind)
        return;
    log_error("the secure side refuses %s of guest frame %#lx at level %u with page %#lx: its "
              "entry is %s, status %s (%#lx); nothing has changed, and no page is lost",
              calls[refusal->call], refusal->gfn.v, refusal->level, refusal->page.v,
              states[refusal->state], tdx_status_name(refusal->status), refusal->status);
}

static const struct secure_host host = {
    .window = external_window,
    .epoch_begin = external_epoch_begin,
    .epoch_over = external_epoch_over,
    .measure = external_measure,
    .refused = external_refused,
};

/* ---- The secure side, for the mirror --------------------------------------------------------- */

hpa_t external_take(struct secure_td *td, unsigned level)
{
    return private_frame_get(&external_of(td)->pool, level);
}

void external_give(struct secure_td *td, hpa_t page, unsigned level)
{
    private_frame_put(&external_of(td)->pool, page, level);
}

static const struct mirror_ops honest_ops = {
    .take = external_take,
    .give = external_give,
    .link = secure_table_add,
    .add = secure_page_add,
    .aug = secure_page_aug,
    .accept = secure_page_accept,
    .block = secure_range_block,
    .track = secure_track,
    .split = secure_page_demote,
    .remove = secure_page_remove,
    .free = secure_table_remove,
    .read = secure_read,
    .finalise = secure_td_finalise,
    .stop = secure_td_stop,
};

const struct mirror_ops *external_ops = &honest_ops;

/* ---- Its life -------------------------------------------------------------------------------- */

uint64_t external_pages(uint64_t frames)
{
    return private_pool_pages(private_pool_blocks(frames));
}

int external_create(struct external *external, struct mmu *mmu, uint64_t frames, bool pending_ve)
{
    int error = private_pool_create(&external->pool, private_pool_blocks(frames));
    if (error)
        return error;
    external->mmu = mmu;
    external->td = (struct secure_td){
        .host = &host,
        .context = external,
        .map = private_pool_map(),
        .root = private_frame_get(&external->pool, EPT_LEVEL_4K),
        .root_level = EPT_LEVEL_1G,
        .gfn_end = BIT(MIRROR_SHARED_BIT - PAGE_SHIFT),
        .pending_ve = pending_ve,
    };
    uint64_t status = secure_td_create(&external->td);
    BUG_ON(status);
    external->made = true;
    return mmu_mirror(mmu, external_ops, &external->td);
}

/* mmu_destroy_piece() has stopped the TD, if there was a mirror. */
bool external_destroy_piece(struct external *external)
{
    struct secure_td *td = &external->td;
    if (external->made && td->life != SECURE_STOPPED) {
        uint64_t status = secure_td_stop(td);
        BUG_ON(status);
    }
    int error = private_pool_destroy(&external->pool, external->made ? td : NULL);
    BUG_ON(error && error != -EINPROGRESS);
    if (error)
        return false;
    BUG_ON(external->made && !secure_td_is_gone(td));
    external->made = false;
    return true;
}
