// The Pixel VM (pixelvm/SPEC.md): one invocation runs one machine for a bounded number of steps.
//
// | group | binding | name     | access     | holds                                                              |
// | ----- | ------- | -------- | ---------- | ------------------------------------------------------------------ |
// | 0     | 0       | slice    | uniform    | machines in this dispatch, steps for each, machines in the buffers |
// | 0     | 1       | chosen   | read       | the numbers of the machines that run                               |
// | 0     | 2       | code     | read       | words of all programs as pixelvm/wgsl/decode.py makes them         |
// | 0     | 3       | records  | read_write | WORDS of each machine                                              |
// | 0     | 4       | stacks   | read_write | stacks, word by word, machines side by side                        |
// | 0     | 5       | memories | read_write | frames, behind them memory; word by word, machines side by side    |
// | 0     | 6       | posts    | read_write | calls without an answer, word by word, machines side by side       |
//
// Values: t is the top of the stack, u the one below it; both live in registers, the rest in `m` (private, because that is
// quicker than a buffer; no larger, because compilers write its zeros one by one). A step needs at most two reads and one
// write of `m`, one read and one write of `memories`. Every invocation goes the same way through a step: what an
// instruction does is chosen by selection, because a machine of vectors (lavapipe, and a GPU whose lanes differ) pays for
// all branches anyway. What is rare ends the burst of steps and is done between two bursts.
//
// A frame is its link and its locals. The link holds the return address and, above it, how many of the caller's locals
// are known, that is, have been set; the others are 0 whatever the buffer holds, so that a call need not clear them.
// Bounds: besides carrying the stack, one invocation loops at most slice.steps (1 + ROUND / BURST) + BURST times.

// BEGIN generated: python -m pixelvm.wgsl.layout
const STACK_SLOTS: u32 = 256u;
const FRAMES: u32 = 64u;
const LOCALS: u32 = 16u;
const WORDS: u32 = 20u;
const QUEUE: u32 = 32u;
const POST: u32 = 4u;
const NO_REQUEST: u32 = 4294967295u;
const DRAIN: u32 = 4294967294u;
const FRAME_WORDS: u32 = 17u;
const PAD: u32 = 4u;
const ARRAY: u32 = 261u;
const BURST: u32 = 64u;
const ROUND: u32 = 2u;
const WORKGROUP: u32 = 64u;
const LINK_BITS: u32 = 19u;
const RARE_BITS: u32 = 4u;
const ARGUMENT_BITS: u32 = 8u;
const NEEDS_BITS: u32 = 2u;
const CHANGE_BITS: u32 = 3u;
const CHANGE_BIAS: u32 = 3u;
const CALL_FUEL: u32 = 2u;
const SLOW: u32 = 0u;
const RARE_ILLEGAL: u32 = 0u;
const AT_PC: u32 = 0u;
const AT_FUEL: u32 = 1u;
const AT_STOP: u32 = 2u;
const AT_RESULT: u32 = 3u;
const AT_SEED: u32 = 4u;
const AT_WRITTEN: u32 = 5u;
const AT_DEPTH: u32 = 6u;
const AT_FRAMES: u32 = 7u;
const AT_KNOWN: u32 = 8u;
const AT_REQUEST: u32 = 9u;
const AT_FIRST: u32 = 10u;
const AT_SECOND: u32 = 11u;
const AT_POSTED: u32 = 12u;
const AT_POPS: u32 = 13u;
const AT_PUSHES: u32 = 14u;
const AT_ANSWER: u32 = 15u;
const AT_BEHIND: u32 = 16u;
const AT_COST: u32 = 17u;
const AT_CODE: u32 = 18u;
const AT_MEMORY: u32 = 19u;
const STOP_RUNNING: u32 = 0u;
const STOP_HALTED: u32 = 1u;
const STOP_FUEL: u32 = 2u;
const STOP_ILLEGAL: u32 = 16u;
const STOP_UNDERFLOW: u32 = 17u;
const STOP_OVERFLOW: u32 = 18u;
const STOP_DIVISION: u32 = 19u;
const STOP_ALIGNMENT: u32 = 20u;
const STOP_BOUNDS: u32 = 21u;
const STOP_CALLS: u32 = 22u;
const STOP_RETURN: u32 = 23u;
const SYS_PUTC: u32 = 0u;
const SYS_GETC: u32 = 1u;
const SYS_TIME: u32 = 2u;
const SYS_RANDOM: u32 = 3u;
const SYS_SIZE: u32 = 4u;
const SYS_PLOT: u32 = 5u;
const SYS_PIXEL: u32 = 6u;
const SYS_SHOW: u32 = 7u;
const SYS_SEND: u32 = 8u;
const SYS_RECEIVE: u32 = 9u;
const RARE_DIVU: u32 = 1u;
const RARE_DIVS: u32 = 2u;
const RARE_REMU: u32 = 3u;
const RARE_REMS: u32 = 4u;
const RARE_SYS: u32 = 5u;
const RARE_HALT: u32 = 6u;
const K_PUSH: u32 = 12u;
const K_HIGH: u32 = 9u;
const K_DUP: u32 = 13u;
const K_DROP: u32 = 5u;
const K_SWAP: u32 = 10u;
const K_OVER: u32 = 14u;
const K_ROT: u32 = 11u;
const K_PICK: u32 = 28u;
const K_ADD: u32 = 6u;
const K_SUB: u32 = 22u;
const K_MUL: u32 = 38u;
const K_AND: u32 = 54u;
const K_OR: u32 = 70u;
const K_XOR: u32 = 86u;
const K_SHL: u32 = 102u;
const K_SHR: u32 = 118u;
const K_SAR: u32 = 134u;
const K_EQ: u32 = 150u;
const K_NE: u32 = 166u;
const K_LTU: u32 = 182u;
const K_LTS: u32 = 198u;
const K_LOAD8: u32 = 25u;
const K_STORE8: u32 = 2u;
const K_LOAD32: u32 = 41u;
const K_STORE32: u32 = 18u;
const K_JUMP: u32 = 8u;
const K_JZ: u32 = 21u;
const K_JNZ: u32 = 37u;
const K_CALL: u32 = 24u;
const K_RET: u32 = 40u;
const K_GET: u32 = 44u;
const K_SET: u32 = 53u;
// END generated

