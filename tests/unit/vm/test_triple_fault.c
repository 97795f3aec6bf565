/* SPDX-License-Identifier: MIT */
/*
 * How a triple fault is explained (vm/triple_fault.c, vm/fault_chain.c): against a model of a CPU
 * whose instruction faults, or whose events cannot be delivered, the message names the event that
 * came first, whatever entries end early by kicks and EPT violations; each repetition begins in the
 * state of the triple fault; and the advice names what broke the first delivery.
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "arch/x86/cpu.h"

static uint64_t guest_cr2;
#define read_cr2() guest_cr2

#include "vm/triple_fault.c"

#include <stdio.h>
#include <string.h>

struct vmx_machine vmx;
uint32_t mitigate_chosen;
static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;

/* ---- The model of the CPU -------------------------------------------------------------------- */

#define NOTHING 0xff /* a vector: no exception */
#define IDT     0x7000u
#define STACK   0x9000u
#define HERE    0x1234u

static struct {
    uint8_t instruction; /* the exception that it raises, NOTHING, or with `software` its vector */
    uint8_t software;    /* the type of the event that it raises by INT n, INT1, INT3; 0: none */
    uint8_t raised[256]; /* by the delivery of each vector */
    uint32_t error[32];  /* the error code of each exception */
    uint64_t address;    /* of page faults */
    unsigned incidental; /* exits before all others */
} model;
static unsigned entries;
static bool fails; /* the entries */

uint64_t tsc_khz(void)
{
    return 1000;
}

void pml_follow(struct vcpu *v)
{
    assert_ptr_equal(v, vcpu);
}

void vmx_set_primary(uint64_t mask, bool on)
{
    uint64_t old = vmcs[VMCS_PRIMARY_CONTROLS];
    vmcs[VMCS_PRIMARY_CONTROLS] = on ? old | mask : old & ~mask;
}

bool exit_was_incidental(struct vcpu *v)
{
    assert_ptr_equal(v, vcpu);
    return v->vmx.exit.reason == REASON_EPT_VIOLATION;
}

void vcpu_end(const struct vcpu *which, enum vm_ending ending, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(which->vm->message, sizeof(which->vm->message), format, arguments);
    va_end(arguments);
    which->vm->ending = ending;
}

static void state_is_right(bool injects)
{
    assert_int_equal(vmcs[VMCS_GUEST_RIP], HERE);
    assert_int_equal(vmcs[VMCS_GUEST_RSP], STACK);
    assert_int_equal(vmcs[VMCS_GUEST_IDTR_BASE], IDT);
    assert_int_equal(vmcs[VMCS_GUEST_CS_SELECTOR], 8);
    assert_int_equal(vmcs[VMCS_GUEST_RFLAGS], injects ? 0x10002 : 0x10002 | RFLAGS_TF);
    assert_int_equal(vmcs[VMCS_GUEST_ACTIVITY_STATE], ACTIVITY_ACTIVE);
    assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY] & INTERRUPT_SHADOW, 0);
    assert_int_equal(vmcs[VMCS_GUEST_PENDING_DEBUG], 0);
    assert_int_equal(vmcs[VMCS_EXCEPTION_BITMAP], 0xffffffff);
    assert_int_equal(vmcs[VMCS_PRIMARY_CONTROLS], PRIMARY_HLT_EXITING);
    assert_int_equal(vmcs[VMCS_PREEMPTION_TIMER_VALUE], 100);
    assert_true(vcpu->vmx.extra_work);
}

/* What the guest changes before it exits. */
static void disturb(void)
{
    vmcs[VMCS_GUEST_RIP] += 2;
    vmcs[VMCS_GUEST_RSP] -= 8;
    vmcs[VMCS_GUEST_RFLAGS] = 2;
    vmcs[VMCS_GUEST_IDTR_BASE] = 0;
    vmcs[VMCS_GUEST_CS_SELECTOR] = 0x10;
    vmcs[VMCS_GUEST_INTERRUPTIBILITY] = BLOCKING_BY_MOV_SS;
    vmcs[VMCS_GUEST_PENDING_DEBUG] = 1;
    vmcs[VMCS_ENTRY_INTERRUPTION_INFO] &= ~EVENT_INFO_VALID;
}

