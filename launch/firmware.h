/*
 * What a VM has of a PC's firmware: the ACPI tables that list its CPUs, in one page that the guest
 * finds in the BIOS area and cannot write. Pure.
 */
#pragma once

#include "lib/compiler.h"
#include "mmu/mmu.h"

/* Gives the VM the tables of so many CPUs, whose APIC IDs count from 0. A negative errno from
 * mmu_slot_add() or guest_load(). */
int firmware_add(struct mmu *mmu, unsigned cpus) MUST_CHECK;
