/* SPDX-License-Identifier: MIT */
/* How the other CPUs are started, with CPUs that do what they should, do it late, or stop halfway:
 * what is said of each, and what becomes of the next. The CPU that starts executes its own code
 * while the boot CPU waits for it. */
#include "tests/unit/support.h"

static void machine_runs(void);
#define cpu_relax machine_runs
#include "arch/x86/smp.c"

#include "lib/bits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The machine ----------------------------------------------------------------------------- */

#define OTHERS 4
#define ROOT   0x123000u

/* CPUs by their APIC ID less 1. */
static struct {
    unsigned startups_needed; /* 0: it never answers */
    uint32_t stage;           /* how far it comes */
    uint64_t tsc_error, adjust;
    unsigned answers; /* as many questions are answered */
    uint32_t core_kind;
    unsigned inits, startups;
    bool asleep; /* the last IPI was an INIT */
} machine[OTHERS];
static unsigned stacks_mapped, stacks_there, apic_inits;
static hpa_t low_page;
static bool has_x2apic, has_adjust;
static uint64_t boot_adjust;
static int running = -1; /* the CPU that runs its own code; -1: the boot CPU */

struct cpu cpus[CPUS_MAX];
unsigned cpu_count;
__asm__(".pushsection .rodata\n"
        ".globl ap_trampoline, ap_trampoline_end\n"
        "ap_trampoline: .ascii \"trampoline\"\n"
        "ap_trampoline_end: .popsection\n");

bool apic_init(bool x2apic)
{
    apic_inits++;
    has_x2apic = x2apic;
    return true;
}

void apic_init_cpu(void)
{
}

bool apic_is_x2apic(void)
{
    return has_x2apic;
}

uint32_t apic_id(void)
{
    return 0;
}

uint32_t apic_id_max(void)
{
    return has_x2apic ? 0xfffffffe : 0xfe;
}

void apic_send_init(uint32_t id)
{
    assert_true(id >= 1 && id <= OTHERS);
    machine[id - 1].inits++;
    machine[id - 1].startups = 0;
    machine[id - 1].asleep = true;
}

void apic_send_startup(uint32_t id, hpa_t page)
{
    assert_true(id >= 1 && id <= OTHERS);
    assert_true(machine[id - 1].asleep || machine[id - 1].startups);
    assert_int_equal(page.v, low_page.v);
    assert_int_equal(ap_start.root, ROOT);
    assert_ptr_equal(ap_start.cpu, &cpus[cpu_count]);
    machine[id - 1].asleep = false;
    if (++machine[id - 1].startups != machine[id - 1].startups_needed)
        return;
    ap_start.cpu->core_kind = machine[id - 1].core_kind;
    ap_start.stage = machine[id - 1].stage;
}

/* Its TSC is that of this machine, and its error. */
static void machine_runs(void)
{
    int id = (int)ap_start.cpu->apic_id - 1;
    if (ap_start.stage != AP_STAGE_READY || ap_start.asked == ap_start.told || !machine[id].answers)
        return;
    machine[id].answers--;
    running = id;
    bool more = ap_answer();
    running = -1;
    ap_start.tsc += machine[id].tsc_error + machine[id].adjust - boot_adjust;
    assert_int_equal(more, ap_start.told != NO_MORE);
}

bool tsc_read_adjust(uint64_t *value)
{
    *value = running < 0 ? boot_adjust : machine[running].adjust;
    return has_adjust;
}

bool tsc_write_adjust(uint64_t value)
{
    assert_true(running >= 0 && has_adjust);
    machine[running].adjust = value;
    return true;
}

void paging_init_cpu(void)
{
}

hpa_t paging_root(void)
{
    return HPA(ROOT);
}

bool paging_map_data(const void *address, hpa_t pages, uint64_t size)
{
    (void)address;
    assert_false(page_is_none(pages));
    assert_int_equal(size, STACK_SIZE);
    return stacks_mapped++ < stacks_there;
}

uint64_t stack_top(const struct cpu *cpu, unsigned index)
{
    return (uint64_t)&cpu->stacks[index + 1];
}

/* What a started CPU has done before it says that it is ready. */
static struct {
    bool has_idt, has_machine_checks, is_cleared;
} own;
static jmp_buf works;

void leftovers_end(unsigned number)
{
    own.is_cleared = own.has_idt && number == 1;
}

void machine_check_init_cpu(void)
{
    own.has_machine_checks = own.has_idt && ap_start.stage < AP_STAGE_READY;
}

void interrupts_mask(void)
{
}

void descriptors_init(struct cpu *cpu)
{
    (void)cpu;
    own.has_idt = true;
}

void cpu_work_loop(void)
{
    longjmp(works, 1);
}

/* So that waiting for a second takes none. */
uint64_t tsc_khz(void)
{
    return 50;
}

