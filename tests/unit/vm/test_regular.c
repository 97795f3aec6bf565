/* SPDX-License-Identifier: MIT */
/*
 * What a VM does from time to time (vm/regular.c): each thing in its own period, once, whichever of
 * the vCPUs looks; and the lines of its counters (vm/stat.c).
 */
#include "tests/unit/support.h"

#include "vm/vm.h"

#include <stdio.h>
#include <string.h>

static char lines[8192];
static unsigned recoveries;

static PRINTF(2, 3) void add_line(struct transcript *transcript, const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(lines);
    assert_null(transcript);
    va_start(arguments, format);
    int length = vsnprintf(lines + used, sizeof(lines) - used, format, arguments);
    va_end(arguments);
    assert_true(length < LOG_LINE_MAX - 2); /* or the console would cut it */
    strcat(lines, "\n");
}

static struct transcript *no_console(void)
{
    return NULL;
}

static void counts_recovery(struct mmu *mmu)
{
    (void)mmu;
    recoveries++;
}

static uint64_t one_mhz(void)
{
    return 1000;
}

static uint64_t counted[COUNTER_COUNT];

static void reads(const struct vcpu *vcpu, uint64_t values[COUNTER_COUNT])
{
    (void)vcpu;
    memcpy(values, counted, sizeof(counted));
}

static const char *called(unsigned counter)
{
    static char name[24];
    snprintf(name, sizeof(name), "counter_number_%02u", counter);
    return name;
}

#define transcript_line    add_line
#define transcript_console no_console
#define mmu_nx_begin       counts_recovery
#define tsc_khz            one_mhz
#define counters_read      reads
#define counter_name       called
#include "vm/stat.c"
#undef LINE
#undef COUNTER
#include "vm/regular.c"

static struct vm vm;
static struct vcpu second;

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&vm, 0, sizeof(vm));
    memset(&second, 0, sizeof(second));
    memset(counted, 0, sizeof(counted));
    lines[0] = 0;
    recoveries = 0;
    strcpy(vm.name, "one");
    vm.vcpu_count = 2;
    vm.vcpus[0] = &vm.vcpu;
    vm.vcpus[1] = &second;
    vm.vcpu.vm = second.vm = &vm;
    return 0;
}

static unsigned count_of(const char *what)
{
    unsigned count = 0;
    for (const char *at = lines; (at = strstr(at, what)); at++)
        count++;
    return count;
}

/* 30 ms and 70 ms, in ticks of a microsecond; vCPUs look in turn, every millisecond. */
static void each_in_its_period(void **state)
{
    (void)state;
    vm.nx_recovery = 30;
    vm.stat_period = 70;
    regular_begin(&vm, 0);
    for (uint64_t now = 0; now <= 420000; now += 1000) {
        struct vcpu *vcpu = now / 1000 % 2 ? &second : &vm.vcpu;
        regular_look(vcpu, now);
        assert_int_equal(recoveries, now / 30000);
        assert_int_equal(count_of("# stat one"), now / 70000);
        assert_int_equal(!!attention_requested(&vcpu->vmx.attention, ATTENTION_CHORES),
                         now && now % 30000 == 0);
        attention_clear(&vcpu->vmx.attention, ATTENTION_CHORES);
    }
    assert_non_null(strstr(lines, "# stat one 70/1 .\n"));
}

static void nothing_without_a_period(void **state)
{
    (void)state;
    regular_begin(&vm, 1000);
    assert_int_equal(vm.regular_due, TIME_NEVER);
    regular_look(&vm.vcpu, TIME_NEVER - 1);
    vm.stat_period = 1;
    regular_begin(&vm, 1000);
    assert_int_equal(vm.regular_due, 2000);
    regular_look(&vm.vcpu, TIME_NEVER - 1);
    assert_int_equal(recoveries, 0);
    assert_int_equal(count_of("# stat"), 1);
}

/* While one vCPU does what is due, another one goes on. */
static void only_one_vcpu(void **state)
{
    (void)state;
    vm.stat_period = 1;
    regular_begin(&vm, 0);
    vm.regular_due = TIME_NEVER; /* the first vCPU is at it */
    regular_do(&second, 5000);
    assert_string_equal(lines, "");
    publish_next(&vm);
    regular_do(&second, 5000);
    regular_do(&vm.vcpu, 5000); /* it has seen that something is due, too late */
    assert_int_equal(count_of("# stat"), 1);
}

static void lines_of_counters(void **state)
{
    (void)state;
    vm.vcpu.exits[10] = 5;
    second.exits[10] = 7;
    second.exits[REASON_COUNT - 1] = 1;
    counted[COUNTER_EXITS] = 5; /* of the first vCPU: not shown */
    counted[3] = 9;
    stat_print(&vm, 123456);
    char expected[128];
    snprintf(expected, sizeof(expected),
             "# stat one 123456/1 exit_10=12 exit_%u=1 exits=13 counter_number_03=9 .\n",
             REASON_COUNT - 1);
    assert_string_equal(lines, expected);
    lines[0] = 0;
    memset(vm.name, 'n', VM_NAME_SIZE - 1);
    for (unsigned i = 0; i < COUNTER_COUNT; i++)
        counted[i] = UINT64_MAX;
    for (unsigned i = 0; i < REASON_COUNT; i++)
        second.exits[i] = 1ull << 40;
    stat_print(&vm, UINT64_MAX);
    assert_int_equal(count_of("counter_number_"), COUNTER_COUNT - 1);
    assert_int_equal(count_of(" exit_"), REASON_COUNT);
    assert_int_equal(count_of(" .\n"), 1);
    assert_string_equal(lines + strlen(lines) - 3, " .\n");
    assert_int_equal(count_of("\n"), count_of("nnn 18446744073709551615/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_in_its_period, setup),
        cmocka_unit_test_setup(nothing_without_a_period, setup),
        cmocka_unit_test_setup(only_one_vcpu, setup),
        cmocka_unit_test_setup(lines_of_counters, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
