/*
 * What a flush of the TLB can be owed for, with the names that a trace and the counters show. mmu/
 * makes an enumeration of it (enum debt_reason in mmu/types.h), and each change of the EPT tables
 * that owes a flush names one.
 */
#pragma once

#define FLUSH_REASONS(X)                                                                   \
    X(SLOT_ADDED, "slot_added")           /* memory takes the place of MMIO SPTEs */       \
    X(SLOT_GONE, "slot_gone")             /* a slot is deleted or moved */                 \
    X(SLOT_FLAGS, "slot_flags")           /* a slot gets other flags */                    \
    X(LOG_STARTED, "log_started")         /* writes are logged from now on */              \
    X(LOG_READ, "log_read")               /* the log of writes is read, and starts anew */ \
    X(WRITES_TRACKED, "writes_tracked")   /* writes to a page fault from now on */         \
    X(AGED, "aged")                       /* access is taken, so that the next is seen */  \
    X(HOST_REMAPPED, "host_remapped")     /* a frame gets another host page */             \
    X(CONVERTED, "converted")             /* pages become private, or shared */            \
    X(LEAF_REPLACED, "leaf_replaced")     /* a fault gives a leaf other rights */          \
    X(TABLE_COLLAPSED, "table_collapsed") /* a large leaf takes the place of a table */    \
    X(NX_RECOVERED, "nx_recovered")       /* executed pages may become large again */      \
    X(ZAPPED, "zapped")                   /* somebody called mmu_zap() */                  \
    X(TOO_MANY_TABLES, "too_many_tables") /* more than the VM's memory justifies */        \
    X(NEW_GENERATION, "new_generation")   /* the slots' generation is set, or wraps */     \
    X(MMU_DESTROYED, "mmu_destroyed")     /* the VM has ended */                           \
    X(STRAY_LEAF, "stray_leaf")           /* a leaf without a slot, a mistake of ours */
