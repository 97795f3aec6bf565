/* SPDX-License-Identifier: MIT */
/* What the VMX capability MSRs say, as numbers and in words (SDM 3, appendix A), for the report of
 * a machine. Pure. */
#pragma once

#include "vmx/controls.h"

/* Calls `print` with each MSR that exists, as a name and a value, but for IA32_VMX_EPT_VPID_CAP,
 * whose words are in ept/caps.h. */
void vmx_capabilities(const struct vmx_msrs *msrs,
                      void (*print)(const char *key, const char *value));