void tsc_wait(uint64_t microseconds)
{
    assert_int_equal(microseconds, 10000);
}

hpa_t boot_low_page(const struct boot_info *info)
{
    (void)info;
    return low_page;
}

static struct cpu_facts boot_facts;

const struct cpu_facts *cpu_facts(void)
{
    return &boot_facts;
}

static struct {
    struct madt_header header;
    struct madt_lapic cpus[OTHERS + 1];
} table;

const struct acpi_header *acpi_table(const char *signature)
{
    assert_string_equal(signature, "APIC");
    return &table.header.acpi;
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(cpus, 0, sizeof(cpus));
    memset(&table, 0, sizeof(table));
    table.header.acpi.length = sizeof(table);
    for (unsigned i = 0; i <= OTHERS; i++)
        table.cpus[i] = (struct madt_lapic){MADT_LAPIC, sizeof(struct madt_lapic), (uint8_t)i,
                                            (uint8_t)i, MADT_ENABLED};
    memset(machine, 0, sizeof(machine));
    for (unsigned i = 0; i < OTHERS; i++) {
        machine[i].startups_needed = 1;
        machine[i].stage = AP_STAGE_READY;
        machine[i].answers = 100;
    }
    has_adjust = false;
    boot_adjust = 0;
    boot_facts = (struct cpu_facts){0};
    cpu_count = 1;
    stacks_mapped = apic_inits = 0;
    stacks_there = 1000;
    low_page = page_alloc(0);
    return 0;
}

static void start(unsigned limit)
{
    smp_start(&(struct boot_info){0}, limit, true);
}

static void expect_said(const char *message)
{
    if (!strstr(support_log(), message))
        fail_msg("not said: %s\nbut: %s", message, support_log());
}

static void expect_cpus(unsigned count, const char *ids)
{
    assert_int_equal(cpu_count, count);
    for (unsigned i = 1; i < count; i++) {
        assert_int_equal(cpus[i].number, i);
        assert_int_equal(cpus[i].offset, i * CPU_RECORD);
        assert_int_equal(cpus[i].apic_id, ids[i - 1] - '0');
        assert_non_null(cpus[i].stacks);
    }
}

/* ---------------------------------------------------------------------------------------------- */

static void those_that_answer_are_used(void **state)
{
    (void)state;
    start(CPUS_MAX);
    expect_cpus(5, "1234");
    assert_string_equal(support_log(),
                        "cpus: 5 in use of 5 that ACPI lists, each reached by its x2APIC\n");
    for (unsigned i = 0; i < OTHERS; i++)
        assert_true(machine[i].inits == 1 && machine[i].startups == 1);
    assert_memory_equal(phys_to_virt(low_page), "trampoline", 10);
}

static void the_second_startup_is_for_those_that_missed_the_first(void **state)
{
    (void)state;
    machine[1].startups_needed = 2;
    start(CPUS_MAX);
    expect_cpus(5, "1234");
    assert_int_equal(machine[0].startups, 1);
    assert_int_equal(machine[1].startups, 2);
}

/* It is put to sleep again, and the next CPU gets its number and stacks. */
static void one_that_stops_halfway_is_left_out(void **state)
{
    static const struct {
        unsigned startups_needed;
        uint32_t stage;
        const char *why;
    } rows[] = {
        {0, 0, "does not respond after INIT and two start-up IPIs"},
        {3, AP_STAGE_READY, "does not respond after INIT and two start-up IPIs"},
        {1, AP_STAGE_FLAT, "left real mode but did not reach 64-bit mode"},
        {1, AP_STAGE_LONG, "reached 64-bit mode but did not load the final page tables"},
        {2, AP_STAGE_C, "loaded the final page tables but not its descriptor tables"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        char message[200];
        setup(state);
        machine[1].startups_needed = rows[i].startups_needed;
        machine[1].stage = rows[i].stage;
        start(CPUS_MAX);
        expect_cpus(4, "134");
        snprintf(message, sizeof(message),
                 "the CPU with APIC ID 2 %s; it is left out\n"
                 "cpus: 4 in use of 5 that ACPI lists, each reached by its x2APIC\n",
                 rows[i].why);
        assert_string_equal(support_log(), message);
        assert_true(machine[1].asleep && machine[1].inits == 2);
        assert_int_equal(stacks_mapped, 3 * STACK_COUNT);
    }
}

/* The smallest differences here are far below the time that INIT takes. */
static const uint64_t errors[] = {1ull << 40, ~0ull << 40, 1000000, -1000000ull};

static void a_tsc_of_its_own_is_refused(void **state)
{
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(errors); i++) {
        setup(state);
        has_adjust = i & 1; /* which does not help */
        machine[3].tsc_error = errors[i / 2];
        start(CPUS_MAX);
        expect_cpus(4, "123");
        expect_said("the CPU with APIC ID 4 has a TSC that is not synchronous with the boot "
                    "CPU's; it is left out\n");
        assert_true(machine[3].asleep);
    }
}

