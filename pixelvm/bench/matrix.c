/* The product of two 64x64 matrices, added up 32 times over; the sum of its elements. */
#include "bench.h"

enum { SIDE = 64, TIMES = 32 };
static volatile uint32_t times = TIMES;
static uint32_t a[SIDE * SIDE], b[SIDE * SIDE], c[SIDE * SIDE];

static uint32_t run(void) {
    for (uint32_t i = 0; i < SIDE * SIDE; i++) a[i] = i * 7 & 255, b[i] = i * 13 & 255;
    for (uint32_t time = 0; time < times; time++)
        for (uint32_t i = 0; i < SIDE; i++)
            for (uint32_t j = 0; j < SIDE; j++) {
                uint32_t total = 0;
                for (uint32_t k = 0; k < SIDE; k++) total += a[i * SIDE + k] * b[k * SIDE + j];
                c[i * SIDE + j] += total;
            }
    uint32_t sum = 0;
    for (uint32_t i = 0; i < SIDE * SIDE; i++) sum += c[i];
    return sum;
}