struct Slice { count: u32, steps: u32, machines: u32 }

@group(0) @binding(0) var<uniform> slice: Slice;
@group(0) @binding(1) var<storage, read> chosen: array<u32>;
@group(0) @binding(2) var<storage, read> code: array<u32>;
@group(0) @binding(3) var<storage, read_write> records: array<u32>;
@group(0) @binding(4) var<storage, read_write> stacks: array<u32>;
@group(0) @binding(5) var<storage, read_write> memories: array<u32>;
@group(0) @binding(6) var<storage, read_write> posts: array<u32>;

const FRAME_ROWS: u32 = FRAMES * FRAME_WORDS;
const NOWHERE: u32 = ARRAY - 1u;

var<private> m: array<u32, ARRAY>;

struct Machine {
    pc: u32, fuel: u32, depth: u32, frames: u32,
    known: u32,  // locals of this frame that have been set; those above are 0
    t: u32, u: u32,
    stop: u32, request: u32, posted: u32, seed: u32, result: u32, written: u32, first: u32, second: u32,
    row: u32,  // number of the machine
}

// --- carrying the stack in and out ----------------------------------------------------------------------------------

fn carry_in(s: ptr<function, Machine>) {
    let n = slice.machines;
    var at = (*s).row;
    for (var i = 0u; i < (*s).depth; i++) { m[PAD + i] = stacks[at]; at += n; }
}

fn carry_out(s: ptr<function, Machine>) {
    let n = slice.machines;
    var at = (*s).row;
    for (var i = 0u; i < (*s).depth; i++) { stacks[at] = m[PAD + i]; at += n; }
}

fn flush(s: ptr<function, Machine>) {
    m[PAD + (*s).depth - 1u] = (*s).t;
    m[PAD + (*s).depth - 2u] = (*s).u;
}

fn fill(s: ptr<function, Machine>) {
    (*s).t = m[PAD + (*s).depth - 1u];
    (*s).u = m[PAD + (*s).depth - 2u];
}

// --- what is rare ---------------------------------------------------------------------------------------------------

fn post(s: ptr<function, Machine>, call: u32, a: u32, b: u32, c: u32) {
    let n = slice.machines;
    let at = (*s).row + n * POST * (*s).posted;
    posts[at] = call;
    posts[at + n] = a;
    posts[at + 2u * n] = b;
    posts[at + 3u * n] = c;
    (*s).posted++;
}

