/* SPDX-License-Identifier: MIT */
/*
 * The guest programs' runtime: printing, KTAP, exceptions, paging, hypercalls and timing.
 *
 * A program is one C file that defines guest_main(), which usually passes a table of struct test to
 * run_tests(). A test checks with EXPECT() and EXPECT_EQ(), and reports with note() the numbers
 * that prove it; they follow the `#` of its KTAP line. The whole program, its stack and its page
 * tables are touched before guest_main() runs, so no fault of the runtime disturbs a count.
 *
 * Everything runs on one CPU in 64-bit mode at CPL 0, with interrupts off and the low 4 GiB
 * identity-mapped. Only the general registers are used.
 */
#pragma once

#include "guest/abi.h"
#include "guest/programs/rt/layout.h"
#include "lib/bits.h"
#include "lib/errno.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_PAGE 0x1000ull
#define RT_2M   0x200000ull

/* ---- The program ----------------------------------------------------------------------------- */

void guest_main(void);

extern const char *rt_args; /* the arguments, never NULL */
extern uint64_t rt_ram_end; /* first address beyond the RAM above 1 MiB */

/* Writes to each page of the program, its stack and its tables. Called after the hypervisor has
 * dropped all mappings, so that the next count does not include the faults that restore them. */
void touch_image(void);

/* Ends the VM: 0 is success. */
_Noreturn void debug_exit(uint8_t value);

/* ---- Printing and KTAP (print.c) ------------------------------------------------------------- */

void uart_init(void);

/* Supports %s %c %d %u %x %lu %lx %ld %%, a width and a leading 0. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

enum need {
    NEED_EPTVISOR = 1, /* runs under eptvisor */
    NEED_TESTCTL = 2,  /* additionally may use the control hypercalls */
    NEED_PCID = 4,
    NEED_INVPCID = 8,
    NEED_SHARED = 16, /* has shared addresses; only together with one of the first two */
    NEED_CODE = 32,   /* has execute-only addresses; likewise */
    NEED_HOST = 64,   /* slots and doorbells: like NEED_TESTCTL, or from a launcher */
};

struct test {
    const char *name;
    void (*run)(void);
    unsigned needs; /* NEED_ */
};

/* Prints the KTAP report of the tests and ends the VM with 0 if none failed. */
_Noreturn void run_tests(const struct test *tests, unsigned count);

/* For a program that ends its VM by a forbidden action. Without the hypervisor, the action is
 * skipped. With it, nothing is printed, because the hypervisor reports how the VM ended; if the
 * action returns, the program fails. */
_Noreturn void run_forbidden(const char *name, void (*deed)(void));

/* Adds "name=value" to the running test's line. */
void note(const char *name, uint64_t value);

