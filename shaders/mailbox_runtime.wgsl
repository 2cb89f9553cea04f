// The mailbox's batch drainer: runs the rows that one dispatch was given, in their order, and stops.
//
// Purpose:  ALLOC, FREE, MMIO_READ, MMIO_WRITE and PING of shaders/MAILBOX.md, section 6.
// Bindings, group 0:
//   0  batch    read        row 0: word 0 is the number of rows; then rows as toolchain.mailbox.rings fetches them
//   1  answers  read_write  4 words a row: result low, result high, error bits, 0
//   2  heap     read_write  word 0: blocks in use; 1 to 2 * granules - 1: the tree (toolchain.mailbox.allocator);
//                           then free bytes
//   3  window   read_write  registers of window 0
// Invariants: `main` is one invocation; its loops do at most rows + 2 * HEAP_LEVELS * (ALLOCs and FREEs) iterations
//           together, which the host asserts before each dispatch. `each` has no loop and writes answers alone; the host
//           gives it no row that writes. Opcodes, flags and slots have been judged by the host.
//
// Parts: mailbox.wgsl
// Constants:
//   HEAP_LEVELS: u32 = 17           levels of the tree: 1 + log2 of the granules
//   EACH: u32 = 64                  rows of a workgroup of `each`

const VECTORS: u32 = MAILBOX_SLOT_SIZE / 16u;
const GRANULES: u32 = 1u << (HEAP_LEVELS - 1u);
const HEAP_BYTES: u32 = GRANULES * MAILBOX_HEAP_GRANULE;
const FREE_BYTES: u32 = 2u * GRANULES;  // where the heap's free bytes are counted
const HEAP_REGISTERS: u32 = 4u;

struct Answer {
    low: u32,
    high: u32,
    error: u32,
}

@group(0) @binding(0) var<storage, read> batch: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> answers: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> heap: array<u32>;
@group(0) @binding(3) var<storage, read_write> window: array<u32>;

fn refuse(error: u32) -> Answer {
    return Answer(0u, 0u, error);
}

// Where the block of a node lies; `height` is 1 at the leaves.
fn place(node: u32, height: u32) -> u32 {
    return ((node - (1u << (HEAP_LEVELS - height))) << (height - 1u)) * MAILBOX_HEAP_GRANULE;
}

fn allocate(size: u32) -> Answer {
    if size == 0u {
        return refuse(MAILBOX_ERROR_BAD_FIELD);
    }
    if size > HEAP_BYTES {
        return refuse(MAILBOX_ERROR_NO_MEMORY);
    }
    let granules = (size + MAILBOX_HEAP_GRANULE - 1u) / MAILBOX_HEAP_GRANULE;
    let wanted = 33u - countLeadingZeros(granules - 1u);
    if heap[1] < wanted {
        return refuse(MAILBOX_ERROR_NO_MEMORY);
    }
    var node = 1u;
    for (var here = HEAP_LEVELS; here > wanted; here -= 1u) {
        node *= 2u;
        if heap[node] < wanted {
            node += 1u;
        }
    }
    heap[node] = 0u;
    heap[0] += 1u;
    heap[FREE_BYTES] -= MAILBOX_HEAP_GRANULE << (wanted - 1u);
    let offset = place(node, wanted);
    for (; node > 1u;) {
        node /= 2u;
        heap[node] = max(heap[2u * node], heap[2u * node + 1u]);
    }
    return Answer(offset, 0u, 0u);
}

fn release(offset: u32) -> Answer {
    if offset % MAILBOX_HEAP_GRANULE != 0u {
        return refuse(MAILBOX_ERROR_MISALIGNED);
    }
    if offset >= HEAP_BYTES {
        return refuse(MAILBOX_ERROR_NOT_ALLOCATED);
    }
    var node = GRANULES + offset / MAILBOX_HEAP_GRANULE;
    var here = 1u;
    for (; node > 1u && heap[node] != 0u;) {
        node /= 2u;
        here += 1u;
    }
    if heap[node] != 0u || place(node, here) != offset {
        return refuse(MAILBOX_ERROR_NOT_ALLOCATED);
    }
    let size = MAILBOX_HEAP_GRANULE << (here - 1u);
    heap[node] = here;
    heap[0] -= 1u;
    heap[FREE_BYTES] += size;
    for (; node > 1u;) {
        node /= 2u;
        let left = heap[2u * node];
        let right = heap[2u * node + 1u];
        heap[node] = select(max(left, right), here + 1u, left == here && right == here);
        here += 1u;
    }
    return Answer(size, 0u, 0u);
}

