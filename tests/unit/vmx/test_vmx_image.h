/* SPDX-License-Identifier: MIT */
/* VMCS images that a CPU would enter, kept in arrays; one per kind of guest. */
#pragma once

#include "tests/unit/support.h"
#include "vmx/apicv.h"
#include "vmx/entry_check.h"
#include "vmx/fields.h"

#include <string.h>

struct image {
    uint64_t value[0x8000]; /* by encoding */
    struct vmx_msrs msrs;
    struct entry_check_input input;
    struct vmx_msrs answered; /* the MSRs for which `answers` holds; see image_has() */
    uint8_t answers[0x8000];
};

enum image_kind {
    LONG,       /* 64-bit mode */
    REAL,       /* real mode, by unrestricted guest */
    V8086,      /* virtual-8086 mode */
    PAE,        /* 32-bit, PAE paging */
    RESTRICTED, /* 64-bit mode without unrestricted guest */
    IMAGE_KINDS,
};

/* Does the field exist? An answer is kept until the image's MSRs change. */
static bool image_has(struct image *image, uint32_t field)
{
    enum { UNKNOWN, EXISTS, MISSING };
    if (memcmp(&image->answered, &image->msrs, sizeof(image->msrs)) != 0) {
        memset(image->answers, UNKNOWN, sizeof(image->answers));
        image->answered = image->msrs;
    }
    if (image->answers[field] == UNKNOWN)
        image->answers[field] = vmx_field_exists(&image->msrs, field) ? EXISTS : MISSING;
    return image->answers[field] == EXISTS;
}

/* Like VMREAD, which fails on a field that this CPU does not have. */
static uint64_t image_read(void *ctx, uint32_t field)
{
    struct image *image = ctx;
    if (!image_has(image, field))
        fail_msg("%s was read, which does not exist", vmcs_field_name(field));
    return image->value[field];
}

struct image_field {
    uint32_t field;
    uint64_t value;
};

static void image_fill(struct image *image, const struct image_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        image->value[fields[i].field] = fields[i].value;
}

static const struct image_field image_common[] = {
    {VMCS_VPID, 1},
    {VMCS_MSR_BITMAP, 0x3000},
    {VMCS_PML_ADDRESS, 0x4000},
    {VMCS_PML_INDEX, 511},
    {VMCS_EPT_POINTER, 0x501e},
    {VMCS_VE_INFORMATION_ADDRESS, 0x6000},
    {VMCS_TSC_MULTIPLIER, 1ull << 48},
    {VMCS_HOST_CS_SELECTOR, 0x08},
    {VMCS_HOST_SS_SELECTOR, 0x10},
    {VMCS_HOST_TR_SELECTOR, 0x18},
    {VMCS_HOST_CR0, 0x80010033},
    {VMCS_HOST_CR3, 0x1000},
    {VMCS_HOST_CR4, 0x2020},
    {VMCS_HOST_EFER, 0xd00},
    {VMCS_HOST_PAT, 0x0007040600070406},
    {VMCS_HOST_GS_BASE, 0xffffffff80100000},
    {VMCS_HOST_TR_BASE, 0xffffffff80101000},
    {VMCS_HOST_GDTR_BASE, 0xffffffff80102000},
    {VMCS_HOST_IDTR_BASE, 0xffffffff80103000},
    {VMCS_HOST_RSP, 0xffffffff80104000},
    {VMCS_HOST_RIP, 0xffffffff80105000},
    {VMCS_GUEST_CR0, 0x80010031},
    {VMCS_GUEST_CR3, 0x2000},
    {VMCS_GUEST_CR4, 0x2020},
    {VMCS_GUEST_EFER, 0xd01},
    {VMCS_GUEST_PAT, 0x0007040600070406},
    {VMCS_GUEST_DR7, 0x400},
    {VMCS_GUEST_RIP, 0x100000},
    {VMCS_GUEST_RSP, 0x200000},
    {VMCS_GUEST_RFLAGS, 2},
    {VMCS_LINK_POINTER, ~0ull},
    {VMCS_GUEST_CS_SELECTOR, 0x08},
    {VMCS_GUEST_SS_SELECTOR, 0x10},
    {VMCS_GUEST_DS_SELECTOR, 0x10},
    {VMCS_GUEST_ES_SELECTOR, 0x10},
    {VMCS_GUEST_FS_SELECTOR, 0x10},
    {VMCS_GUEST_GS_SELECTOR, 0x10},
    {VMCS_GUEST_TR_SELECTOR, 0x18},
    {VMCS_GUEST_CS_LIMIT, 0xffffffff},
    {VMCS_GUEST_SS_LIMIT, 0xffffffff},
    {VMCS_GUEST_DS_LIMIT, 0xffffffff},
    {VMCS_GUEST_ES_LIMIT, 0xffffffff},
    {VMCS_GUEST_FS_LIMIT, 0xffffffff},
    {VMCS_GUEST_GS_LIMIT, 0xffffffff},
    {VMCS_GUEST_TR_LIMIT, 0x67},
    {VMCS_GUEST_CS_ACCESS_RIGHTS, 0xa09b},
    {VMCS_GUEST_SS_ACCESS_RIGHTS, 0xc093},
    {VMCS_GUEST_DS_ACCESS_RIGHTS, 0xc093},
    {VMCS_GUEST_ES_ACCESS_RIGHTS, 0xc093},
    {VMCS_GUEST_FS_ACCESS_RIGHTS, 0xc093},
    {VMCS_GUEST_GS_ACCESS_RIGHTS, 0xc093},
    {VMCS_GUEST_TR_ACCESS_RIGHTS, 0x8b},
    {VMCS_GUEST_LDTR_ACCESS_RIGHTS, 0x10000},
    {VMCS_GUEST_GDTR_LIMIT, 0x27},
    {VMCS_GUEST_IDTR_LIMIT, 0xfff},
};

