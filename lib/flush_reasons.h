/* SPDX-License-Identifier: MIT */
/*
 * The reasons for which a TLB flush can be owed, with the names that the trace and the counters
 * show. mmu/ makes an enumeration of them (enum debt_reason in mmu/types.h), and each change of the
 * EPT tables that owes a flush names one.
 */
#pragma once

#define FLUSH_REASONS(X)                                                                   \
    X(SLOT_ADDED, "slot_added")           /* memory replaces MMIO SPTEs */                 \
    X(SLOT_GONE, "slot_gone")             /* a slot is deleted or moved */                 \
    X(SLOT_FLAGS, "slot_flags")           /* the flags of a slot change */                 \
    X(LOG_STARTED, "log_started")         /* dirty logging is enabled */                   \
    X(LOG_READ, "log_read")               /* the dirty log is read and restarted */        \
    X(WRITES_TRACKED, "writes_tracked")   /* writes to a page become tracked */            \
    X(AGED, "aged")                       /* access is removed to detect the next one */   \
    X(HOST_REMAPPED, "host_remapped")     /* a frame is backed by another host page */     \
    X(CONVERTED, "converted")             /* pages become private or shared */             \
    X(LEAF_REPLACED, "leaf_replaced")     /* a fault changes the permissions of a leaf */  \
    X(TABLE_COLLAPSED, "table_collapsed") /* a large leaf replaces a table */              \
    X(NX_RECOVERED, "nx_recovered")       /* executed pages may become large again */      \
    X(ZAPPED, "zapped")                   /* mmu_zap() was called */                       \
    X(TOO_MANY_TABLES, "too_many_tables") /* more tables than the VM's memory justifies */ \
    X(NEW_GENERATION, "new_generation")   /* the slots' generation is set or wraps */      \
    X(MMU_DESTROYED, "mmu_destroyed")     /* the VM has ended */                           \
    X(STRAY_LEAF, "stray_leaf")           /* a leaf without a slot, which is a bug */      \
    X(REMOVAL_TRACKED, "removal_tracked") /* private pages of a protected VM are removed */
