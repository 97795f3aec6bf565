/* SPDX-License-Identifier: MIT */
/* The change of the slots that is in progress; see change.c. Private to mmu/. */
#pragma once

#include "mmu/types.h"

/* Begins a change, as mmu_change() does. The caller holds slots_lock, and no change is in progress.
 */
int change_begin(struct mmu *mmu, struct mmu_change *change) MUST_CHECK;

/* Like change_begin() and mmu_change(), but the caller passes the first step of the change. */
int change_start(struct mmu *mmu, struct mmu_change *change,
                 int (*first)(struct mmu *mmu)) MUST_CHECK;
int change_request(struct mmu *mmu, struct mmu_change *change,
                   int (*first)(struct mmu *mmu)) MUST_CHECK;

/* Frees the memory of an unfinished change that belongs to no slot. Called at the end of the VM. */
void change_abandon(struct mmu *mmu);

/* ---- Steps ----------------------------------------------------------------------------------- */

/* A step is a function that returns 0 at the end of the change, -EINPROGRESS if mmu->changing.step
 * comes next, or an error, which only the first step may return. change_then() makes `step` the
 * next step and returns -EINPROGRESS, which the caller returns. The functions below that take
 * `after` do the same with a step of their own, which `after` follows. change_finish() is a last
 * step that does nothing. */
int change_then(struct mmu *mmu, int (*step)(struct mmu *mmu)) MUST_CHECK;
int change_finish(struct mmu *mmu);

/* change_fill() records that `pages` pages of memory at `at` are to be filled with a value.
 * change_fill_first() has all recorded memory filled in pieces, before the step `after`. */
void change_fill(struct changing *now, void *at, uint64_t pages, uint64_t value);
int change_fill_first(struct mmu *mmu, int (*after)(struct mmu *mmu)) MUST_CHECK;

/* Make the new set the current one; it differs from the old one from index `from` on.
 * change_publish_less() is for changes that take a host page or a right away from a frame. */
int change_publish(struct mmu *mmu, unsigned from, int (*after)(struct mmu *mmu)) MUST_CHECK;
int change_publish_less(struct mmu *mmu, unsigned from, int (*after)(struct mmu *mmu)) MUST_CHECK;

/* Zap the frames [first, end), or those of `changing.slot`, in pieces by tdp_zap_piece(). */
int change_zap(struct mmu *mmu, gfn_t first, gfn_t end, unsigned flags, enum debt_reason reason,
               int (*after)(struct mmu *mmu)) MUST_CHECK;
int change_zap_slot(struct mmu *mmu, unsigned flags, enum debt_reason reason,
                    int (*after)(struct mmu *mmu)) MUST_CHECK;

/* CHANGE_REMAP (host.c). remap_first() is its first step. remap_follow() repeats a write to this
 * page of the guest in the copy; it is called after the write, while `lock` is held exclusively. */
int remap_first(struct mmu *mmu) MUST_CHECK;
void remap_follow(const struct mmu *mmu, gfn_t gfn, const void *page);
