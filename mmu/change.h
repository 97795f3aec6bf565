/* SPDX-License-Identifier: MIT */
/* The one change of the slots that can be in progress; see change.c. Inside mmu/. */
#pragma once

#include "mmu/types.h"

/* mmu_change() of one that has not begun, with slots_lock held and none in progress. */
int change_begin(struct mmu *mmu, struct mmu_change *change) MUST_CHECK;

/* At the end of the VM: gives back what a change that is in progress has not put to use. */
void change_abandon(struct mmu *mmu);

/* ---- Steps ----------------------------------------------------------------------------------- */

/* The first step of each kind, in change_slots.c and host.c. A step returns 0 at the end of the
 * change, an error, which only the first one may, or -EINPROGRESS: then mmu->changing.step comes
 * next. */
extern int (*const change_first[CHANGE_KINDS])(struct mmu *mmu);

/* What a step returns that is followed by this one. */
int change_then(struct mmu *mmu, int (*step)(struct mmu *mmu)) MUST_CHECK;
int change_finish(struct mmu *mmu);

/* Has so many pages filled with a value, all of them in pieces and before the step `after`. */
void change_fill(struct changing *now, void *at, uint64_t pages, uint64_t value);
int change_fill_first(struct mmu *mmu, int (*after)(struct mmu *mmu)) MUST_CHECK;

/* The new set, which differs from slot `from` on, becomes the current one. `less`: pages lose their
 * place or a right. */
int change_publish(struct mmu *mmu, unsigned from, int (*after)(struct mmu *mmu)) MUST_CHECK;
int change_publish_less(struct mmu *mmu, unsigned from, int (*after)(struct mmu *mmu)) MUST_CHECK;

/* Zaps the frames [first, end), as tdp_zap(); or the slot `changing.slot`. */
int change_zap(struct mmu *mmu, gfn_t first, gfn_t end, unsigned flags, enum debt_reason reason,
               int (*after)(struct mmu *mmu)) MUST_CHECK;
int change_zap_slot(struct mmu *mmu, unsigned flags, enum debt_reason reason,
                    int (*after)(struct mmu *mmu)) MUST_CHECK;

/* Another place for what is behind a frame; see host.c. remap_abandon() gives back a copy that is
 * not finished. remap_follow(): this page of the guest's has just been written to; with `lock`
 * owned. */
int remap_first(struct mmu *mmu) MUST_CHECK;
void remap_abandon(struct copying *copying);
void remap_follow(const struct mmu *mmu, gfn_t gfn, const void *page);
