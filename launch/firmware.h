/* SPDX-License-Identifier: MIT */
/*
 * The VM's firmware: ACPI tables that list its CPUs, in one read-only page of the BIOS area, where
 * a guest looks for them. Pure.
 */
#pragma once

#include "lib/compiler.h"
#include "mmu/mmu.h"

/* Adds tables that list `cpus` CPUs with APIC IDs from 0. Returns 0, or the negative errno of
 * mmu_slot_add() or guest_load(). */
int firmware_add(struct mmu *mmu, unsigned cpus) MUST_CHECK;
