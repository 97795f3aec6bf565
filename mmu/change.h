/* SPDX-License-Identifier: MIT */
/* The one change of the slots that can be in progress; see change.c. Inside mmu/. */
#pragma once

#include "mmu/types.h"

/* Begins a change, with slots_lock held and no other one in progress: what mmu_change() does with
 * one that has not begun. */
int change_begin(struct mmu *mmu, struct mmu_change *change) MUST_CHECK;

/* The same with its first step, and mmu_change() with it: how changes of any kind are carried out.
 */
int change_start(struct mmu *mmu, struct mmu_change *change,
                 int (*first)(struct mmu *mmu)) MUST_CHECK;
int change_request(struct mmu *mmu, struct mmu_change *change,
                   int (*first)(struct mmu *mmu)) MUST_CHECK;

/* At the end of the VM: gives back what a change that is in progress has not put to use. */
void change_abandon(struct mmu *mmu);

/* ---- Steps ----------------------------------------------------------------------------------- */

/* A step returns 0 at the end of the change, an error, which only the first one may, or
 * -EINPROGRESS: then mmu->changing.step comes next. */

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

/* Zaps the slot `changing.slot`, as tdp_zap(). */
int change_zap_slot(struct mmu *mmu, unsigned flags, enum debt_reason reason,
                    int (*after)(struct mmu *mmu)) MUST_CHECK;
