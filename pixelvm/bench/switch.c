/* The Pixel VM as a C programmer would first write it: one loop, one switch, every check of SPEC.md section 3 made at
   every step. The peer of our engines in `pxos bench vm`; the reference in Python decides what is right.

   Opcodes, stops, calls, sizes, what an instruction needs and what its fuel is come from isa.h, which c_switch.py
   writes from isa.py. One machine a call; the memory is the caller's. */

#include <stdint.h>
#include <string.h>

#include "isa.h"

typedef struct {
    uint32_t pc, fuel, stop, result, seed, written, read, depth, frames, memory;
    uint32_t stack[STACK_SLOTS];
    uint32_t returns[FRAMES];
    uint32_t locals[FRAMES][LOCALS];
} machine;

/* A system call: number, the machine (for its console's positions), arguments with the top last, where answers go. */
typedef void host_call(uint32_t number, machine *m, const uint32_t *arguments, uint32_t *answers);

static uint32_t load32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value); /* x86 and arm64 are little-endian as the machine is */
    return value;
}

static void store32(uint8_t *at, uint32_t value) { memcpy(at, &value, sizeof value); }

static uint32_t divided(uint32_t op, uint32_t a, uint32_t b) {
    int32_t x = (int32_t)a, y = (int32_t)b;
    switch (op) {
    case OP_DIVU: return a / b;
    case OP_REMU: return a % b;
    case OP_DIVS: return y == -1 ? 0u - a : (uint32_t)(x / y);
    default: return y == -1 ? 0 : (uint32_t)(x % y);
    }
}

/* Runs until `m->stop` is not STOP_RUNNING. */
void run(machine *m, const uint32_t *code, uint32_t length, uint8_t *memory, host_call *host) {
    uint32_t pc = m->pc, fuel = m->fuel, depth = m->depth, frames = m->frames, stop = STOP_RUNNING;
    uint32_t *stack = m->stack, *locals = m->locals[frames - 1];
    const uint32_t size = m->memory;

    while (stop == STOP_RUNNING) {
        if (pc >= length) { stop = STOP_ILLEGAL; break; }
        const uint32_t word = code[pc], op = word & 0xff, operand = word >> 8;
        const row r = ROWS[op];
        uint32_t needs = r.needs, pops = r.pops, pushes = r.pushes, cost = r.fuel;
        if (operand >= (r.is_target ? length : r.limit)) { stop = STOP_ILLEGAL; break; } /* no opcode: limit 0 */
        if (op == OP_PICK) needs = operand + 1;
        if (op == OP_SYS) {
            const row call = CALLS[operand];
            needs = pops = call.pops, pushes = call.pushes, cost = call.fuel;
        }
        if (fuel < cost) { stop = STOP_FUEL; break; }
        if (depth < needs) { stop = STOP_UNDERFLOW; break; }
        if (depth - pops + pushes > STACK_SLOTS) { stop = STOP_OVERFLOW; break; }

        uint32_t *top = stack + depth - 1; /* top[0] is the top, top[-1] the value below it */
        uint32_t next = pc + 1, address;
        switch (op) {
        case OP_PUSH: top[1] = (uint32_t)((int32_t)word >> 8); break;
        case OP_HIGH: top[0] = (top[0] & 0x00ffffff) | operand << 24; break;
        case OP_DUP: top[1] = top[0]; break;
        case OP_DROP: break;
        case OP_SWAP: { uint32_t a = top[-1]; top[-1] = top[0]; top[0] = a; break; }
        case OP_OVER: top[1] = top[-1]; break;
        case OP_ROT: { uint32_t a = top[-2]; top[-2] = top[-1]; top[-1] = top[0]; top[0] = a; break; }
        case OP_PICK: top[1] = top[-(int32_t)operand]; break;
        case OP_ADD: top[-1] += top[0]; break;
        case OP_SUB: top[-1] -= top[0]; break;
        case OP_MUL: top[-1] *= top[0]; break;
        case OP_DIVU: case OP_DIVS: case OP_REMU: case OP_REMS:
            if (top[0] == 0) { stop = STOP_DIVISION; goto out; }
            top[-1] = divided(op, top[-1], top[0]);
            break;
        case OP_AND: top[-1] &= top[0]; break;
        case OP_OR: top[-1] |= top[0]; break;
        case OP_XOR: top[-1] ^= top[0]; break;
        case OP_SHL: top[-1] <<= top[0] & 31; break;
        case OP_SHR: top[-1] >>= top[0] & 31; break;
        case OP_SAR: top[-1] = (uint32_t)((int32_t)top[-1] >> (top[0] & 31)); break;
        case OP_EQ: top[-1] = top[-1] == top[0]; break;
        case OP_NE: top[-1] = top[-1] != top[0]; break;
        case OP_LTU: top[-1] = top[-1] < top[0]; break;
        case OP_LTS: top[-1] = (int32_t)top[-1] < (int32_t)top[0]; break;
        case OP_LOAD8:
            address = top[0] + operand;
            if (address >= size) { stop = STOP_BOUNDS; goto out; }
            top[0] = memory[address];
            break;
        case OP_STORE8:
            address = top[-1] + operand;
            if (address >= size) { stop = STOP_BOUNDS; goto out; }
            memory[address] = (uint8_t)top[0];
            break;
        case OP_LOAD32:
            address = top[0] + operand;
            if (address & 3) { stop = STOP_ALIGNMENT; goto out; }
            if (address >= size) { stop = STOP_BOUNDS; goto out; }
            top[0] = load32(memory + address);
            break;
        case OP_STORE32:
            address = top[-1] + operand;
            if (address & 3) { stop = STOP_ALIGNMENT; goto out; }
            if (address >= size) { stop = STOP_BOUNDS; goto out; }
            store32(memory + address, top[0]);
            break;
        case OP_JUMP: next = operand; break;
        case OP_JZ: if (top[0] == 0) next = operand; break;
        case OP_JNZ: if (top[0] != 0) next = operand; break;
        case OP_CALL:
            if (frames == FRAMES) { stop = STOP_CALLS; goto out; }
            m->returns[frames - 1] = next;
            locals = m->locals[frames++];
            memset(locals, 0, sizeof m->locals[0]);
            next = operand;
            break;
        case OP_RET:
            if (frames == 1) { stop = STOP_RETURN; goto out; }
            frames--;
            next = m->returns[frames - 1];
            locals = m->locals[frames - 1];
            break;
        case OP_GET: top[1] = locals[operand]; break;
        case OP_SET: locals[operand] = top[0]; break;
        case OP_SYS:
            if (operand == SYS_RANDOM) {
                uint32_t x = m->seed;
                x ^= x << 13;
                x ^= x >> 17;
                x ^= x << 5;
                top[1] = m->seed = x;
            } else {
                uint32_t answers[2] = {0, 0};
                host(operand, m, top + 1 - pops, answers);
                memcpy(top + 1 - pops, answers, pushes * sizeof *answers);
            }
            break;
        case OP_HALT: stop = STOP_HALTED; m->result = operand; next = pc; break;
        }
        depth += pushes - pops;
        fuel -= cost;
        pc = next;
    }
out:
    m->pc = pc, m->fuel = fuel, m->depth = depth, m->frames = frames, m->stop = stop;
}
