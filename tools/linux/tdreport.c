// SPDX-License-Identifier: MIT
/*
 * A program for Linux in a TD that asks the driver tdx-guest for a TDREPORT: tdreport [DATA]
 *
 * The 1024 bytes go to the standard output, in binary. DATA becomes the report data, 64 bytes of
 * the reader's choice, which show that the report is not an old one; what is missing is zero. It
 * uses no C library, so that the initrd, which the kernel unpacks in an emulator, remains small.
 */
#include <asm/unistd.h>
#include <linux/ioctl.h>

enum { DATA_SIZE = 64, REPORT_SIZE = 1024 };

/* As <linux/tdx-guest.h> defines it, which Debian 12's headers lack. */
struct report_request {
    unsigned char data[DATA_SIZE];
    unsigned char report[REPORT_SIZE];
};

#define TDX_CMD_GET_REPORT0 _IOWR('T', 1, struct report_request)

static long system_call(long number, long a, const void *b, long c)
{
    long result;

    asm volatile("syscall"
                 : "=a"(result)
                 : "a"(number), "D"(a), "S"(b), "d"(c)
                 : "rcx", "r11", "memory");
    return result;
}

static long fail(const char *text, long size)
{
    system_call(__NR_write, 2, text, size);
    return 1;
}

#define FAIL(text) fail(text "\n", sizeof(text))

static long print_report(const char *data)
{
    static struct report_request request;
    long device;

    for (unsigned i = 0; data && data[i]; i++) {
        if (i == DATA_SIZE)
            return FAIL("tdreport: the report data has at most 64 bytes");
        request.data[i] = (unsigned char)data[i];
    }
    /* open(path, O_RDWR): the registers are the same as for the other calls, in another order. */
    device = system_call(__NR_open, (long)"/dev/tdx_guest", (const void *)2, 0);
    if (device < 0)
        return FAIL("tdreport: there is no /dev/tdx_guest; insmod /modules/tdx-guest.ko");
    if (system_call(__NR_ioctl, device, (const void *)TDX_CMD_GET_REPORT0, (long)&request))
        return FAIL("tdreport: TDX_CMD_GET_REPORT0 failed");
    return system_call(__NR_write, 1, request.report, REPORT_SIZE) != REPORT_SIZE;
}

/* The kernel enters here with the number of arguments at the top of the stack, and then these. */
void start(long *stack);
void start(long *stack)
{
    system_call(__NR_exit, print_report(stack[0] > 1 ? (const char *)stack[2] : 0), 0, 0);
    __builtin_unreachable();
}

asm(".globl _start\n"
    "_start: movq %rsp, %rdi\n"
    "call start\n");
