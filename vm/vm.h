/*
 * A VM, its vCPUs, and how it ends.
 *
 * vm_create() makes a VM from a boot module, vcpu_run() runs a vCPU until something ends its VM,
 * vm_destroy() gives everything back. Exit handlers (vm/dispatch.c) call vm_end() with a reason
 * and a sentence; the first one counts. Nothing that a guest does may end anything but its own VM.
 */
#pragma once

#include "arch/x86/cpu.h"
#include "arch/x86/cpus.h"
#include "boot/boot_info.h"
#include "vm/console.h"
#include "vm/cpuid_table.h"
#include "launch/firmware.h"
#include "vm/ghci.h"
#include "vm/layout.h"
#include "vm/options.h"
#include "vm/pass.h"
#include "vm/test_devices.h"
#include "lib/compiler.h"
#include "lib/exit_codes.h"
#include "lib/trace.h"
#include "mmio/bus.h"
#include "dev/lapic.h"
#include "dev/locked.h"
#include "dev/testdev.h"
#include "dev/uart.h"
#include "mmio/vcpu.h"
#include "mmu/mmu.h"
#include "mmu/tlb.h"
#include "vmx/errors.h"
#include "vmx/extra_state.h"
#include "vmx/vmx.h"

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
#define TIME_NEVER (~0ull)
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

/* What this machine and the command line leave to a VM. */
struct vm_limits {
    unsigned address_bits; /* of a guest-physical address */
    bool execute_only;     /* the CPU has such pages */
    uint64_t pcpus;        /* bit n: CPU n runs guests */
};

/* Whether the words go together, each being good for itself. -EINVAL after a sentence that names
 * those that don't. */
int vm_words_check(const char *name, const struct vm_words *words,
                   const struct vm_limits *limits) MUST_CHECK;

/* An I/O instruction that was executed before, by its exit qualification; vm/io.c. */
struct known_port {
    uint64_t qualification;
    uint64_t sequence; /* of the bus; 0: none is kept here */
    const struct bus_ops *ops;
    __typeof__(((struct bus_ops *)0)->write) write; /* of those */
    void *device;
    uint64_t offset, mask;
    unsigned size;
} __attribute__((aligned(64)));
#define KNOWN_PORTS 16 /* told apart by the low bits of the port, the direction and the size */

/* What other vCPUs of the VM have sent, until this one looks; vm/ipi.c. */
struct mailbox {
    uint64_t vectors[4];
    uint32_t news;    /* MAIL_: what to look at */
    uint32_t startup; /* vm/startup.h */
    uint32_t pcpu;    /* where it runs, and 1 more; 0: nowhere */
};

struct vcpu {
    struct vmx_vcpu vmx; /* first: vm/interrupts.c gets from here to the vCPU */
    struct extra_state extra;
    struct mmio_vcpu mmio;
    struct known_port ports[KNOWN_PORTS];
    struct cpuid cpuid[CPUID_OWN_COUNT]; /* its own answers; see cpuid_update() */
    struct vm *vm;
    struct vcpu *next; /* in a run queue, or asleep */
    uint32_t asleep;   /* the pCPU where it sleeps, and 1 more; 0: it does not */
    uint64_t wake_at;  /* TSC: its next event, while it sleeps */
    uint8_t index;     /* in the VM, and its APIC ID */
    struct mailbox mailbox;
    bool starting; /* from real mode, by the mailbox's start-up IPI */
    bool stopping; /* an INIT came: it leaves its pCPU */
    bool pinned;   /* to the pCPU `pin` */
    unsigned pin;
    struct ghci_memo ghci;
    struct pass pass;
    struct tlb_place place; /* of the pCPU that has the vCPU now */
    uint16_t vpid;
    bool ve_by_cpu;          /* the CPU delivers #VE itself */
    struct ve_area *ve_area; /* where its information goes; NULL: the guest takes none */
    struct lapic lapic;
    bool halted;
    bool kicked;         /* by another CPU: the preemption timer has to be armed anew */
    bool has_chores;     /* its last hypercall left some; see mmu_do_chore() */
    uint64_t tsc_offset; /* the guest's TSC less the host's */
    uint64_t tsc_adjust; /* IA32_TSC_ADJUST */

    uint64_t budget_left;  /* TSC ticks, while it does not run */
    uint64_t budget_end;   /* TSC, while it does */
    uint64_t slice_end;    /* TSC: another vCPU's turn; TIME_NEVER: none waits */
    uint64_t next_event;   /* TSC: the first thing that is due, the budget's end among them */
    bool arm_at_entry;     /* the preemption timer, before each */
    uint32_t exits_left;   /* so many, and the clock is looked at */
    struct event external; /* an interrupt that does not come through the APIC */
    struct event delayed;  /* HC_INJECT: made pending at `delayed_until` */
    uint64_t delayed_until;

    uint64_t exits[REASON_COUNT];
    uint64_t events_requeued;
    uint64_t poison_ticks;              /* TSC: spent in vmx_poison() */
    uint64_t traced[TRACE_EVENT_COUNT]; /* records of each event */
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
    char sentence[256];
    unsigned unknown_msrs;
};

/* Builds VM `number` from a module: reads the words of its string, has the memory promised to it
 * that it can come to need, adds RAM and devices, loads the program and hands it the `extra`
 * modules that follow. Anything but EXIT_OK comes after a sentence, unless vm->put_off says that it
 * could be created when others have ended, which is refused, too, if it is `last_chance`; then
 * nothing is left to destroy. */
