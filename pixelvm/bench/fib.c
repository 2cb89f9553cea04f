/* fib(32) by calling itself. */
#include "bench.h"

static volatile uint32_t start = 32;

static uint32_t fib(uint32_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

static uint32_t run(void) { return fib(start); }
