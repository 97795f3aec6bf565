/* SPDX-License-Identifier: MIT */
/* The change of the slots that is in progress; see change.c. Private to mmu/. */
#pragma once

#include "mmu/types.h"

/* Begins a change, as mmu_change() does. The caller holds slots_lock, and no change is in progress.
 */
int change_begin(struct mmu *mmu, struct mmu_change *change) MUST_CHECK;

/* change_begin() and mmu_change(), given the first step of the change. */
int change_start(struct mmu *mmu, struct mmu_change *change,
                 int (*first)(struct mmu *mmu)) MUST_CHECK;
int change_request(struct mmu *mmu, struct mmu_change *change,
                   int (*first)(struct mmu *mmu)) MUST_CHECK;

/* At the end of the VM: frees what belongs to a change in progress and to no slot yet. */
void change_abandon(struct mmu *mmu);

/* ---- Steps ----------------------------------------------------------------------------------- */

/* A step is a function that returns 0 at the end of the change; -EINPROGRESS if mmu->changing.step
 * comes next; or an error, which only the first step may do. change_then() makes `step` the next
 * step, and returns -EINPROGRESS for the caller to return; the functions below that take `after` do
 * so with a step of their own, which `after` follows. change_finish() is a last step that does
 * nothing. */
int change_then(struct mmu *mmu, int (*step)(struct mmu *mmu)) MUST_CHECK;
int change_finish(struct mmu *mmu);

/* change_fill() notes that `pages` pages of memory at `at` are to be filled with a value.
 * change_fill_first() has all that is noted filled in pieces, before the step `after`. */
void change_fill(struct changing *now, void *at, uint64_t pages, uint64_t value);
int change_fill_first(struct mmu *mmu, int (*after)(struct mmu *mmu)) MUST_CHECK;

/* Makes the new set the current one; it differs from the old one from index `from` on.
 * change_publish_less() is for changes that take a host page or a right from a frame. */
int change_publish(struct mmu *mmu, unsigned from, int (*after)(struct mmu *mmu)) MUST_CHECK;
int change_publish_less(struct mmu *mmu, unsigned from, int (*after)(struct mmu *mmu)) MUST_CHECK;

/* Zap the frames [first, end), or those of `changing.slot`, in pieces, as tdp_zap_piece(). */
int change_zap(struct mmu *mmu, gfn_t first, gfn_t end, unsigned flags, enum debt_reason reason,
               int (*after)(struct mmu *mmu)) MUST_CHECK;
int change_zap_slot(struct mmu *mmu, unsigned flags, enum debt_reason reason,
                    int (*after)(struct mmu *mmu)) MUST_CHECK;

/* CHANGE_REMAP; see host.c. remap_first() is its first step. remap_follow() is called after a write
 * to this page of the guest, while `lock` is held exclusively, and updates the copy. */
int remap_first(struct mmu *mmu) MUST_CHECK;
void remap_follow(const struct mmu *mmu, gfn_t gfn, const void *page);
