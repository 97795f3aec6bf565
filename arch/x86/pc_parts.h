/* SPDX-License-Identifier: MIT */
/*
 * Which of a PC's old parts this machine lacks, by what ACPI says (FADT and MADT): their ports may
 * be something else's. Pure.
 */
#pragma once

#include "lib/compiler.h"

#include <stdbool.h>

enum pc_part {
    PC_PIC,   /* the pair of 8259s */
    PC_PIT,   /* the 8254 */
    PC_RTC,   /* the real-time clock with CMOS memory */
    PC_I8042, /* the keyboard controller */
    PC_VGA,
    PC_PARTS,
};

/* Reads the tables, and names in one line what the machine lacks. Called after acpi_init(). */
void pc_parts_init(void);

/* Returns false if ACPI says that the machine lacks the part. Before pc_parts_init(), and without
 * ACPI, it lacks nothing. */
bool pc_has(enum pc_part part) MUST_CHECK;
