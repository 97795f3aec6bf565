/* SPDX-License-Identifier: MIT */
/*
 * The private pool of a TD: the host memory that its guest can have as private memory, and that its
 * external tables are made of. It is taken from the allocator in whole blocks of 2 MiB when the TD
 * is created, so that no conversion fails because another VM took the memory, and is given back
 * when the TD is destroyed.
 *
 * All blocks leave the hypervisor's direct map at creation, and each CPU flushes its TLB once for
 * that (lib/host_tlb.h). Converting a page to shared and back thus never changes the direct map: a
 * frame goes back to this pool, and another one comes from the VM's ordinary memory, or the other
 * way round. Only the secure side reaches what is in the pool, through its windows.
 *
 * The pool says which frames the hypervisor has handed to the MMU. The secure side does not rely on
 * it, since it has a map of owners of its own (ept/secure_frames.h): a frame that is put back while
 * the TD still owns it is refused when it is used again.
 */
#pragma once

#include "ept/secure.h"
#include "lib/patience.h"

struct private_pool {
    struct private_block *blocks;
    uint64_t count;           /* blocks that the pool has when it is complete */
    uint64_t made;            /* blocks that have left the direct map */
    uint64_t added;           /* blocks that are in the map of owners */
    uint64_t free_frames;     /* frames of 4 KiB that are not handed out */
    uint64_t kicked;          /* the debt for which the other CPUs were kicked */
    struct patience patience; /* with the one that is waited for */
    uint32_t whole, partial;  /* lists of blocks that are free, all of them or a part */
    struct spinlock lock;
};

/* The machine's map of owners, for struct secure_td. It exists when the first pool is complete. */
struct secure_map *private_pool_map(void);

/* The number of blocks for a guest with `frames` frames of 4 KiB, all of which may be private, and
 * for the tables that map them one by one. */
uint64_t private_pool_blocks(uint64_t frames);

/* The number of pages of memory that a pool of `blocks` blocks takes, for the VM's account. */
uint64_t private_pool_pages(uint64_t blocks);

/* Fills the pool. `pool` is zeroed before the first call. Returns 0 when the pool is complete, or
 * -EINPROGRESS: the caller attends to what is waiting (mmu_pauses()) and calls again; or after a
 * message -ENOMEM, or -ETIMEDOUT if a CPU does not flush its TLB. After an error
 * private_pool_destroy() gives back what the pool has. */
int private_pool_create(struct private_pool *pool, uint64_t blocks) MUST_CHECK;

/* Gives back all memory of the pool in pieces: returns 0, or -EINPROGRESS as above. If `td` is not
 * NULL, it is the stopped TD to which pages of the pool may belong; they are reclaimed, whether or
 * not they were put back. Every page is scrubbed before its block returns to the direct map.
 * -EBUSY: a CPU may still be in the TD's guest. */
int private_pool_destroy(struct private_pool *pool, struct secure_td *td) MUST_CHECK;

/* Takes a free page of `level` (4K or 2M) out of the pool. Returns PAGE_NONE if there is none; then
 * at level 2M there may still be small ones. Takes the pool's lock. */
hpa_t private_frame_get(struct private_pool *pool, unsigned level) MUST_CHECK;

/* Puts a page back that nobody owns any more: secure_page_remove() has succeeded, or the page was
 * refused. A large page may come back in parts, and small ones as one large page. */
void private_frame_put(struct private_pool *pool, hpa_t page, unsigned level);
