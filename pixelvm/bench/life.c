/* Conway's Life, 128 generations on a torus of 128x128 cells; how many are alive. */
#include "bench.h"

enum { SIDE = 128, MASK = SIDE - 1, GENERATIONS = 128 };
static uint8_t cells[2][SIDE * SIDE];

static uint32_t run(void) {
    uint8_t *now = cells[0], *then = cells[1];
    for (uint32_t i = 0; i < SIDE * SIDE; i++) now[i] = (i * i * 31 + i * 7 >> 4) % 3 == 0;
    for (uint32_t time = 0; time < GENERATIONS; time++) {
        for (uint32_t y = 0; y < SIDE; y++) {
            uint32_t up = (y - 1 & MASK) * SIDE, row = y * SIDE, down = (y + 1 & MASK) * SIDE;
            for (uint32_t x = 0; x < SIDE; x++) {
                uint32_t left = x - 1 & MASK, right = x + 1 & MASK;
                uint32_t alive = now[up + left] + now[up + x] + now[up + right] + now[row + left] + now[row + right]
                    + now[down + left] + now[down + x] + now[down + right];
                then[row + x] = (alive | now[row + x]) == 3;
            }
        }
        uint8_t *other = now;
        now = then, then = other;
    }
    uint32_t sum = 0;
    for (uint32_t i = 0; i < SIDE * SIDE; i++) sum += now[i];
    return sum;
}