fn largest() -> u32 {
    return select(MAILBOX_HEAP_GRANULE << (max(heap[1], 1u) - 1u), 0u, heap[1] == 0u);
}

fn registers(write: bool, number: u32, offset: u32, value: u32) -> Answer {
    if offset % 4u != 0u {
        return refuse(MAILBOX_ERROR_MISALIGNED);
    }
    let index = offset / 4u;
    if number == MAILBOX_WINDOW_SCRATCH && offset < MAILBOX_WINDOW_SIZE {
        let before = window[index];
        if write {
            window[index] = value;
        }
        return Answer(before, 0u, 0u);
    }
    if number == MAILBOX_WINDOW_HEAP && index < HEAP_REGISTERS && !write {
        let values = array<u32, 4>(HEAP_BYTES, heap[FREE_BYTES], largest(), heap[0]);
        return Answer(values[index], 0u, 0u);
    }
    return refuse(MAILBOX_ERROR_NOT_GRANTED);
}

// Whether words of the body that an operation has no field for are set: behind its third, second or first word.
fn stray(at: u32) -> vec3<u32> {
    let body = batch[at + 1u];
    let rest = batch[at + 2u] | batch[at + 3u];
    let behind = rest.x | rest.y | rest.z | rest.w | body.w;
    return vec3<u32>(behind, behind | body.z, behind | body.z | body.y);
}

// One row that changes nothing.
fn look(at: u32) -> Answer {
    let body = batch[at + 1u];
    let unused = stray(at);
    switch batch[at].x >> MAILBOX_OPCODE_SHIFT {
        case MAILBOX_OP_MMIO_READ: {
            if unused.y != 0u { return refuse(MAILBOX_ERROR_BAD_FIELD); }
            return registers(false, body.x, body.y, 0u);
        }
        case MAILBOX_OP_PING: {
            if unused.y != 0u { return refuse(MAILBOX_ERROR_BAD_FIELD); }
            return Answer(body.x, body.y, 0u);
        }
        default: {
            return refuse(MAILBOX_ERROR_UNKNOWN_OPCODE);
        }
    }
}

// One row.
fn run(at: u32) -> Answer {
    let body = batch[at + 1u];
    let unused = stray(at);
    switch batch[at].x >> MAILBOX_OPCODE_SHIFT {
        case MAILBOX_OP_ALLOC: {
            if unused.z != 0u { return refuse(MAILBOX_ERROR_BAD_FIELD); }
            return allocate(body.x);
        }
        case MAILBOX_OP_FREE: {
            if unused.z != 0u { return refuse(MAILBOX_ERROR_BAD_FIELD); }
            return release(body.x);
        }
        case MAILBOX_OP_MMIO_WRITE: {
            if unused.x != 0u { return refuse(MAILBOX_ERROR_BAD_FIELD); }
            return registers(true, body.x, body.y, body.z);
        }
        default: {
            return look(at);
        }
    }
}

fn answer(row: u32, found: Answer) {
    answers[row] = vec4<u32>(found.low, found.high, found.error, 0u);
}

// All rows in their order.
@compute @workgroup_size(1)
fn main() {
    let count = min(batch[0].x, arrayLength(&answers));
    for (var row = 0u; row < count; row += 1u) {
        answer(row, run((row + 1u) * VECTORS));
    }
}

// A row each, all at once: of a batch in which none changes what another sees.
@compute @workgroup_size(EACH)
fn each(@builtin(global_invocation_id) at: vec3<u32>) {
    if at.x < min(batch[0].x, arrayLength(&answers)) {
        answer(at.x, look((at.x + 1u) * VECTORS));
    }
}
