/* SPDX-License-Identifier: MIT */
/* The secure side: private bytes; see ept/secure.h. Pure. */
#include "ept/secure_walk.h"
#include "ept/tdx_status.h"
#include "lib/compiler.h"
#include "lib/string.h"

/* Finds the page that the guest has at this frame, as the CPU does: by a leaf of any size. */
static uint64_t find_mapped(struct secure_td *td, gfn_t gfn, hpa_t *page)
{
    struct secure_place place = {0};
    uint64_t status = secure_walk(td, gfn, EPT_LEVEL_4K, &place);
    if (place.state != SECURE_MAPPED)
        return status ? status : TDX_EPT_ENTRY_STATE_INCORRECT;
    uint64_t within = gfn.v & (ept_frames(place.level) - 1);
    *page = HPA((place.entry & EPT_ADDRESS) + within * PAGE_SIZE);
    return TDX_SUCCESS;
}

/* Takes the lock, and finds a page that the guest has accepted. The page stays MAPPED until the
 * caller drops the lock, which it does whatever is returned: a page stops being MAPPED only after
 * its entry, or the entry of a table that leads to it, has lost its rights. */
static uint64_t lock_and_find_mapped(struct secure_td *td, gfn_t gfn, hpa_t *page)
{
    struct secure_found *found = &td->found[gfn.v % SECURE_FOUND];
    spin_lock(&td->lock);
    if (likely(found->gfn == gfn.v && found->losses == td->losses && td->life != SECURE_STOPPED)) {
        *page = found->page;
        return TDX_SUCCESS;
    }
    uint64_t status = find_mapped(td, gfn, page);
    if (!status)
        *found = (struct secure_found){gfn.v, td->losses, *page};
    return status;
}

static uint64_t check_range(const struct secure_td *td, gfn_t gfn, unsigned offset, size_t size)
{
    if (offset > PAGE_SIZE || size > PAGE_SIZE - offset)
        return TDX_OPERAND_INVALID;
    return secure_check_gfn(td, gfn, EPT_LEVEL_4K, EPT_LEVEL_4K, EPT_LEVEL_4K);
}

uint64_t secure_read_private(struct secure_td *td, gfn_t gfn, unsigned offset, void *buffer,
                             size_t size)
{
    hpa_t page;
    uint64_t status = check_range(td, gfn, offset, size);
    if (status)
        return status;
    status = lock_and_find_mapped(td, gfn, &page);
    if (!status)
        memcpy(buffer, (const char *)td->host->window(td->context, page) + offset, size);
    spin_unlock(&td->lock);
    return status;
}

uint64_t secure_write_private(struct secure_td *td, gfn_t gfn, unsigned offset, const void *buffer,
                              size_t size)
{
    hpa_t page;
    uint64_t status = check_range(td, gfn, offset, size);
    if (status)
        return status;
    status = lock_and_find_mapped(td, gfn, &page);
    if (!status)
        memcpy((char *)td->host->window(td->context, page) + offset, buffer, size);
    spin_unlock(&td->lock);
    return status;
}