static int exit_with(uint32_t reason, struct event raised, uint64_t during)
{
    disturb();
    vcpu->vmx.exit.reason = reason;
    vmcs[VMCS_EXIT_INTERRUPTION_INFO] = event_encode(&raised);
    vmcs[VMCS_EXIT_INTERRUPTION_ERROR] = raised.error_code;
    vmcs[VMCS_EXIT_QUALIFICATION] = raised.vector == VECTOR_PF ? model.address : 0;
    vmcs[VMCS_IDT_VECTORING_INFO] = during;
    return 0;
}

int vmx_run(struct vmx_vcpu *half)
{
    uint64_t info = vmcs[VMCS_ENTRY_INTERRUPTION_INFO];
    bool injects = info & EVENT_INFO_VALID;
    uint8_t vector = (uint8_t)info;
    assert_ptr_equal(half, &vcpu->vmx);
    state_is_right(injects);
    if (injects && field_get(info, EVENT_INFO_TYPE) == EVENT_NMI)
        assert_false(vmcs[VMCS_GUEST_INTERRUPTIBILITY] & BLOCKING_BY_NMI);
    entries++;
    if (fails)
        return -1;
    if (entries <= model.incidental)
        return exit_with(REASON_EPT_VIOLATION, (struct event){0}, 0);
    if (!injects && model.instruction == NOTHING) {
        exit_with(REASON_EXCEPTION_OR_NMI, event_exception(VECTOR_DB, 0), 0);
        vmcs[VMCS_EXIT_QUALIFICATION] = TRAP_SINGLE_STEP;
        return 0;
    }
    if (!injects && !model.software)
        return exit_with(REASON_EXCEPTION_OR_NMI,
                         event_exception(model.instruction, model.error[model.instruction]), 0);
    if (!injects) {
        vector = model.instruction;
        info = EVENT_INFO_VALID | (uint64_t)model.software << 8 | vector;
        vmcs[VMCS_EXIT_INSTRUCTION_LENGTH] = 2;
    }
    uint8_t raised = model.raised[vector];
    if (raised == NOTHING) /* the handler runs */
        return exit_with(REASON_CPUID, (struct event){0}, 0);
    return exit_with(REASON_EXCEPTION_OR_NMI, event_exception(raised, model.error[raised]), info);
}

/* ---- The tests ------------------------------------------------------------------------------- */

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&vm, 0, sizeof(vm));
    memset(vmcs, 0, sizeof(vmcs));
    memset(&model, 0, sizeof(model));
    memset(model.raised, NOTHING, sizeof(model.raised));
    model.instruction = NOTHING;
    strcpy(vm.name, "crash");
    vcpu->vm = &vm;
    vcpu->index = 3;
    vcpu->vmx.attention.word = ATTENTION_SHUTDOWN;
    vmcs[VMCS_GUEST_RIP] = HERE;
    vmcs[VMCS_GUEST_RSP] = STACK;
    vmcs[VMCS_GUEST_RFLAGS] = 0x10002;
    vmcs[VMCS_GUEST_CR0] = CR0_PE;
    vmcs[VMCS_GUEST_CR3] = 0x5000;
    vmcs[VMCS_GUEST_CS_SELECTOR] = 8;
    vmcs[VMCS_GUEST_IDTR_BASE] = IDT;
    vmcs[VMCS_GUEST_IDTR_LIMIT] = 0xfff;
    vmcs[VMCS_GUEST_INTERRUPTIBILITY] = BLOCKING_BY_STI;
    vmcs[VMCS_GUEST_ACTIVITY_STATE] = ACTIVITY_HLT;
    vmcs[VMCS_GUEST_PENDING_DEBUG] = 1;
    vmcs[VMCS_ENTRY_CONTROLS] = ENTRY_IA32E_GUEST;
    vmcs[VMCS_PRIMARY_CONTROLS] =
        PRIMARY_HLT_EXITING | PRIMARY_INTERRUPT_WINDOW_EXITING | PRIMARY_NMI_WINDOW_EXITING;
    guest_cr2 = 0x666;
    entries = 0;
    fails = false;
    return 0;
}