// Quotient and remainder as the signed or the unsigned instructions define them; b is not 0.
fn divided(rare: u32, a: u32, b: u32) -> u32 {
    let is_signed = rare == RARE_DIVS || rare == RARE_REMS;
    let minus_a = is_signed && (a >> 31u) != 0u;
    let minus_b = is_signed && (b >> 31u) != 0u;
    let x = select(a, 0u - a, minus_a);
    let y = select(b, 0u - b, minus_b);
    let quotient = x / y;
    let remainder = x - quotient * y;
    if (rare == RARE_DIVU || rare == RARE_DIVS) { return select(quotient, 0u - quotient, minus_a != minus_b); }
    return select(remainder, 0u - remainder, minus_a);
}

fn system_call(s: ptr<function, Machine>, call: u32, depth: u32) -> bool {
    if (call == SYS_RANDOM) {
        var x = (*s).seed;
        x ^= x << 13u;
        x ^= x >> 17u;
        x ^= x << 5u;
        (*s).seed = x;
        m[PAD + depth - 1u] = x;
        return true;
    }
    if (call == SYS_PUTC || call == SYS_PLOT || call == SYS_SHOW) {
        if ((*s).posted == QUEUE) { (*s).request = DRAIN; return false; }
        if (call == SYS_PUTC) {
            post(s, call, (*s).written, (*s).t & 0xffu, 0u);
            (*s).written++;
        } else {
            post(s, call, m[PAD + (*s).depth - 3u], (*s).u, (*s).t);
        }
        return true;
    }
    (*s).request = call;
    (*s).first = (*s).u;
    (*s).second = (*s).t;
    return false;
}

// The instruction that the fast path could not do; m holds the whole stack.
fn rare_step(s: ptr<function, Machine>, word: u32) {
    let operand = word >> 8u;
    let rare = operand & ((1u << RARE_BITS) - 1u);
    let argument = (operand >> RARE_BITS) & ((1u << ARGUMENT_BITS) - 1u);
    let needs = (operand >> (RARE_BITS + ARGUMENT_BITS)) & ((1u << NEEDS_BITS) - 1u);
    let change = (operand >> (RARE_BITS + ARGUMENT_BITS + NEEDS_BITS)) & ((1u << CHANGE_BITS) - 1u);
    let cost = operand >> (RARE_BITS + ARGUMENT_BITS + NEEDS_BITS + CHANGE_BITS);
    let depth = (*s).depth + change - CHANGE_BIAS;
    if (rare == RARE_ILLEGAL) { (*s).stop = STOP_ILLEGAL; return; }
    if ((*s).fuel < cost) { (*s).stop = STOP_FUEL; return; }
    if ((*s).depth < needs) { (*s).stop = STOP_UNDERFLOW; return; }
    if (depth > STACK_SLOTS) { (*s).stop = STOP_OVERFLOW; return; }
    if (rare == RARE_HALT) {
        (*s).stop = STOP_HALTED;
        (*s).result = argument;
        (*s).fuel -= cost;
        return;
    }
    if (rare == RARE_SYS) {
        if (!system_call(s, argument, depth)) { return; }
    } else {
        if ((*s).t == 0u) { (*s).stop = STOP_DIVISION; return; }
        m[PAD + depth - 1u] = divided(rare, (*s).u, (*s).t);
    }
    (*s).depth = depth;
    (*s).fuel -= cost;
    (*s).pc++;
}

// Why an instruction of the fast path was not done: its trap, in the order of SPEC.md section 3. A `set` far above the
// locals that have been set is no trap: the ones between become 0, and it is tried again.
fn refused(s: ptr<function, Machine>, word: u32) {
    let kind = word & 0xffu;
    let operand = word >> 8u;
    let depth = (*s).depth;
    let needs = select(kind & 3u, operand + 1u, kind == K_PICK);
    let is_word = kind == K_LOAD32 || kind == K_STORE32;
    let is_store = kind == K_STORE8 || kind == K_STORE32;
    let address = select((*s).t, (*s).u, is_store) + operand;
    if ((*s).fuel < select(1u, CALL_FUEL, kind == K_CALL)) { (*s).stop = STOP_FUEL; }
    else if (depth < needs) { (*s).stop = STOP_UNDERFLOW; }
    else if (depth + ((kind >> 2u) & 3u) > STACK_SLOTS + 2u) { (*s).stop = STOP_OVERFLOW; }
    else if (kind == K_CALL) { (*s).stop = STOP_CALLS; }
    else if (kind == K_RET) { (*s).stop = STOP_RETURN; }
    else if (kind == K_SET) {
        let locals = ((*s).frames - 1u) * FRAME_WORDS + 1u;
        for (var i = (*s).known; i < operand; i++) { memories[(*s).row + (locals + i) * slice.machines] = 0u; }
        (*s).known = operand;
    }
    else if (is_word && (address & 3u) != 0u) { (*s).stop = STOP_ALIGNMENT; }
    else { (*s).stop = STOP_BOUNDS; }
}

