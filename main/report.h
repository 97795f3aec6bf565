/* SPDX-License-Identifier: MIT */
/*
 * What the word `report` prints before the guests: the lines `report: KEY: VALUE` describe the
 * machine, for somebody who has never seen it. tools/report.py reads them.
 *
 * The first line is `report: begin: 1`, where 1 is the version of the format. The last one is
 * `report: end: N lines, sum S`: N counts all lines before it, the first one included, and S is the
 * hash (lib/log_sum.h) of their text after `report: `, each with a newline. So it is known whether
 * the report is complete. A value that is too long for a line continues on the next one, which has
 * the same key; the value is cut after a comma.
 *
 * Pure.
 */
#pragma once

#include "arch/x86/cpu_facts.h"
#include "arch/x86/smbios.h"
#include "boot/boot_info.h"
#include "vmx/controls.h"

struct report {
    const struct boot_info *info;
    const struct smbios_names *names;
    const struct cpu_facts *cpu;
    cpuid_ask *cpuid;
    const struct vmx_msrs *msrs;     /* NULL: the CPU has no VMX */
    const uint64_t *feature_control; /* IA32_FEATURE_CONTROL; NULL: the CPU has no such MSR */
    uint64_t tsc_khz, free_pages;    /* tsc_khz may be 0: not known */
    uint64_t began, now;             /* TSC */
};

void report_print(const struct report *report);