static void explain(void)
{
    triple_fault_end(vcpu);
    assert_int_equal(vm.ending, VM_ENDED_TRIPLE_FAULT);
}

#define WHERE "triple fault at RIP 0x1234: it began with "

#define INJECTED(type, vector) ((uint64_t)(type) << 8 | (vector))

/* The chains. `limit` is the IDT's; `raised` says what the delivery of up to three vectors raises,
 * with which error code. */
static const struct {
    uint8_t instruction, software;
    uint16_t limit;
    uint64_t injected;
    struct {
        uint8_t vector, raises;
        uint32_t error;
    } raised[3];
    uint64_t address;
    const char *began, *advice, *chain;
} chains[] = {
    {.instruction = VECTOR_PF,
     .limit = 0xfff,
     .raised = {{VECTOR_PF, VECTOR_PF, 2}, {VECTOR_DF, VECTOR_NP, 0x43}},
     .address = STACK - 8,
     .began = "#PF (error code 0x2) for address 0x8ff8",
     .advice = "its stack has overflowed, or RSP is wrong; with an IST stack for #DF the guest can "
               "report this itself",
     .chain = "the delivery of #PF raised #PF (error code 0x2) for address 0x8ff8; the delivery of "
              "#DF raised #NP (error code 0x43)"},
    {.instruction = VECTOR_PF,
     .limit = 0xfff,
     .raised = {{VECTOR_PF, VECTOR_PF, 0}, {VECTOR_DF, VECTOR_PF, 0}},
     .address = IDT + 0xfff,
     .began = "#PF (error code 0) for address 0x7fff",
     .advice = "the page tables do not map the IDT"},
    {.instruction = VECTOR_PF,
     .limit = 0xfff,
     .raised = {{VECTOR_PF, VECTOR_PF, 0}, {VECTOR_DF, VECTOR_PF, 0}},
     .address = STACK + 1,
     .began = "#PF (error code 0) for address 0x9001",
     .advice = "the page tables do not allow access to the GDT, to the TSS, or to the stack that "
               "the TSS names"},
    {.instruction = VECTOR_UD, /* is benign: #GP follows, and only then #DF */
     .raised = {{VECTOR_UD, VECTOR_GP, 0x33}, {VECTOR_GP, VECTOR_GP, 0x33}, {VECTOR_DF, VECTOR_GP}},
     .began = "#UD",
     .advice = "the IDT's limit, 0, excludes the gate for vector 6 (#UD)",
     .chain = "the delivery of #UD raised #GP (error code 0x33); the delivery of #GP raised #GP "
              "(error code 0x33); the delivery of #DF raised #GP (error code 0x33)"},
    {.instruction = VECTOR_GP,
     .limit = 0xdf, /* the gate's last byte */
     .raised = {{VECTOR_GP, VECTOR_NP, 0x6b}, {VECTOR_DF, VECTOR_NP, 0x6b}},
     .began = "#GP (error code 0)",
     .advice = "the gate for vector 13 (#GP), at 0x70d0 in the IDT, is not present or not valid"},
    {.instruction = VECTOR_GP,
     .limit = 0xde,
     .raised = {{VECTOR_GP, VECTOR_NP, 0x6b}, {VECTOR_DF, VECTOR_NP, 0x6b}},
     .began = "#GP (error code 0)",
     .advice = "the IDT's limit, 0xde, excludes the gate for vector 13 (#GP)"},
    {.instruction = VECTOR_NP,
     .limit = 0xfff,
     .raised = {{VECTOR_NP, VECTOR_GP, 1}, {VECTOR_DF, VECTOR_GP, 1}},
     .began = "#NP (error code 0)",
     .advice = "the gate for vector 11 (#NP) leads to no valid code; look at its selector and "
               "offset, and at the GDT"},
    {.instruction = VECTOR_SS,
     .limit = 0xfff,
     .raised = {{VECTOR_SS, VECTOR_TS, 1}, {VECTOR_DF, VECTOR_TS, 1}},
     .began = "#SS (error code 0)",
     .advice = "the stack for the handler of vector 12 (#SS) is not usable; look at TSS and RSP"},
    {.instruction = 0x80,
     .software = EVENT_SOFTWARE_INTERRUPT,
     .limit = 0x7f,
     .raised = {{0x80, VECTOR_GP, 0x402}, {VECTOR_GP, VECTOR_GP, 0x402}, {VECTOR_DF, VECTOR_GP}},
     .began = "INT 0x80",
     .advice = "the IDT's limit, 0x7f, excludes the gate for vector 128"},
    {.instruction = VECTOR_BP,
     .software = EVENT_SOFTWARE_EXCEPTION,
     .limit = 0xfff,
     .raised = {{VECTOR_BP, VECTOR_NP, 0x1a}, {VECTOR_NP, VECTOR_NP, 0x1a}, {VECTOR_DF, VECTOR_NP}},
     .began = "#BP",
     .advice = "the gate for vector 3 (#BP), at 0x7030 in the IDT, is not present or not valid"},
    {.instruction = NOTHING, /* the instruction has not faulted, so an interrupt came before it */
     .injected = INJECTED(EVENT_INTERRUPT, 0x30),
     .raised = {{0x30, VECTOR_GP, 0x183}, {VECTOR_GP, VECTOR_GP, 0x183}, {VECTOR_DF, VECTOR_GP}},
     .began = "interrupt 0x30",
     .advice = "the IDT's limit, 0, excludes the gate for vector 48"},
    {.instruction = NOTHING,
     .injected = INJECTED(EVENT_NMI, VECTOR_NMI),
     .raised = {{VECTOR_NMI, VECTOR_GP, 0x13},
                {VECTOR_GP, VECTOR_GP, 0x13},
                {VECTOR_DF, VECTOR_GP}},
     .began = "an NMI",
     .advice = "the IDT's limit, 0, excludes the gate for vector 2 (NMI)"},
    {.instruction = NOTHING, /* what the hypervisor raised */
     .injected = INJECTED(EVENT_EXCEPTION, VECTOR_PF) | EVENT_INFO_ERROR_CODE,
     .raised = {{VECTOR_PF, VECTOR_GP, 0x73}, {VECTOR_DF, VECTOR_GP, 0x73}},
     .began = "#PF (error code 0x99) for address 0x666",
     .advice = "the IDT's limit, 0, excludes the gate for vector 14 (#PF)"},
    {.instruction = VECTOR_PF, /* it faults, too, but its handler runs */
     .injected = INJECTED(EVENT_INTERRUPT, 0x30),
     .raised = {{0x30, VECTOR_GP, 0x183}, {VECTOR_GP, VECTOR_GP, 0x183}, {VECTOR_DF, VECTOR_GP}},
     .began = "interrupt 0x30",
     .advice = "the IDT's limit, 0, excludes the gate for vector 48"},
};

