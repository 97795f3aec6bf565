/* SPDX-License-Identifier: MIT */
/*
 * What `why` says, in sentences. Each function adds lines to the answer of a call. Pure: the
 * decisions are made where they are acted on (mmu/decide.h, mmio/replay.h, mmio/known.h,
 * mmio/cache.h), and this is how they are told.
 */
#pragma once

#include "mmio/vcpu.h"
#include "mmu/why.h"

struct monitor_call;

/* An access: root, slot, entries, each exit that it would cause, and what the guest sees in the
 * end. `bus` is the VM's. About 20 lines. */
void why_say_access(struct monitor_call *call, const struct mmu *mmu, struct bus *bus,
                    const struct mmu_why *why);

/* What each pCPU owes that has been in the guest. */
void why_say_debts(struct monitor_call *call, const struct mmu *mmu);

/* Why the last access that no replay entry served was slow. */
void why_say_miss(struct monitor_call *call, const struct mmio_vcpu *vcpu);