// --- the fast path --------------------------------------------------------------------------------------------------

fn arithmetic(kind: u32, a: u32, b: u32) -> u32 {
    var r = a + b;
    r = select(r, a - b, kind == K_SUB);
    r = select(r, a * b, kind == K_MUL);
    r = select(r, a & b, kind == K_AND);
    r = select(r, a | b, kind == K_OR);
    r = select(r, a ^ b, kind == K_XOR);
    r = select(r, a << (b & 31u), kind == K_SHL);
    r = select(r, a >> (b & 31u), kind == K_SHR);
    r = select(r, u32(i32(a) >> (b & 31u)), kind == K_SAR);
    r = select(r, u32(a == b), kind == K_EQ);
    r = select(r, u32(a != b), kind == K_NE);
    r = select(r, u32(a < b), kind == K_LTU);
    r = select(r, u32(i32(a) < i32(b)), kind == K_LTS);
    return r;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= slice.count) { return; }
    let row = chosen[id.x];
    let record = row * WORDS;
    var s: Machine;
    s.row = row;
    s.pc = records[record + AT_PC];
    s.fuel = records[record + AT_FUEL];
    s.stop = STOP_RUNNING;
    s.result = records[record + AT_RESULT];
    s.seed = records[record + AT_SEED];
    s.written = records[record + AT_WRITTEN];
    s.depth = records[record + AT_DEPTH];
    s.frames = records[record + AT_FRAMES];
    s.known = records[record + AT_KNOWN];
    s.request = NO_REQUEST;
    s.posted = 0u;
    let code_at = records[record + AT_CODE];
    let memory = records[record + AT_MEMORY];
    carry_in(&s);

    // The host's answer to the call at pc.
    let cost = records[record + AT_COST];
    if (cost != 0u) {
        s.depth -= records[record + AT_POPS];
        let pushes = records[record + AT_PUSHES];
        if (pushes > 0u) { m[PAD + s.depth] = records[record + AT_ANSWER]; }
        if (pushes > 1u) { m[PAD + s.depth + 1u] = records[record + AT_BEHIND]; }
        s.depth += pushes;
        s.fuel -= cost;
        s.pc++;
    }
    fill(&s);

    var steps = slice.steps;
    loop {
        var burst = min(BURST, steps);
        steps -= burst;
        var word = 0u;
        var done = true;
        var locals = (s.frames - 1u) * FRAME_WORDS + 1u;  // row of the first local
        loop {
            word = code[code_at + s.pc];
            let kind = word & 0xffu;
            let operand = word >> 8u;
            let change = (kind >> 2u) & 3u;
            let is_store8 = kind == K_STORE8;
            let is_store32 = kind == K_STORE32;
            let is_load8 = kind == K_LOAD8;
            let is_load32 = kind == K_LOAD32;
            let is_store = is_store8 || is_store32;
            let is_memory = is_store || is_load8 || is_load32;
            let is_call = kind == K_CALL;
            let is_ret = kind == K_RET;
            let is_get = kind == K_GET;
            let is_set = kind == K_SET;
            let is_pick = kind == K_PICK;
            let price = select(1u, CALL_FUEL, is_call);
            let needs = select(kind & 3u, operand + 1u, is_pick);
            let address = select(s.t, s.u, is_store) + operand;
            let misplaced = address >= memory || ((is_load32 || is_store32) && (address & 3u) != 0u);
            done = kind != SLOW && s.fuel >= price && s.depth >= needs && s.depth + change <= STACK_SLOTS + 2u
                && !(is_memory && misplaced)
                && !(is_call && s.frames == FRAMES) && !(is_ret && s.frames == 1u)
                && !(is_set && operand > s.known);
            if (done) {
                // The two reads of m.
                var read = PAD + s.depth - 3u;
                read = select(read, PAD + s.depth - 1u - min(operand, s.depth), is_pick);
                let x = m[read];
                let y = m[PAD + s.depth - 4u];

                // The one write of m: a push moves u there, `rot` rotates through there.
                var write = select(NOWHERE, PAD + s.depth - 2u, change == 3u);
                write = select(write, PAD + s.depth - 3u, kind == K_ROT);
                m[write] = s.u;

                var loaded = 0u;
                if (is_memory || is_get || is_set || is_call || is_ret) {
                    var at = FRAME_ROWS + (address >> 2u);
                    at = select(at, locals + operand, is_get || is_set);
                    at = select(at, locals - 1u, is_ret);
                    at = select(at, locals + FRAME_WORDS - 1u, is_call);
                    at = row + at * slice.machines;
                    let old = memories[at];
                    let shift = (address & 3u) * 8u;
                    loaded = select(old, (old >> shift) & 0xffu, is_load8);
                    if (is_store || is_set || is_call) {
                        let mask = 0xffu << shift;
                        var value = select(s.t, (old & ~mask) | ((s.t << shift) & mask), is_store8);
                        value = select(value, (s.pc + 1u) | (s.known << LINK_BITS), is_call);
                        memories[at] = value;
                    }
                }

                // The new top and the value below it.
                let a = s.u;
                let b = s.t;
                let is_binary = (kind & 15u) == (K_ADD & 15u);
                var t = select(b, a, change == 1u);                                        // drop, jz, jnz, set
                t = select(t, arithmetic(kind, a, b), is_binary);
                t = select(t, u32(i32(word) >> 8u), kind == K_PUSH);
                t = select(t, select(0u, loaded, operand < s.known), is_get);
                t = select(t, x, is_pick || kind == K_ROT || is_store);
                t = select(t, a, kind == K_OVER || kind == K_SWAP);
                t = select(t, (b & 0x00ffffffu) | (operand << 24u), kind == K_HIGH);
                t = select(t, loaded, is_load8 || is_load32);
                var u = select(a, x, change == 1u);
                u = select(u, b, change == 3u || kind == K_SWAP || kind == K_ROT);
                u = select(u, y, is_store);
                s.t = t;
                s.u = u;

                let jumps = kind == K_JUMP || is_call || (kind == K_JZ && b == 0u) || (kind == K_JNZ && b != 0u);
                var pc = select(s.pc + 1u, operand, jumps);
                pc = select(pc, loaded & ((1u << LINK_BITS) - 1u), is_ret);
                s.pc = pc;
                s.known = select(s.known, max(s.known, operand + 1u), is_set);
                s.known = select(s.known, 0u, is_call);
                s.known = select(s.known, loaded >> LINK_BITS, is_ret);
                s.frames = s.frames + u32(is_call) - u32(is_ret);
                locals = locals + select(0u, FRAME_WORDS, is_call) - select(0u, FRAME_WORDS, is_ret);
                s.depth = s.depth + change - 2u;
                s.fuel -= price;
                burst--;
            }
            if (!done || burst == 0u) { break; }
        }
        steps += select(0u, burst - ROUND, burst > ROUND);
        if (!done) {
            flush(&s);
            if ((word & 0xffu) == K_SET) { steps -= min(steps, LOCALS); }
            if ((word & 0xffu) == SLOW) { rare_step(&s, word); } else { refused(&s, word); }
            fill(&s);
        }
        if (steps == 0u || s.stop != STOP_RUNNING || s.request != NO_REQUEST) { break; }
    }

    flush(&s);
    carry_out(&s);
    records[record + AT_PC] = s.pc;
    records[record + AT_FUEL] = s.fuel;
    records[record + AT_STOP] = s.stop;
    records[record + AT_RESULT] = s.result;
    records[record + AT_SEED] = s.seed;
    records[record + AT_WRITTEN] = s.written;
    records[record + AT_DEPTH] = s.depth;
    records[record + AT_FRAMES] = s.frames;
    records[record + AT_KNOWN] = s.known;
    records[record + AT_REQUEST] = s.request;
    records[record + AT_FIRST] = s.first;
    records[record + AT_SECOND] = s.second;
    records[record + AT_POSTED] = s.posted;
    records[record + AT_COST] = 0u;
}
