/* SPDX-License-Identifier: MIT */
/*
 * Output of the guests: COM1, a small printf and the KTAP report. Called by the programs.
 */
#include "guest/programs/rt/td.h"

#define UART_IER 1
#define UART_FCR 2
#define UART_LCR 3
#define UART_MCR 4
#define UART_LSR 5
#define LCR_8N1  0x03
#define LCR_DLAB 0x80
#define LSR_THRE 0x20

static bool failed;
static char notes[256];
static size_t notes_length;

/* Sets 115200 baud, 8N1: emulators differ in what they start with. */
void uart_init(void)
{
    port_write(PORT_UART + UART_IER, 0);
    port_write(PORT_UART + UART_LCR, LCR_DLAB | LCR_8N1);
    port_write(PORT_UART + 0, 1);
    port_write(PORT_UART + UART_IER, 0);
    port_write(PORT_UART + UART_LCR, LCR_8N1);
    port_write(PORT_UART + UART_FCR, 1);
    port_write(PORT_UART + UART_MCR, 3);
}

static void put(char c)
{
    while (!(port_read(PORT_UART + UART_LSR) & LSR_THRE))
        ;
    port_write(PORT_UART, (uint8_t)c);
}

static void put_string(const char *s)
{
    while (*s)
        put(*s++);
}

static char *format_number(char *end, uint64_t value, unsigned base)
{
    *--end = 0;
    do
        *--end = "0123456789abcdef"[value % base];
    while (value /= base);
    return end;
}

static void put_number(uint64_t value, unsigned base, int width, char pad)
{
    char buffer[24];
    const char *s = format_number(buffer + sizeof(buffer), value, base);

    for (int length = (int)(buffer + sizeof(buffer) - 1 - s); length < width; length++)
        put(pad);
    put_string(s);
}

void print(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    for (const char *p = format; *p; p++) {
        if (*p != '%') {
            put(*p);
            continue;
        }
        char pad = *++p == '0' ? '0' : ' ';
        int width = 0;
        while (*p >= '0' && *p <= '9')
            width = width * 10 + *p++ - '0';
        bool is_long = *p == 'l';
        p += is_long;
        if (*p == 's') {
            put_string(va_arg(args, const char *));
        } else if (*p == 'c') {
            put((char)va_arg(args, int));
        } else if (*p == 'd') {
            int64_t value = is_long ? va_arg(args, long) : va_arg(args, int);
            if (value < 0)
                put('-');
            put_number(value < 0 ? -(uint64_t)value : (uint64_t)value, 10, width, pad);
        } else if (*p == 'u' || *p == 'x') {
            uint64_t value = is_long ? va_arg(args, unsigned long) : va_arg(args, unsigned);
            put_number(value, *p == 'x' ? 16 : 10, width, pad);
        } else {
            put(*p);
        }
    }
    va_end(args);
}

static void note_string(const char *s)
{
    while (*s && notes_length < sizeof(notes) - 1)
        notes[notes_length++] = *s++;
    notes[notes_length] = 0;
}

void note(const char *name, uint64_t value)
{
    char buffer[24];

    note_string(" ");
    note_string(name);
    note_string("=");
    note_string(format_number(buffer + sizeof(buffer), value, 10));
}

bool rt_expect(bool condition, const char *text, const char *file, int line)
{
    if (!condition) {
        failed = true;
        print("# %s:%d: not so: %s\n", file, line, text);
    }
    return condition;
}

bool rt_expect_eq(uint64_t got, uint64_t want, const char *text, const char *file, int line)
{
    if (got != want) {
        failed = true;
        print("# %s:%d: %s is %lu (0x%lx), expected %lu (0x%lx)\n", file, line, text, got, got,
              want, want);
    }
    return got == want;
}

const char *missing_need(unsigned needs)
{
    if ((needs & NEED_HOST) && !launched())
        needs |= NEED_TESTCTL;
    if ((needs & (NEED_EPTVISOR | NEED_TESTCTL)) && !under_eptvisor())
        return "not under eptvisor";
    if (needs & NEED_TESTCTL) {
        struct hypercall call = {.rbx = CONFIG_MMIO_CACHING};
        if (hypercall(HC_CONFIG, &call))
            return "this VM has no testctl";
    }
    if ((needs & NEED_PCID) && !(cpuid(1).ecx & BIT(17)))
        return "CPUID offers no PCID";
    if ((needs & NEED_INVPCID) && !(cpuid(7).ebx & BIT(10)))
        return "CPUID offers no INVPCID";
    if ((needs & NEED_SHARED) && !cpuid(ABI_CPUID_STOLEN).eax)
        return "this VM has no shared addresses";
    if ((needs & NEED_CODE) && !cpuid(ABI_CPUID_STOLEN).ebx)
        return "this VM has no execute-only addresses";
    return NULL;
}

_Noreturn void run_tests(const struct test *tests, unsigned count)
{
    unsigned failures = 0;

    print("KTAP version 1\n1..%u\n", count);
    for (unsigned i = 0; i < count; i++) {
        const char *missing = missing_need(tests[i].needs);
        failed = false;
        notes_length = 0;
        notes[0] = 0;
        if (missing) {
            print("ok %u %s # SKIP %s\n", i + 1, tests[i].name, missing);
            continue;
        }
        tests[i].run();
        failures += failed;
        print("%sok %u %s%s%s\n", failed ? "not " : "", i + 1, tests[i].name, *notes ? " #" : "",
              notes);
    }
    debug_exit(failures ? 1 : 0);
}

_Noreturn void run_forbidden(const char *name, void (*deed)(void))
{
    const char *missing = missing_need(NEED_EPTVISOR);

    if (missing) {
        print("KTAP version 1\n1..1\nok 1 %s # SKIP %s\n", name, missing);
        debug_exit(0);
    }
    deed();
    print("KTAP version 1\n1..1\nnot ok 1 %s # the guest lives on\n", name);
    debug_exit(1);
}
