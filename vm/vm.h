/* SPDX-License-Identifier: MIT */
/*
 * A VM and how it ends.
 *
 * launch/create.h creates a VM from a boot module and destroys it. vcpu_run() runs a vCPU until
 * something ends the VM. Exit handlers (vm/exits.h) call vm_end() with a reason and a message; the
 * first call counts. A guest can end no VM but its own.
 */
#pragma once

#include "dev/fw_cfg.h"
#include "dev/ioapic.h"
#include "dev/i8042.h"
#include "dev/locked.h"
#include "dev/pc_testdev.h"
#include "dev/pci_test.h"
#include "dev/pic.h"
#include "dev/pit.h"
#include "dev/pm_timer.h"
#include "dev/power.h"
#include "dev/rtc.h"
#include "dev/testdev.h"
#include "dev/uart.h"
#include "dev/vga.h"
#include "lib/compiler.h"
#include "mmio/bus.h"
#include "mmu/mmu.h"
#include "vm/console.h"
#include "vm/cpuid_table.h"
#include "vm/disk.h"
#include "vm/hvc.h"
#include "vm/input.h"
#include "vm/layout.h"
#include "vm/net.h"
#include "vm/rng.h"
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
    X(HALTED, "halted")                                   /* HLT, and nothing can wake it */       \
    X(MEMORY_FAULT, "memory-fault")         /* code or page tables in MMIO, no host memory, … */ \
    X(FATAL_ERROR, "fatal-error")           /* a TD has reported one (ReportFatalError) */         \
    X(MONITOR, "monitor")                   /* somebody at the console has ended it */             \
    X(MISCONFIGURATION, "misconfiguration") /* a real one; from here on, bugs of the hypervisor */ \
    X(UNHANDLED_EXIT, "unhandled-exit")                                                            \
    X(ENTRY_FAILED, "entry-failed")

enum vm_ending {
    VM_RUNNING,
#define X(name, text) VM_ENDED_##name,
    VM_ENDINGS(X)
#undef X
};

/* `expect=any`, which takes the place of an ending's number less one. The VM passes with every
 * ending that is not a bug of the hypervisor, whatever results the guest reports. For guests that
 * try to do harm. */
#define EXPECT_ANY VM_ENDED_ENTRY_FAILED

#define PIN_NONE   CPUS_MAX
#define LIMIT_NONE (~0ull)

#define BUDGET_MAX_MS 3600000u /* an hour */

/* What happens when the guest resets the VM. */
enum reset_action {
    RESET_END,   /* the VM ends by `exit` */
    RESET_AGAIN, /* it starts anew */
};

/* Whether the VM is a TD, and whether the hypervisor may inspect it. */
enum tdx {
    TDX_NONE,
    TDX_PROTECTED,
    TDX_DEBUG,
};

/* What GetQuote answers: that there is no service, or a quote that proves nothing. */
enum quote {
    QUOTE_NONE,
    QUOTE_TEST,
};

/* How much of a TD's memory its boot shim accepts: by default all; or only what the kernel needs to
 * start, which then accepts the rest. */
enum td_accept_word {
    ACCEPT_DEFAULT,
    ACCEPT_ALL,
    ACCEPT_LAZY,
};

/* Whether the boot shim of a TD measures what it starts; by default it does. */
enum measure {
    MEASURE_DEFAULT,
    MEASURE_OFF,
    MEASURE_ON,
};

/* What a VMCALL does whose number is no hypercall. */
enum unknown_vmcall {
    UNKNOWN_VMCALL_DEFAULT, /* it ends the VM, or with `kut`, returns an error */
    UNKNOWN_VMCALL_END,
    UNKNOWN_VMCALL_ERROR,
};

/* The device to which goes what a person types for the VM. */
enum console_word {
    CONSOLE_UART,
    CONSOLE_VIRTIO,
};

/* The words of a module's string. */
struct vm_words {
    uint64_t testctl;
    uint64_t pc;      /* a PC's devices: an I/O APIC, and what raises its lines */
    uint64_t legacy;  /* … and what PCs had before ACPI: 8259, 8254, 8042, VGA; implies `pc` */
    uint64_t vga;     /* what is written to the VGA's text memory is shown; implies `legacy` */
    uint64_t pci;     /* a PCI bus, with which it has the word pc, too */
    uint64_t kut;     /* the devices that kvm-unit-tests expect */
    uint64_t net;     /* a network device */
    uint64_t rng;     /* an entropy device */
    uint64_t reset;   /* enum reset_action */
    uint64_t live;    /* its console is shown as it comes */
    uint64_t console; /* enum console_word */
    uint64_t memory;
    uint64_t budget;               /* ms, up to BUDGET_MAX_MS */
    uint64_t expect;               /* enum vm_ending, less one; or EXPECT_ANY */
    uint64_t gva_cache;            /* enum gva_cache; by default the command line's */
    uint64_t shared, execute_only; /* numbers of the stolen address bits; 0: none */
    uint64_t ve;                   /* the guest takes #VE */
    uint64_t pin;                  /* the pCPU to run on, or PIN_NONE */
    uint64_t vcpus;
    uint64_t entry;   /* enum guest_entry: how an ELF64 kernel is entered */
    uint64_t tdx;     /* enum tdx; a TD has the words pc, shared=TDX_SHARED_BIT and ve, too */
    uint64_t measure; /* enum measure */
    uint64_t accept;  /* enum td_accept_word */
    uint64_t quote;   /* enum quote */
    uint64_t unknown_vmcall; /* enum unknown_vmcall */
    uint64_t limit; /* bytes of host memory beyond the VM's needs; LIMIT_NONE: what is left */
};

