/* The one change of the slots that can be in progress; see change.c. Inside mmu/. */
#pragma once

#include "mmu/types.h"

/* mmu_change() of one that has not begun, with slots_lock held and none in progress. */
int change_begin(struct mmu *mmu, struct mmu_change *change) MUST_CHECK;

/* At the end of the VM: gives back what a change that is in progress has not put to use. */
void change_abandon(struct mmu *mmu);
