/* SPDX-License-Identifier: MIT */
/*
 * What the report says about a VM that has not ended by itself (vm/counters.c): the most frequent
 * exits of all its vCPUs, and the addresses and ports without a device that it accessed most often.
 */
#include "tests/unit/support.h"

#include "vm/counters.h"
#include "vm/vm.h"

#include <stdio.h>
#include <string.h>

static char printed[4096];
static struct vm vm;
static struct vcpu others[2];

void transcript_list(struct transcript *transcript, const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(printed);
    assert_ptr_equal(transcript, vm.console.transcript);
    va_start(arguments, format);
    vsnprintf(printed + used, sizeof(printed) - used - 1, format, arguments);
    va_end(arguments);
    strcat(printed, "\n");
}

static int setup(void **state)
{
    (void)state;
    support_reset();
    memset(&vm, 0, sizeof(vm));
    memset(others, 0, sizeof(others));
    strcpy(vm.name, "waits");
    vm.vcpus[0] = &vm.vcpu;
    vm.vcpus[1] = &others[0];
    vm.vcpus[2] = &others[1];
    vm.vcpu_count = 3;
    bus_init(&vm.port_bus, "port", 0xffff);
    bus_init(&vm.mmio_bus, "mmio", ~0ull);
    printed[0] = 0;
    return 0;
}

static void expect(const char *lines)
{
    printed[0] = 0;
    activity_report(&vm);
    assert_string_equal(printed, lines);
}

static void exits_of_all_vcpus(void **state)
{
    (void)state;
    expect("# waits: exits of all vCPUs: 0\n");
    vm.vcpu.exits[REASON_CPUID] = 1;
    expect("# waits: exits of all vCPUs: 1, 1 by CPUID (100 %)\n");
    vm.vcpu.exits[REASON_WRMSR] = 100;
    others[0].exits[REASON_WRMSR] = 20;
    others[1].exits[REASON_WRMSR] = 3;
    others[1].exits[REASON_IO_INSTRUCTION] = 200;
    others[0].exits[REASON_HLT] = 3;
    expect(
        "# waits: exits of all vCPUs: 327, 200 by I/O instruction (61 %), 123 by WRMSR (37 %)\n");
    others[0].exits[REASON_HLT] = 4; /* now 1 % */
    expect("# waits: exits of all vCPUs: 328, 200 by I/O instruction (60 %), 123 by WRMSR (37 %), "
           "4 by HLT (1 %)\n");
}

/* Not more than six reasons are shown; a line that is full is continued. */
static void many_reasons(void **state)
{
    (void)state;
    for (unsigned reason = 0; reason < REASON_COUNT; reason++)
        vm.vcpu.exits[reason] = 1 + (reason >= 33 && reason < 40 ? 1000u : 0);
    activity_report(&vm);
    unsigned shown = 0;
    for (const char *at = printed; (at = strstr(at, " by ")); at++)
        shown++;
    assert_int_equal(shown, 6);
    assert_non_null(strstr(printed, "\n# waits: 1001 by "));
}

static void reads(struct bus *bus, uint64_t address, unsigned count)
{
    while (count--)
        (void)bus_read(bus, NULL, address, 1);
}

static void missing_devices(void **state)
{
    (void)state;
    vm.vcpu.exits[REASON_CPUID] = 1;
#define FIRST "# waits: exits of all vCPUs: 1, 1 by CPUID (100 %)\n"
    reads(&vm.port_bus, 0x64, 99);
    expect(FIRST); /* so few accesses are no wait */
    reads(&vm.port_bus, 0x64, 1);
    expect(FIRST "# waits: no device is at port 0x64: 100 accesses\n");
    reads(&vm.mmio_bus, 0xfed00000, 1500);
    reads(&vm.mmio_bus, 0xd0000000, 100);
    expect(FIRST "# waits: no device is at port 0x64: 100 accesses\n"
                 "# waits: no device is at address 0xfed00000: 1500 accesses\n"
                 "# waits: no device is at address 0xd0000000: 100 accesses\n");
    reads(&vm.mmio_bus, 0xfed00000, 1); /* now less than one of 16 is to the other address */
    expect(FIRST "# waits: no device is at port 0x64: 100 accesses\n"
                 "# waits: no device is at address 0xfed00000: 1501 accesses\n");
    bus_write(&vm.mmio_bus, NULL, 0x1000, 4, 0);
    for (unsigned i = 0; i < 200; i++)
        bus_write(&vm.mmio_bus, NULL, 0xfffffffffffffff8, 8, 0);
    expect(FIRST "# waits: no device is at port 0x64: 100 accesses\n"
                 "# waits: no device is at address 0xfed00000: 1501 accesses\n"
                 "# waits: no device is at address 0xfffffffffffffff8: 200 accesses\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(exits_of_all_vcpus, setup),
        cmocka_unit_test_setup(many_reasons, setup),
        cmocka_unit_test_setup(missing_devices, setup),
    };
    return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