enum exit_code vm_create(struct vm *vm, unsigned number, const struct boot_module *module,
                         unsigned extra, const struct options *options,
                         bool last_chance) MUST_CHECK;
void vm_destroy(struct vm *vm);

/* What this pCPU logs and takes from now on, outside of vcpu_run(), is the VM's; NULL: nobody's. */
void vm_work_for(struct vm *vm);

/* Runs a vCPU until the VM ends, an INIT stops it (vcpu->stopping), another vCPU's turn has come on
 * this pCPU, or it has halted and another one waits. Afterwards it can be run on any pCPU. */
void vcpu_run(struct vcpu *vcpu);

static inline enum vm_ending vm_ending(const struct vm *vm)
{
    return __atomic_load_n(&vm->ending, __ATOMIC_ACQUIRE);
}

/* Ends the VM unless it has ended already, from one of its vCPUs; the others leave it soon. */
void vm_end(struct vm *vm, enum vm_ending ending, const char *format, ...) PRINTF(3, 4);

/* The name of an ending, as in `expect=`. */
const char *vm_ending_name(enum vm_ending ending);

/* For exits whose work may take long, where another vCPU waits for its turn. The preemption timer
 * stood still meanwhile and would let the guest run on for as long, and the clock is otherwise
 * looked at every some exits, which would be many such works. */
void vcpu_arm_for_slice(struct vcpu *vcpu);
static inline void vcpu_end_of_slice(struct vcpu *vcpu)
{
    if (unlikely(vcpu->slice_end != TIME_NEVER))
        vcpu_arm_for_slice(vcpu);
}

/* The ending that the module asked for, and success if it was by the debug-exit port. */
bool vm_passed(const struct vm *vm);

/* The CPU that executes this. */
#define THIS_CPU this_cpu()

/* Exits so far, for all reasons. */
uint64_t vcpu_exit_count(const struct vcpu *vcpu);
uint64_t vm_exit_count(const struct vm *vm);

/* Makes an event pending, now or in `ticks` of the TSC. The event has been checked. An interrupt
 * goes into the local APIC if that accepts it, and past it otherwise. */
void vcpu_pend(struct vcpu *vcpu, const struct event *event);
void vcpu_delay(struct vcpu *vcpu, const struct event *event, uint64_t ticks);
void vcpu_nmi(struct vcpu *vcpu);

/* The local APICs' page of addresses, for the bus; no device. */
extern const struct bus_ops apic_window_ops;

/* TSC: the next event of the vCPU's own, by a delay or its APIC's timer; TIME_NEVER if there is
 * none. */
uint64_t vcpu_next_event(const struct vcpu *vcpu);

/* Lets the guest be left in time for what comes next: a delayed event, the APIC's timer, the end of
 * its budget. */
void vcpu_arm_timer(struct vcpu *vcpu);

/* Does what the emulator answered: the fault, the flush, the end. */
void mmio_act_on(struct vcpu *vcpu, enum mmio_outcome outcome);

/* Exit handlers with a file of their own. */
void exit_cpuid(struct vcpu *vcpu);
void exit_rdmsr(struct vcpu *vcpu);
void exit_wrmsr(struct vcpu *vcpu);
void exit_cr_access(struct vcpu *vcpu);
void exit_mov_dr(struct vcpu *vcpu);
void exit_invlpg(struct vcpu *vcpu);
void exit_invpcid(struct vcpu *vcpu);
void exit_vmcall(struct vcpu *vcpu);
void exit_io(struct vcpu *vcpu);
void exit_task_switch(struct vcpu *vcpu);

/* Logging of dirty pages by the CPU, in vm/pml.c: at creation; after tlb_enter(), so that the
 * vCPU logs if any slot wants it; after an exit with vmx.pml_on, before tlb_leave(). */
int pml_setup(struct vcpu *vcpu) MUST_CHECK;
void pml_follow(struct vcpu *vcpu) COLD;
void pml_drain(struct vcpu *vcpu) COLD;

/* At creation: the MSRs that the guest uses without an exit, the local APIC, and the CR0 and CR4
 * bits that exit. */
void msr_setup(struct vcpu *vcpu);
void interrupts_setup(struct vcpu *vcpu);
void control_registers_setup(struct vcpu *vcpu);

/* WRMSR of IA32_EFER. False: #GP, and nothing has changed. */
/* As MOV to CR3, with the flush. False: it is refused. */
bool vcpu_set_cr3(struct vcpu *vcpu, uint64_t value) MUST_CHECK;

bool vcpu_set_efer(struct vcpu *vcpu, uint64_t value) MUST_CHECK;

/* CPUID.1:EAX of every guest: family, model and stepping. */
uint32_t cpuid_signature(void);

/* Once at boot, when VMX is on: what guests are offered, by vm/features.h. */
void cpuid_init(void);

/* At creation, after the VM's words: what CPUID answers. */
void cpuid_setup(struct vm *vm);

/* After anything has changed that a vCPU's own answers depend on: its CR4, its APIC's mode, XCR0
 * and IA32_XSS in vcpu->extra. Each of these changes by an exit alone. The VMCS is loaded. */
void cpuid_update(struct vcpu *vcpu);
