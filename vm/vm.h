/* SPDX-License-Identifier: MIT */
/*
 * A VM and how it ends.
 *
 * launch/create.h makes a VM from a boot module and takes it apart; vcpu_run() runs a vCPU until
 * something ends the VM. Exit handlers (vm/exits.h) call vm_end() with a reason and a message; the
 * first one counts. Nothing that a guest does may end anything but its own VM.
 */
#pragma once

#include "dev/locked.h"
#include "dev/testdev.h"
#include "dev/uart.h"
#include "lib/compiler.h"
#include "mmio/bus.h"
#include "mmu/mmu.h"
#include "vm/console.h"
#include "vm/cpuid_table.h"
#include "vm/layout.h"
#include "vm/test_devices.h"
#include "vm/vcpu.h"

/* How a VM ends; `expect=` takes the names. */
#define VM_ENDINGS(X)                                                                              \
    X(EXIT, "exit") /* by the debug-exit port */                                                   \
    X(TRIPLE_FAULT, "triple-fault")                                                                \
    X(UNKNOWN_HYPERCALL, "unknown-hypercall")                                                      \
    X(UNSUPPORTED_INSTRUCTION, "unsupported-instruction") /* on MMIO */                            \
    X(MMIO_DURING_DELIVERY, "mmio-during-delivery")       /* the IDT or a stack in MMIO space */   \
    X(BUDGET, "budget")                                   /* it ran for too long */                \
    X(HALTED, "halted")                     /* HLT, and nothing is there that could wake it */     \
    X(MEMORY_FAULT, "memory-fault")         /* code or page tables in MMIO, no host memory, … */ \
    X(MISCONFIGURATION, "misconfiguration") /* a real one; from here on: our mistake */            \
    X(UNHANDLED_EXIT, "unhandled-exit")                                                            \
    X(ENTRY_FAILED, "entry-failed")

enum vm_ending {
    VM_RUNNING,
#define X(name, text) VM_ENDED_##name,
    VM_ENDINGS(X)
#undef X
};

/* In place of an ending's number, less one: `expect=any`. Each ending passes but those that are our
 * mistakes, and whatever the guest says of itself; for guests that try to do harm. */
#define EXPECT_ANY VM_ENDED_ENTRY_FAILED

#define PIN_NONE   CPUS_MAX
#define LIMIT_NONE (~0ull)

/* The words of a module's string. */
struct vm_words {
    uint64_t testctl;
    uint64_t memory;
    uint64_t budget;               /* ms */
    uint64_t expect;               /* enum vm_ending, less one; or EXPECT_ANY */
    uint64_t gva_cache;            /* enum gva_cache; the command line's unless given */
    uint64_t shared, execute_only; /* address bits that the VM steals; 0: none */
    uint64_t ve;                   /* the guest takes #VE */
    uint64_t pin;                  /* the pCPU to run on, or PIN_NONE */
    uint64_t vcpus;
    uint64_t limit; /* bytes of the host's memory beyond its needs; LIMIT_NONE: what is left */
};

struct vm {
    char name[32];
    uint16_t number; /* in the report, and of its trace */
    struct vm_words words;
    struct guest_range ram[GUEST_RAM_PIECES];
    struct mmu mmu;
    struct bus mmio_bus, port_bus;
    struct cpuid_table cpuid;
    struct uart uart;
    struct testdev testdev[2];
    struct test_devices tests;
    struct console console;
    struct locked_device locked[5]; /* those of them that several vCPUs can reach */
    struct vcpu vcpu;               /* the first */
    struct vcpu *vcpus[VCPUS_MAX];
    unsigned vcpu_count;
    unsigned active; /* of them: those that do not wait for a start-up IPI */

    uint64_t nx_recovery; /* ms between two recoveries of large pages; 0: none */
    uint64_t nx_due;      /* TSC: the next one */

    bool put_off;     /* not created: others have the memory that it needs */
    bool chose_trace; /* by HC_TRACE */
    enum vm_ending ending;
    uint8_t exit_value; /* what was written to the debug-exit port */
    char message[256];
    unsigned unknown_msrs;
};

/* What this pCPU logs and takes from now on, outside of vcpu_run(), is the VM's; NULL: nobody's. */
void vm_work_for(struct vm *vm);

static inline enum vm_ending vm_ending(const struct vm *vm)
{
    return __atomic_load_n(&vm->ending, __ATOMIC_ACQUIRE);
}

/* Ends the VM unless it has ended already, from one of its vCPUs; the others leave it soon. */
void vm_end(struct vm *vm, enum vm_ending ending, const char *format, ...) PRINTF(3, 4);

/* The name of an ending, as in `expect=`. */
const char *vm_ending_name(enum vm_ending ending);

/* The ending that the module asked for, and success if it was by the debug-exit port. */
bool vm_passed(const struct vm *vm);
