/* SPDX-License-Identifier: MIT */
/* The VMX capability MSRs of the CPU models that the tests boot on, as read on them, and of a CPU
 * that has nearly everything, so that the rules of features can be reached. */
#pragma once

#include "vmx/controls.h"

#define MODEL_COMMON                                                                      \
    .pin = 0x0000007f00000016, .primary = 0xf7f9fffe0401e172, .exit = 0x007fffff00036dff, \
    .entry = 0x0000ffff000011ff, .true_pin = 0x0000007f00000016,                          \
    .true_primary = 0xf7f9fffe04006172, .true_exit = 0x007fffff00036dfb,                  \
    .true_entry = 0x0000ffff000011fb, .cr0_fixed0 = 0x80000021, .cr0_fixed1 = 0xffffffff, \
    .cr4_fixed0 = 0x2000, .vmcs_enum = 0x34

static const struct vmx_msrs icelake_u = {
    .basic = 0x00d8100000000004,
    .pin = 0x0000007f00000016,
    .primary = 0xfff9fffe0401e172,
    .exit = 0x007fffff00036dff,
    .entry = 0x0000ffff000011ff,
    .true_pin = 0x0000007f00000016,
    .true_primary = 0xfff9fffe04006172,
    .true_exit = 0x007fffff00036dfb,
    .true_entry = 0x0000ffff000011fb,
    .secondary = 0x02977fff00000000,
    .misc = 0x600401e0,
    .cr0_fixed0 = 0x80000021,
    .cr0_fixed1 = 0xffffffff,
    .cr4_fixed0 = 0x2000,
    .cr4_fixed1 = 0x772fff,
    .vmcs_enum = 0x34,
    .ept_vpid_cap = 0x00000f0106334141,
    .vmfunc = 1,
};

static const struct vmx_msrs skylake_x = {
    MODEL_COMMON,       .basic = 0x00d810000000002b, .secondary = 0x02177fff00000000,
    .misc = 0x600401e0, .cr4_fixed1 = 0x3727ff,      .ept_vpid_cap = 0x00000f0106334141,
    .vmfunc = 1,
};

static const struct vmx_msrs haswell = {
    MODEL_COMMON,       .basic = 0x00d810000000002b, .secondary = 0x00047fff00000000,
    .misc = 0x200401e0, .cr4_fixed1 = 0x1727ff,      .ept_vpid_cap = 0x00000f0106334141,
    .vmfunc = 1,
};

static const struct vmx_msrs ivy_bridge = {
    MODEL_COMMON,       .basic = 0x00d810000000002b, .secondary = 0x000008ff00000000,
    .misc = 0x000401e0, .cr4_fixed1 = 0x1727ff,      .ept_vpid_cap = 0x00000f0106114141,
};

static const struct vmx_msrs lynnfield = {
    MODEL_COMMON,       .basic = 0x00d810000000002b, .secondary = 0x0000007f00000000,
    .misc = 0x000401e0, .cr4_fixed1 = 0x67ff,        .ept_vpid_cap = 0x00000f0106114141,
};

static const struct vmx_msrs penryn = {
    .basic = 0x00d810000000002b,
    .pin = 0x0000003f00000016,
    .primary = 0xf7f9fffe0401e172,
    .exit = 0x0003ffff00036dff,
    .entry = 0x00003fff000011ff,
    .true_pin = 0x0000003f00000016,
    .true_primary = 0xf7f9fffe04006172,
    .true_exit = 0x0003ffff00036dfb,
    .true_entry = 0x00003fff000011fb,
    .secondary = 0x0000004100000000,
    .misc = 0x000401e0,
    .cr0_fixed0 = 0x80000021,
    .cr0_fixed1 = 0xffffffff,
    .cr4_fixed0 = 0x2000,
    .cr4_fixed1 = 0x467ff,
    .vmcs_enum = 0x34,
};

/* No such CPU: all controls that have a name, except those whose refusal is to be seen. */
static const struct vmx_msrs rich = {
    .basic = 0x00d8100000000004,
    .true_pin = 0x000000ff00000016,
    .true_primary = 0xfffbfffe04006172,
    .true_exit = 0xf7ffffff00036dfb,
    .true_entry = 0x00ffffff000011fb,
    .secondary = 0xdfffffff00000000,
    .tertiary = 0x9f,
    .misc = 0x600401e0,
    .cr0_fixed0 = 0x80000021,
    .cr0_fixed1 = 0xffffffff,
    .cr4_fixed0 = 0x2000,
    .cr4_fixed1 = 0xf72fff,
    .vmcs_enum = 0x34,
    .ept_vpid_cap = 0x00000f0106334141,
    .vmfunc = 1,
};