static const struct image_field image_real[] = {
    {VMCS_GUEST_CR0, 0x30},
    {VMCS_GUEST_CR4, 0x2000},
    {VMCS_GUEST_EFER, 0},
    {VMCS_GUEST_RIP, 0x7c00},
    {VMCS_GUEST_CS_ACCESS_RIGHTS, 0x9b},
};

static const struct image_field image_v8086[] = {
    {VMCS_GUEST_CR0, 0x31},
    {VMCS_GUEST_CR4, 0x2000},
    {VMCS_GUEST_EFER, 0},
    {VMCS_GUEST_RFLAGS, 0x20002},
};

static const struct image_field image_pae[] = {
    {VMCS_GUEST_EFER, 0},
    {VMCS_GUEST_CS_ACCESS_RIGHTS, 0xc09b},
    {VMCS_GUEST_PDPTE0, 0x7001},
    {VMCS_GUEST_PDPTE3, 0x8001},
};

/* A 16-bit segment register whose base is the selector times 16. */
static void image_real_segments(struct image *image, uint64_t rights)
{
    for (uint32_t i = 0; i < 6; i++) {
        uint64_t selector = 0x100 * i;
        image->value[VMCS_GUEST_ES_SELECTOR + 2 * i] = selector;
        image->value[VMCS_GUEST_ES_BASE + 2 * i] = selector << 4;
        image->value[VMCS_GUEST_ES_LIMIT + 2 * i] = 0xffff;
        image->value[VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * i] = rights;
    }
}

/* Fills in an image with the controls that the MSRs lead to. */
static void image_make(struct image *image, const struct vmx_msrs *msrs, enum image_kind kind)
{
    struct vmx_controls controls;

    memset(image, 0, offsetof(struct image, answered));
    image->msrs = *msrs;
    image->input = (struct entry_check_input){
        .read = image_read,
        .ctx = image,
        .msrs = &image->msrs,
        .maxphyaddr = 40,
        .linear_bits = 48,
        .efer_valid = 0xd01,
        .debugctl_valid = 3,
        .perf_global_valid = 0x70000000f,
    };
    assert_int_equal(vmx_negotiate(msrs, &controls), 0);
    if (kind == LONG || kind == RESTRICTED)
        controls.set[CONTROL_ENTRY] |= ENTRY_IA32E_GUEST;
    if (kind == RESTRICTED)
        controls.set[CONTROL_SECONDARY] &= ~SECONDARY_UNRESTRICTED_GUEST;
    controls.set[CONTROL_PRIMARY] &= ~PRIMARY_TPR_SHADOW;
    controls.set[CONTROL_SECONDARY] &= ~SECONDARY_APICV;
    for (enum control_set set = 0; set < CONTROL_SETS; set++)
        image->value[vmx_control_field(set)] = controls.set[set];

    image_fill(image, image_common, ARRAY_SIZE(image_common));
    if (kind == REAL) {
        image_real_segments(image, 0x93);
        image_fill(image, image_real, ARRAY_SIZE(image_real));
    } else if (kind == V8086) {
        image_real_segments(image, 0xf3);
        image_fill(image, image_v8086, ARRAY_SIZE(image_v8086));
    } else if (kind == PAE) {
        image_fill(image, image_pae, ARRAY_SIZE(image_pae));
    }
}