static void prepare(unsigned i)
{
    setup(NULL);
    model.instruction = chains[i].instruction;
    model.software = chains[i].software;
    model.address = chains[i].address;
    for (unsigned j = 0; j < ARRAY_SIZE(chains[i].raised); j++) {
        if (!chains[i].raised[j].raises)
            continue;
        model.raised[chains[i].raised[j].vector] = chains[i].raised[j].raises;
        if (chains[i].raised[j].error)
            model.error[chains[i].raised[j].raises] = chains[i].raised[j].error;
    }
    if (chains[i].instruction == VECTOR_GP) /* has another error code than the deliveries */
        model.error[VECTOR_GP] = 0;
    vmcs[VMCS_GUEST_IDTR_LIMIT] = chains[i].limit;
    vmcs[VMCS_ENTRY_INTERRUPTION_INFO] = chains[i].injected;
    vmcs[VMCS_ENTRY_ERROR_CODE] = 0x99;
}

static void each_chain(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(chains); i++) {
        for (unsigned stops = 0; stops < 20; stops += 6) {
            char right[256];
            prepare(i);
            model.incidental = stops;
            explain();
            snprintf(right, sizeof(right), WHERE "%s; %s", chains[i].began, chains[i].advice);
            assert_string_equal(vm.message, right);
            assert_non_null(strstr(support_log(),
                                   "# crash: vCPU 3: RIP 0x1234, RSP 0x9000, CR2 0x666, CR3 0x5000,"
                                   " IDTR base 0x7000 limit "));
            assert_non_null(strstr(support_log(), "the delivery of #DF raised #"));
            if (chains[i].chain)
                assert_non_null(strstr(support_log(), chains[i].chain));
        }
    }
}

