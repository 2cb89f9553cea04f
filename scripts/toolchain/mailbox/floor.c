/* The floor of a round trip between two processes on this machine: one word there, one word back, nothing done.
 *
 * Usage: floor polled|doorbell COUNT
 * polled: both spin on their cache line of a shared page. doorbell: the far side sleeps in read(2) on an eventfd.
 * Writes the nanoseconds of each round trip to standard output, 32-bit little-endian words.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

struct page {
    _Alignas(64) atomic_uint there;
    _Alignas(64) atomic_uint back;
};

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t ticks(void)
{
    uint32_t low, high;
    __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int doorbell = !strcmp(argv[1], "doorbell");
    unsigned count = (unsigned)atoi(argv[2]);
    struct page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t *times = malloc(count * sizeof *times);
    int bell = eventfd(0, 0);
    if (page == MAP_FAILED || !times || bell < 0)
        return 2;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (unsigned n = 1; n <= count; n++) {
            uint64_t rings;
            if (doorbell && read(bell, &rings, sizeof rings) != sizeof rings)
                _exit(1);
            while (atomic_load_explicit(&page->there, memory_order_acquire) != n)
                __builtin_ia32_pause();
            atomic_store_explicit(&page->back, n, memory_order_release);
        }
        _exit(0);
    }
    uint64_t began = now(), first = ticks();
    for (unsigned n = 1; n <= count; n++) {
        uint64_t start = ticks();
        atomic_store_explicit(&page->there, n, memory_order_release);
        uint64_t one = 1;
        if (doorbell && write(bell, &one, sizeof one) != sizeof one)
            return 1;
        while (atomic_load_explicit(&page->back, memory_order_acquire) != n)
            __builtin_ia32_pause();
        uint64_t took = ticks() - start;
        times[n - 1] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    }
    double scale = (double)(now() - began) / (double)(ticks() - first);
    for (unsigned n = 0; n < count; n++)
        times[n] = (uint32_t)((double)times[n] * scale);
    waitpid(child, NULL, 0);
    return fwrite(times, sizeof *times, count, stdout) == count ? 0 : 1;
}