/* The devices that one CPU at a time may be in (dev/locked.h). */
enum locked_name {
    LOCKED_UART,
    LOCKED_DEBUG_EXIT,
    LOCKED_TEST_PORT,
    LOCKED_TEST_A,
    LOCKED_TEST_B,
    LOCKED_RTC,
    LOCKED_PIT,
    LOCKED_RESET,
    LOCKED_VGA,
    LOCKED_VGA_TEXT,
    LOCKED_DEVICES,
};

struct debugger;
struct td;

struct kut_devices {
    struct pc_testdev testdev;
    struct fw_cfg fw_cfg;
    struct locked_device locked; /* around fw_cfg */
};

#define VM_NAME_SIZE 32 /* of its name with the terminating zero */

struct vm {
    char name[VM_NAME_SIZE];
    uint16_t number; /* of the VM in the report and in the trace */
    struct vm_words words;
    struct guest_range ram[GUEST_RAM_PIECES];
    struct mmu mmu;
    struct bus mmio_bus, port_bus;
    struct cpuid_table cpuid;
    struct uart uart;
    struct ioapic ioapic; /* with pc */
    struct input input;   /* with pc */
    struct testdev testdev[2];
    struct test_devices tests;
    struct console console;
    struct rtc rtc; /* these with pc */
    struct pm_timer pm_timer;
    struct pit pit;
    struct pic pic; /* with legacy */
    struct i8042 i8042;
    struct vga vga;
    struct power power;
    struct pci_host pci; /* these with pci */
    struct pci_test pci_test[PCI_TEST_FUNCTIONS];
    struct locked_device locked[LOCKED_DEVICES];
    /* These too. Of a VM that starts anew, the disks from `disk_count` on are those of before. */
    struct disk *disks[DISKS];
    unsigned disk_count;
    struct net *net;                         /* with net, else NULL */
    struct hvc hvc;                          /* with console=virtio */
    struct rng rng;                          /* with rng */
    struct virtio_unit *units[VIRTIO_UNITS]; /* of all these that the VM has */
    unsigned unit_count;
    unsigned unit_turn; /* counts pieces of the devices' work, which take turns */
    struct kut_devices kut;
    struct td *td;             /* its state as a TD, else NULL */
    struct debugger *debugger; /* vm/debugger.h; NULL: it has none */
    struct vcpu vcpu;          /* the first vCPU */
    struct vcpu *vcpus[VCPUS_MAX];
    unsigned vcpu_count;
    unsigned active; /* vCPUs that do not wait for a start-up IPI */
    bool chores;     /* pending work waits for a vCPU that takes it (vm/ipi.h) */

    uint64_t nx_recovery; /* ms between two recoveries of large pages; 0: none */
    uint64_t nx_due;      /* TSC: when the next recovery is due, or TIME_NEVER */
    uint64_t stat_period; /* ms between two lines of its counters (vm/stat.h); 0: none */
    uint64_t stat_due;    /* TSC: when the next such line is due, or TIME_NEVER */
    /* The earlier one of these two; TIME_NEVER while a vCPU does what is due, which alone accesses
     * the two then. */
    uint64_t regular_due;

    bool put_off; /* not created yet: other VMs have the memory that it needs */
    bool again;   /* its guest has reset it, and it starts anew */
    enum vm_ending ending;
    uint8_t exit_value; /* what was written to the debug-exit port */
    char message[256];
    unsigned refused;  /* accesses; see vm/refused.h */
    uint32_t pictures; /* that its guest has asked for by HC_MAP */
};

/* A value that is the guest's own, for a trace event: 0 of a TD that may not be inspected. */
static inline uint64_t vm_traced(const struct vm *vm, uint64_t value)
{
    return vm->words.tdx == TDX_PROTECTED ? 0 : value;
}

/* From now on, what this pCPU logs and allocates outside of vcpu_run() belongs to the VM, or to no
 * VM if `vm` is NULL. */
void vm_work_for(struct vm *vm);

static inline enum vm_ending vm_ending(const struct vm *vm)
{
    return __atomic_load_n(&vm->ending, __ATOMIC_ACQUIRE);
}

/* Ends the VM unless it has ended already. Called on the pCPU of one of its vCPUs; the others leave
 * their guest soon. Returns true if this call has ended it. */
bool vm_end(struct vm *vm, enum vm_ending ending, const char *format, ...) PRINTF(3, 4);

/* The same, for an end that this vCPU has caused: in a VM of several vCPUs, the message begins with
 * its number. */
void vcpu_end(const struct vcpu *vcpu, enum vm_ending ending, const char *format, ...) PRINTF(3, 4);

/* The name of an ending, as in `expect=`. */
const char *vm_ending_name(enum vm_ending ending);

/* Returns true if the VM has ended as its module expects and, if by the debug-exit port, with
 * success. */
bool vm_passed(const struct vm *vm);
