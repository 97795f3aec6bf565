/* SPDX-License-Identifier: MIT */
/*
 * /init of the Linux that MACHINE=nested boots. It loads KVM, and runs the command in /command,
 * where a zero follows each argument, with /boot as the current folder. The command's EXIT line is
 * the last output.
 */
#define _GNU_SOURCE
#include "tools/kvm/init.h"

#include <sys/wait.h>

#define WORDS 64

int main(void)
{
    static char text[1 << 16];
    static char *const environment[] = {NULL};
    char *words[WORDS + 1];
    int count = 0, status;

    open_console();
    load_kvm();
    int file = must(open("/command", O_RDONLY | O_CLOEXEC), "/command");
    ssize_t size = must((int)read(file, text, sizeof(text)), "/command");
    for (char *word = text; word < text + size && count < WORDS; word += strlen(word) + 1)
        words[count++] = word;
    words[count] = NULL;
    must(chdir("/boot"), "/boot");
    pid_t child = must(fork(), "fork");
    if (!child) {
        execve(words[0], words, environment);
        must(-1, words[0]);
    }
    must(waitpid(child, &status, 0), "waitpid");
    end_machine();
}
