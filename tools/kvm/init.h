/* SPDX-License-Identifier: MIT */
/*
 * What the /init programs of this folder have in common: they open the console, load KVM's modules
 * and end the machine.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#define BOCHS_PORT 0x8900 /* a 'D' that is written to it stops in Bochs' debugger */

static inline void stop_debugger(void)
{
    if (iopl(3))
        return;
    outb('D', BOCHS_PORT);
    iopl(0); /* else Linux sets up the I/O bitmap at each return from KVM_RUN, which is measured */
}

/* Waits until all output is transmitted, and ends the machine. */
static inline _Noreturn void end_machine(void)
{
    fflush(stdout);
    tcdrain(1);
    stop_debugger();
    for (;;)
        pause();
}

/* Prints the EXIT line, and ends the machine. */
static inline _Noreturn void power_off(int code, const char *name)
{
    printf("EXIT %d %s\n", code, name);
    end_machine();
}

static inline int must(int result, const char *what)
{
    if (result < 0) {
        printf("error: %s: %s\n", what, strerror(errno));
        power_off(1, "failed");
    }
    return result;
}

static inline void load_module(const char *path, const char *parameters)
{
    int file = must(open(path, O_RDONLY | O_CLOEXEC), path);
    must((int)syscall(SYS_finit_module, file, parameters, 0), path);
    close(file);
}

/* Loads KVM's modules with their parameters from the kernel's command line, as modprobe does. */
static inline void load_kvm(void)
{
    static const char *const modules[][2] = {{"kvm", "kvm."}, {"kvm-intel", "kvm_intel."}};
    static char cmdline[2048], parameters[sizeof(cmdline)];
    char path[64], *rest;

    load_module("/modules/irqbypass.ko", "");
    for (unsigned i = 0; i < 2; i++) {
        FILE *file = fopen("/proc/cmdline", "r");
        must(file && fgets(cmdline, sizeof(cmdline), file) ? 0 : -1, "/proc/cmdline");
        fclose(file);
        size_t prefix = strlen(modules[i][1]), used = 0;
        for (char *at = cmdline, *word; (word = strtok_r(at, " \n", &rest)); at = NULL)
            if (!strncmp(word, modules[i][1], prefix))
                used += (size_t)sprintf(parameters + used, "%s ", word + prefix);
        parameters[used] = 0;
        snprintf(path, sizeof(path), "/modules/%s.ko", modules[i][0]);
        load_module(path, parameters);
    }
}

static inline void open_console(void)
{
    struct termios settings;

    must(mount("proc", "/proc", "proc", 0, NULL), "/proc");
    must(mount("sys", "/sys", "sysfs", 0, NULL), "/sys");
    mount("dev", "/dev", "devtmpfs", 0, NULL); /* fails if the kernel has mounted it already */
    int console = must(open("/dev/ttyS0", O_RDWR | O_NOCTTY), "/dev/ttyS0");
    for (int i = 0; i < 3; i++)
        dup2(console, i);
    must(tcgetattr(1, &settings), "/dev/ttyS0");
    cfsetspeed(&settings, B115200);
    settings.c_oflag |= OPOST | ONLCR;
    must(tcsetattr(1, TCSANOW, &settings), "/dev/ttyS0");
}