/* Fails the running test with a message unless the condition holds. Returns the condition. */
#define EXPECT(condition) rt_expect(condition, #condition, __FILE__, __LINE__)
#define EXPECT_EQ(got, want) \
    rt_expect_eq((uint64_t)(got), (uint64_t)(want), #got, __FILE__, __LINE__)
bool rt_expect(bool condition, const char *text, const char *file, int line);
bool rt_expect_eq(uint64_t got, uint64_t want, const char *text, const char *file, int line);

/* The reason why a test with these needs cannot run here, or NULL. */
const char *missing_need(unsigned needs);

/* ---- Hypercalls and counters (hypercall.c) --------------------------------------------------- */

bool under_eptvisor(void);

/* Whether the launcher of another hypervisor started the program; it answers some hypercalls
 * (guest/abi.h). */
bool launched(void);
void use_launcher(void);

struct hypercall {
    uint64_t rbx, rcx, rdx, rsi;
};

/* Returns EAX as a signed number; registers come back in *call. */
int hypercall(unsigned number, struct hypercall *call);

int hc_slot_add(uint64_t id, uint64_t gpa, uint64_t pages, uint64_t flags);
int hc_slot_delete(uint64_t id);
int hc_slot_move(uint64_t id, uint64_t gpa);
int hc_zap(uint64_t gpa, uint64_t pages);
int hc_slot_flags(uint64_t id, uint64_t flags);
uint64_t hc_dirty_get(uint64_t id, uint64_t page); /* a bit for each of 64 pages */
int hc_page(unsigned number, uint64_t gpa);        /* HC_TRACK, HC_UNTRACK, HC_HOST_REMAP */
uint64_t hc_age(uint64_t gpa, uint64_t pages);
int hc_inject(uint64_t event, uint64_t error_code, uint64_t delay);
/* Asks for a picture of the VM's memory at this moment (docs/MAP.md). `label` has up to 32
 * characters. */
void hc_map(const char *label);
int hc_generation_set(uint64_t generation);
/* Events for hc_inject(). */
#define EVENT(type, vector) (BIT(31) | (type) << 8 | (vector))
#define EVENT_HAS_ERROR     BIT(11)
#define EVENT_INTERRUPT     0
#define EVENT_NMI           2
#define EVENT_EXCEPTION     3

uint64_t hc_spte(uint64_t gpa);
uint64_t hc_generation(void);
uint64_t hc_config(unsigned which);
uint64_t counter(unsigned which);

/* The basic exit reasons that the tests count. */
#define EXITS_HLT       COUNTER_EXIT(12)
#define EXITS_INVLPG    COUNTER_EXIT(14)
#define EXITS_CR        COUNTER_EXIT(28)
#define EXITS_VIOLATION COUNTER_EXIT(48)
#define EXITS_MISCONFIG COUNTER_EXIT(49)
#define EXITS_TIMER     COUNTER_EXIT(52)
#define EXITS_INVPCID   COUNTER_EXIT(58)

/* A counter watched over a block of code: watch() before it, watched() after it. */
struct watch {
    unsigned which;
    uint64_t start;
};
struct watch watch(unsigned which);
uint64_t watched(struct watch watch);

/* The INVEPTs that changes of the EPT cost: watch_flushes() before the changes, and flushed() after
 * them. If another VM has had the CPU meanwhile, the INVEPT that this VM's return costs has paid
 * the debt, too; then `expected` is returned although fewer have been executed for debts alone. */
struct flushes {
    struct watch debts, all;
};
struct flushes watch_flushes(void);
uint64_t flushed(struct flushes flushes, uint64_t expected);

/* The exits that n accesses to MMIO pages already known make: EXITS_MISCONFIG with MMIO caching,
 * EXITS_VIOLATION without. */
unsigned mmio_exit(void);

/* ---- Exceptions and interrupts (trap.c) ------------------------------------------------------ */

struct frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

void rt_traps_init(void);

/* Sets the handler of `vector`; NULL restores the default. */
void set_handler(unsigned vector, void (*handler)(struct frame *frame));

/* Lets the handler of `vector` run on the stack that ends at `top`; 0: on the current stack. */
void set_stack(unsigned vector, uint64_t top);

/* Points the gate of `vector` at `entry`. */
void set_gate(unsigned vector, uint64_t entry);

/* The 256 gates of 16 bytes; load_idt() makes the CPU use them at another address. */
extern uint64_t rt_idt[512];
void load_idt(uint64_t address);

/* What the last handler installed by look_for() saw; `count` counts from look_for(). The handler
 * adds `skip` to RIP, to step over an instruction that faults, and clears the trap flag. */
struct seen {
    volatile uint64_t count;
    uint64_t rip, error, cr2, dr6, skip;
};
extern struct seen seen;
void look_for(unsigned vector, uint64_t skip);

struct fault {
    bool taken;
    uint64_t vector, error, rip, cr2;
};

/* Runs the function and returns the exception that ended it, if there was one. */
struct fault try_run(void (*run)(void *), void *argument);
void rt_user(uint64_t rip);

#define VECTOR_DB  1
#define VECTOR_NMI 2
#define VECTOR_BP  3
#define VECTOR_UD  6
#define VECTOR_GP  13
#define VECTOR_PF  14

/* ---- Paging (paging.c) ----------------------------------------------------------------------- */

#define PTE_P  BIT(0)
#define PTE_W  BIT(1)
#define PTE_U  BIT(2)
#define PTE_A  BIT(5)
#define PTE_D  BIT(6)
#define PTE_PS BIT(7)
#define PTE_G  BIT(8)

/* Addresses from here up are mapped only by tests. */
#define TEST_VA 0x8000000000ull

extern uint64_t rt_pml4[512];

/* Maps one page (4 KiB, or 2 MiB with PTE_PS) in the tables below `root`, without a flush. */
void map_page(uint64_t *root, uint64_t va, uint64_t pa, uint64_t flags);

/* A PML4 that shares the low 512 GiB with the first one and has nothing above. */
uint64_t *new_root(void);

/* One page from the runtime's pool, zeroed. Nothing is ever freed. */
uint64_t *new_page(void);

static inline void invlpg(uint64_t va)
{
    __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

static inline uint64_t read_cr3(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr3, %0" : "=r"(value));
    return value;
}

static inline void write_cr3(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

static inline uint64_t read_cr4(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}

static inline void write_cr4(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}

#define CR3_NOFLUSH BIT(63)
#define CR4_PSE     BIT(4)
#define CR4_PAE     BIT(5)
#define CR4_PGE     BIT(7)
#define CR4_PCIDE   BIT(17)

static inline void invpcid(uint64_t type, uint64_t pcid, uint64_t va)
{
    struct {
        uint64_t pcid, va;
    } descriptor = {pcid, va};
    __asm__ volatile("invpcid %0, %1" : : "m"(descriptor), "r"(type) : "memory");
}

/* ---- Memory, ports, time --------------------------------------------------------------------- */

/* Always one MOV, which a compiler could fold into another instruction: tests count these. */
static inline uint8_t read8(uint64_t address)
{
    uint8_t value;
    __asm__ volatile("movb (%1), %0" : "=q"(value) : "r"(address) : "memory");
    return value;
}
static inline uint32_t read32(uint64_t address)
{
    uint32_t value;
    __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}
static inline uint64_t read64(uint64_t address)
{
    uint64_t value;
    __asm__ volatile("movq (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}
static inline void write32(uint64_t address, uint32_t value)
{
    __asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(address) : "memory");
}
static inline void write64(uint64_t address, uint64_t value)
{
    __asm__ volatile("movq %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static inline void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline uint8_t inb(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf)
{
    struct cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(0)
                     : "memory");
    return r;
}

void *memset(void *to, int value, size_t size);
void *memcpy(void *to, const void *from, size_t size);