/* In real mode, exceptions have no error code, and a gate has 4 bytes. */
static void in_real_mode(void **state)
{
    (void)state;
    prepare(3);
    vmcs[VMCS_GUEST_CR0] = 0;
    vmcs[VMCS_ENTRY_CONTROLS] = 0;
    vmcs[VMCS_GUEST_IDTR_LIMIT] = 4 * VECTOR_UD + 2;
    explain();
    assert_string_equal(vm.message,
                        WHERE "#UD; the IDT's limit, 0x1a, excludes the gate for vector 6 (#UD)");
    prepare(3);
    vmcs[VMCS_ENTRY_CONTROLS] = 0; /* in protected mode it has 8 */
    vmcs[VMCS_GUEST_IDTR_LIMIT] = 8 * VECTOR_UD + 7;
    explain();
    assert_string_equal(vm.message, WHERE "#UD; the gate for vector 6 (#UD), at 0x7030 in the IDT, "
                                          "is not present or not valid");
}

/* If nothing faults again, or the entries fail, the message does not claim to know. */
#define UNKNOWN                                                               \
    "triple fault at RIP 0x1234: its cause is not known, because it did not " \
    "happen again; look at the IDT, at the stack, and at the instruction at RIP"
static void nothing_happens_again(void **state)
{
    (void)state;
    explain();
    assert_string_equal(vm.message, UNKNOWN);
    assert_int_equal(entries, 1);
    setup(NULL);
    vmcs[VMCS_ENTRY_INTERRUPTION_INFO] = INJECTED(EVENT_INTERRUPT, 0x30); /* can be delivered */
    explain();
    assert_string_equal(vm.message, UNKNOWN);
    prepare(0);
    fails = true;
    explain();
    assert_string_equal(vm.message, UNKNOWN);
}

/* Kicks without end do not hold the CPU. */
static void it_gives_up(void **state)
{
    (void)state;
    prepare(0);
    model.incidental = ~0u;
    explain();
    assert_int_equal(entries, ENTRIES);
    assert_string_equal(vm.message, UNKNOWN);
}

/* An instruction that faults again, but whose handler runs, is named without a claim about the
 * delivery. */
static void the_delivery_works_again(void **state)
{
    (void)state;
    model.instruction = VECTOR_GP;
    explain();
    assert_string_equal(vm.message, WHERE "#GP (error code 0); look at the IDT, at the stack, and "
                                          "at the instruction at RIP");
    assert_null(strstr(support_log(), "the delivery of"));
}

/* An event whose delivery raises benign exceptions without end has a bounded chain. */
static void a_chain_without_end(void **state)
{
    (void)state;
    model.instruction = VECTOR_UD;
    model.raised[VECTOR_UD] = VECTOR_UD;
    explain();
    assert_int_equal(entries, FAULT_STEPS);
}

/* An NMI cannot be injected while NMIs are blocked, which the delivery of the first one did. */
static void blocking_by_nmi(void **state)
{
    (void)state;
    prepare(11);
    vmcs[VMCS_GUEST_INTERRUPTIBILITY] = BLOCKING_BY_NMI | BLOCKING_BY_STI;
    explain();
    assert_non_null(strstr(vm.message, "it began with an NMI"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_chain, setup),
        cmocka_unit_test_setup(in_real_mode, setup),
        cmocka_unit_test_setup(nothing_happens_again, setup),
        cmocka_unit_test_setup(it_gives_up, setup),
        cmocka_unit_test_setup(the_delivery_works_again, setup),
        cmocka_unit_test_setup(a_chain_without_end, setup),
        cmocka_unit_test_setup(blocking_by_nmi, setup),
    };
    return cmocka_run_group_tests_name("triple faults", tests, NULL, NULL);
}
