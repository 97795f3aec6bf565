/* SPDX-License-Identifier: MIT */
/*
 * What the commands of GDB need of a vCPU. gdb/target.c supplies it on the pCPU of the vCPU, in a
 * visit (vm/visit.h); the hosted tests supply a vCPU of their own.
 */
#pragma once

#include "gdb/registers.h"
#include "gdb/translate.h"
#include "mmu/look.h"

struct vcpu;

/* Read and write a register. target_set() returns false if that register cannot be set. Accesses to
 * the x87, SSE and AVX registers are between target_open() and target_close(). */
void target_open(struct vcpu *vcpu);
void target_close(struct vcpu *vcpu);
void target_get(struct vcpu *vcpu, const struct gdb_register *which, void *bytes);
bool target_set(struct vcpu *vcpu, const struct gdb_register *which, const void *bytes);

/* What translates addresses now. */
void target_paging(struct vcpu *vcpu, struct gdb_paging *paging);

/* Read and write the guest's RAM. They return 0, or an error if it is no RAM, of which nothing is
 * read: a device is never accessed. */
int target_read(struct vcpu *vcpu, gpa_t gpa, void *bytes, size_t size);
int target_write(struct vcpu *vcpu, gpa_t gpa, const void *bytes, size_t size);

/* Begin to write-track the memory at an address, as mmu_track(), and say which memory that is; end
 * it, as mmu_untrack(), wherever that memory is now. */
int target_track(struct vcpu *vcpu, gpa_t gpa, struct mmu_memory *memory);
int target_untrack(struct vcpu *vcpu, const struct mmu_memory *memory);

/* Is this memory, and not another one, at the address, and is it tracked? */
bool target_is_tracked(struct vcpu *vcpu, gpa_t gpa, const struct mmu_memory *memory);

/* Is the guest outside of IA-32e mode? */
bool target_is_narrow(struct vcpu *vcpu);

/* Does a guest of this VM use its debug registers itself? */
bool target_guest_debugs(const struct vcpu *vcpu);
