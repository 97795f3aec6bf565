/* SPDX-License-Identifier: MIT */
/*
 * The external side of a protected VM: a TD of the secure side (ept/secure.h) with its pool of
 * private memory (ept/private_pool.h), and what both need of the machine. The VM's MMU has a mirror
 * of it (mmu/mirror.h). This file joins the three, and nothing else in mmu/ knows all of them.
 */
#pragma once

#include "ept/private_pool.h"
#include "mmu/types.h"

struct external {
    /* Measures a page of the initial image that was added (ept/secure.h). Set by the owner before
     * external_create(). */
    void (*measure)(struct mmu *mmu, gfn_t gfn, const void *content);

    struct secure_td td;
    struct private_pool pool;
    struct mmu *mmu;
    uint32_t told[SECURE_CALL_COUNT]; /* for each call, the statuses that were logged */
    bool made;                        /* the TD exists */
};

/* Makes the external side for an MMU that has declared MIRROR_SHARED_BIT as its only stolen bit and
 * has no slot yet, with private memory for `frames` frames of the guest. All other members of
 * `external` are zero before the first call. Returns 0; -EINPROGRESS: the caller attends to what is
 * waiting (mmu_pauses()) and calls again; or after a message -ENOMEM, -ETIMEDOUT or -EINVAL, and
 * then external_destroy_piece() gives back what there is. With `pending_ve` the guest gets a #VE
 * when it accesses a page that it has not accepted. */
int external_create(struct external *external, struct mmu *mmu, uint64_t frames,
                    bool pending_ve) MUST_CHECK;

/* The pages of memory that it takes, for the VM's account. */
uint64_t external_pages(uint64_t frames);

/* Gives back all private memory, after mmu_destroy_piece() has returned true. Returns false if
 * there is more to do, as mmu_destroy_piece() does. */
bool external_destroy_piece(struct external *external) MUST_CHECK;

/* What the mirrors of TDs that are made from now on ask of the secure side, and their frames. For
 * mmu/lies.c. */
extern const struct mirror_ops *external_ops;
hpa_t external_take(struct secure_td *td, unsigned level);
void external_give(struct secure_td *td, hpa_t page, unsigned level);
