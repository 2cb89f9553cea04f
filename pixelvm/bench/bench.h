/* Runs one program: prints the seconds of processor time that it took and its result. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint32_t run(void);

int main(void) {
    struct timespec began, ended;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
    uint32_t result = run();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
    double seconds = (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) * 1e-9;
    printf("%.9f %u\n", seconds, result);
    return 0;
}
