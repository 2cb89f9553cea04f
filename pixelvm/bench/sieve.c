/* How many primes there are below 500,000, by the sieve of Eratosthenes, four times over. */
#include "bench.h"

enum { LIMIT = 500000, TIMES = 4 };
static uint8_t flags[LIMIT];

static uint32_t run(void) {
    uint32_t count = 0;
    for (uint32_t time = 0; time < TIMES; time++) {
        memset(flags, 0, sizeof flags);
        for (uint32_t i = 2; i * i < LIMIT; i++)
            if (!flags[i])
                for (uint32_t j = i * i; j < LIMIT; j += i) flags[j] = 1;
        for (uint32_t i = 2; i < LIMIT; i++) count += !flags[i];
    }
    return count;
}