/* IA32_TSC_ADJUST, which the firmware has written, is the whole difference. */
static void a_tsc_that_was_adjusted_is_adjusted_back(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
        setup(state);
        has_adjust = true;
        boot_adjust = 0x77;
        for (unsigned j = 0; j < OTHERS; j++)
            machine[j].adjust = boot_adjust;
        machine[2].adjust += errors[i];
        start(CPUS_MAX);
        expect_cpus(5, "1234");
        char message[100];
        snprintf(message, sizeof(message),
                 "the CPU with APIC ID 3 had %#lx in IA32_TSC_ADJUST, and now has the boot CPU's "
                 "0x77\ncpus: 5",
                 0x77 + errors[i]);
        assert_ptr_equal(strstr(support_log(), message), support_log());
        for (unsigned j = 0; j < OTHERS; j++)
            assert_int_equal(machine[j].adjust, 0x77);
    }
}

/* It must not run on when the next one starts, so it is told that there are no more questions. */
static void one_that_stops_while_it_is_asked(void **state)
{
    for (unsigned answers = 0; answers <= TSC_ROUNDS; answers++) {
        setup(state);
        machine[1].answers = answers;
        start(CPUS_MAX);
        expect_cpus(4, "134");
        expect_said("the CPU with APIC ID 2 became ready, and does not answer any more; it is left "
                    "out\n");
        assert_true(machine[1].asleep);
        assert_int_equal(machine[2].answers, 100 - TSC_ROUNDS - 1);
    }
}

static void the_limit_counts_those_in_use(void **state)
{
    (void)state;
    machine[0].startups_needed = 0;
    start(3);
    expect_cpus(3, "23");
    assert_int_equal(machine[3].inits, 0);
    setup(state);
    start(1);
    assert_int_equal(cpu_count, 1);
    assert_int_equal(apic_inits, 0);
    assert_string_equal(support_log(), "");
}

/* A CPU that does not start is of no kind. */
static void kinds_of_a_hybrid_machine(void **state)
{
    (void)state;
    boot_facts.core_kind = machine[0].core_kind = CORE_KIND_PERFORMANCE;
    machine[1].core_kind = machine[2].core_kind = CORE_KIND_EFFICIENT;
    machine[3].core_kind = CORE_KIND_EFFICIENT;
    machine[2].startups_needed = 0;
    start(CPUS_MAX);
    expect_said("cpus: 4 in use of 5 that ACPI lists, each reached by its x2APIC\n"
                "cpus: hybrid: 2 are threads of performance cores, 2 of efficient cores, 0 of "
                "others\n");
}

static void without_memory_fewer_are_started(void **state)
{
    (void)state;
    stacks_there = STACK_COUNT + 1;
    start(CPUS_MAX);
    expect_cpus(2, "1");
    expect_said("no memory for the stacks of CPU 2; it and all further ones are left out\n");
    assert_int_equal(machine[1].inits, 0);

    setup(state);
    low_page = PAGE_NONE;
    start(CPUS_MAX);
    assert_int_equal(cpu_count, 1);
    expect_said("no page of RAM below 640 KiB is free, where other CPUs could start; of 5 "
                "only the boot CPU is used\n");
}

/* A machine check is sent to each CPU, also to one that is not used later, so each of them enables
 * it once it has an IDT, and before it is given work (N125). By then, what the firmware has left on
 * is off (N128). */
static void each_is_ready_for_guests(void **state)
{
    (void)state;
    memset(&own, 0, sizeof(own));
    ap_start.stage = AP_STAGE_LONG;
    ap_start.asked = NO_MORE;
    ap_start.told = 0;
    cpus[1].number = 1;
    if (!setjmp(works))
        ap_main(&cpus[1]);
    assert_int_equal(ap_start.stage, AP_STAGE_READY);
    assert_true(own.has_machine_checks);
    assert_true(own.is_cleared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(those_that_answer_are_used, setup),
        cmocka_unit_test_setup(the_second_startup_is_for_those_that_missed_the_first, setup),
        cmocka_unit_test_setup(one_that_stops_halfway_is_left_out, setup),
        cmocka_unit_test_setup(a_tsc_of_its_own_is_refused, setup),
        cmocka_unit_test_setup(a_tsc_that_was_adjusted_is_adjusted_back, setup),
        cmocka_unit_test_setup(one_that_stops_while_it_is_asked, setup),
        cmocka_unit_test_setup(the_limit_counts_those_in_use, setup),
        cmocka_unit_test_setup(kinds_of_a_hybrid_machine, setup),
        cmocka_unit_test_setup(without_memory_fewer_are_started, setup),
        cmocka_unit_test_setup(each_is_ready_for_guests, setup),
    };
    return cmocka_run_group_tests_name("start of CPUs", tests, NULL, NULL);
}
