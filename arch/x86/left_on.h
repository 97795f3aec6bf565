/* SPDX-License-Identifier: MIT */
/*
 * Features by which a CPU refuses instructions that guests may execute, and which the firmware or
 * an earlier kernel can leave on. The CPU does not say in CPUID that they are on, so a guest does
 * not expect their exceptions.
 */
#pragma once

/* Called on each CPU before it runs guests: switches them off, and names those that were on. */
void left_on_clear(void);
