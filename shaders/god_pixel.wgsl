// god_pixel.wgsl -- the tiles of seed codes (pixelvm/god/SPEC.md): the same words as pixelvm/god/seed.py
// Binds (group 0):
//   0  codes   storage, read        a seed code of the family, legal (the host has checked it), and its tile's number
//   1  tiles   storage, read_write  128x128 words for each tile, R in the low byte, rows from the top
// Constants:
//   FAMILY: u32 = 16u    the family that is drawn: a pipeline for each is eight times as quick as one for all
// Entries:
//   main     a code for each workgroup, a column of its tile for each invocation
// Loops:     128 rows, in each up to 64 steps (julia)

// BEGIN generated: python -m pixelvm.god.shader
const SIDE: u32 = 128u;
const TILE_PIXELS: u32 = 16384u;
const GOLDEN: u32 = 2654435769u;
const MIX_FIRST: u32 = 2146121005u;
const MIX_SECOND: u32 = 2221713035u;
const SLOPE_FRACTION: u32 = 4u;
const CLOUD_ROW: u32 = 64u;
const AUTOMATON_CELL: u32 = 64u;
const JULIA_FRACTION: u32 = 12u;
const JULIA_STEPS: u32 = 64u;
const JULIA_ESCAPE: i32 = 67108864i;
const JULIA_UNIT: i32 = 64i;
const JULIA_GREY: u32 = 4u;
const MIX_SHIFT_0: u32 = 16u;
const MIX_SHIFT_1: u32 = 15u;
const MIX_SHIFT_2: u32 = 16u;
const SOLID: u32 = 16u;
const SOLID_RED = vec2u(0u, 8u);
const SOLID_GREEN = vec2u(8u, 8u);
const SOLID_BLUE = vec2u(16u, 8u);
const GREY: u32 = 17u;
const GREY_LEVEL = vec2u(0u, 8u);
const GREY_ALPHA = vec2u(8u, 8u);
const PAIR: u32 = 18u;
const PAIR_LOW = vec2u(0u, 8u);
const PAIR_HIGH = vec2u(8u, 8u);
const COUNT: u32 = 19u;
const COUNT_START = vec2u(0u, 16u);
const COUNT_STEP = vec2u(16u, 8u);
const GRADIENT: u32 = 32u;
const GRADIENT_RED_X = vec2u(0u, 4u);
const GRADIENT_RED_Y = vec2u(4u, 4u);
const GRADIENT_GREEN_X = vec2u(8u, 4u);
const GRADIENT_GREEN_Y = vec2u(12u, 4u);
const GRADIENT_BLUE_X = vec2u(16u, 4u);
const GRADIENT_BLUE_Y = vec2u(20u, 4u);
const SLOPE: u32 = 33u;
const SLOPE_START = vec2u(0u, 8u);
const SLOPE_DX = vec2u(8u, 8u);
const SLOPE_DY = vec2u(16u, 8u);
const CHECKER: u32 = 34u;
const CHECKER_W = vec2u(0u, 3u);
const CHECKER_H = vec2u(3u, 3u);
const CHECKER_EVEN = vec2u(6u, 9u);
const CHECKER_ODD = vec2u(15u, 9u);
const BOARD: u32 = 35u;
const BOARD_SIDE = vec2u(0u, 7u);
const BOARD_EVEN = vec2u(7u, 8u);
const BOARD_ODD = vec2u(15u, 8u);
const XOR: u32 = 48u;
const XOR_A = vec2u(0u, 8u);
const XOR_B = vec2u(8u, 8u);
const XOR_C = vec2u(16u, 8u);
const PRODUCT: u32 = 49u;
const PRODUCT_A = vec2u(0u, 8u);
const PRODUCT_B = vec2u(8u, 8u);
const PRODUCT_C = vec2u(16u, 8u);
const QUADRATIC: u32 = 50u;
const QUADRATIC_A = vec2u(0u, 8u);
const QUADRATIC_B = vec2u(8u, 8u);
const QUADRATIC_C = vec2u(16u, 8u);
const WEAVE: u32 = 51u;
const WEAVE_RED_OP = vec2u(0u, 2u);
const WEAVE_RED_A = vec2u(2u, 3u);
const WEAVE_RED_B = vec2u(5u, 3u);
const WEAVE_GREEN_OP = vec2u(8u, 2u);
const WEAVE_GREEN_A = vec2u(10u, 3u);
const WEAVE_GREEN_B = vec2u(13u, 3u);
const WEAVE_BLUE_OP = vec2u(16u, 2u);
const WEAVE_BLUE_A = vec2u(18u, 3u);
const WEAVE_BLUE_B = vec2u(21u, 3u);
const NOISE: u32 = 64u;
const NOISE_SEED = vec2u(0u, 24u);
const GRAIN: u32 = 65u;
const GRAIN_SEED = vec2u(0u, 24u);
const CLOUDS: u32 = 66u;
const CLOUDS_SEED = vec2u(0u, 21u);
const CLOUDS_SIZE = vec2u(21u, 3u);
const AUTOMATON: u32 = 80u;
const AUTOMATON_RULE = vec2u(0u, 8u);
const AUTOMATON_SEED = vec2u(8u, 16u);
const CARPET: u32 = 81u;
const CARPET_BASE = vec2u(0u, 2u);
const CARPET_DEPTH = vec2u(2u, 3u);
const CARPET_GRADED = vec2u(5u, 1u);
const CARPET_MASK = vec2u(6u, 16u);
const JULIA: u32 = 82u;
const JULIA_CR = vec2u(0u, 8u);
const JULIA_CI = vec2u(8u, 8u);
const JULIA_STEP = vec2u(16u, 8u);
// END generated

@group(0) @binding(0) var<storage, read> codes: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> tiles: array<u32>;

const OPAQUE: u32 = 0xff000000u;
const CELLS: u32 = 2u * SIDE;
const LEVEL: u32 = 255u;

var<workgroup> cells: array<u32, CELLS>; // two rows of an automaton

fn unsigned(code: u32, field: vec2u) -> u32 {
  return extractBits(code >> 8u, field.x, field.y);
}

fn signed(code: u32, field: vec2u) -> i32 {
  return extractBits(bitcast<i32>(code >> 8u), field.x, field.y);
}

fn rgb(red: u32, green: u32, blue: u32) -> u32 {
  return OPAQUE | ((blue & LEVEL) << 16u) | ((green & LEVEL) << 8u) | (red & LEVEL);
}

fn grey(level: u32) -> u32 {
  return OPAQUE | ((level & LEVEL) * 0x010101u);
}

fn mix32(given: u32) -> u32 {
  var word = given;
  word ^= word >> MIX_SHIFT_0;
  word *= MIX_FIRST;
  word ^= word >> MIX_SHIFT_1;
  word *= MIX_SECOND;
  return word ^ (word >> MIX_SHIFT_2);
}

fn noise(start: u32, number: u32) -> u32 {
  return mix32(start + GOLDEN * number);
}

// Three bits of a colour, repeated to eight.
fn three(colour: u32, at: u32) -> u32 {
  let value = extractBits(colour, at, 3u);
  return (value << 5u) | (value << 2u) | (value >> 1u);
}

fn rgb333(colour: u32) -> u32 {
  return rgb(three(colour, 0u), three(colour, 3u), three(colour, 6u));
}

fn gradient(code: u32, x: u32, y: u32) -> u32 {
  let at = vec2i(i32(x), i32(y));
  let red = signed(code, GRADIENT_RED_X) * at.x + signed(code, GRADIENT_RED_Y) * at.y;
  let green = signed(code, GRADIENT_GREEN_X) * at.x + signed(code, GRADIENT_GREEN_Y) * at.y;
  let blue = signed(code, GRADIENT_BLUE_X) * at.x + signed(code, GRADIENT_BLUE_Y) * at.y;
  return rgb(u32(red), u32(green), u32(blue));
}

fn slope(code: u32, x: u32, y: u32) -> u32 {
  let start = i32(unsigned(code, SLOPE_START) << SLOPE_FRACTION);
  let sum = start + signed(code, SLOPE_DX) * i32(x) + signed(code, SLOPE_DY) * i32(y);
  return grey(u32(sum >> SLOPE_FRACTION));
}

fn checker(code: u32, x: u32, y: u32) -> u32 {
  let parity = ((x >> unsigned(code, CHECKER_W)) + (y >> unsigned(code, CHECKER_H))) & 1u;
  return rgb333(select(unsigned(code, CHECKER_EVEN), unsigned(code, CHECKER_ODD), parity == 1u));
}

fn board(code: u32, x: u32, y: u32) -> u32 {
  let side = unsigned(code, BOARD_SIDE) + 1u;
  return grey(select(unsigned(code, BOARD_EVEN), unsigned(code, BOARD_ODD), ((x / side + y / side) & 1u) == 1u));
}

fn weave(op: u32, p: u32, q: u32) -> u32 {
  switch op {
    case 0u: { return p ^ q; }
    case 1u: { return p & q; }
    case 2u: { return p | q; }
    default: { return p + q; }
  }
}

fn weaves(code: u32, x: u32, y: u32) -> u32 {
  let red = weave(unsigned(code, WEAVE_RED_OP), (unsigned(code, WEAVE_RED_A) + 1u) * x, (unsigned(code, WEAVE_RED_B) + 1u) * y);
  let green = weave(unsigned(code, WEAVE_GREEN_OP), (unsigned(code, WEAVE_GREEN_A) + 1u) * x, (unsigned(code, WEAVE_GREEN_B) + 1u) * y);
  let blue = weave(unsigned(code, WEAVE_BLUE_OP), (unsigned(code, WEAVE_BLUE_A) + 1u) * x, (unsigned(code, WEAVE_BLUE_B) + 1u) * y);
  return rgb(red, green, blue);
}

fn lattice(start: u32, i: u32, j: u32) -> u32 {
  let word = noise(start, (j >> 1u) * CLOUD_ROW + (i >> 1u));
  return extractBits(word, 8u * ((j & 1u) * 2u + (i & 1u)), 8u);
}

fn clouds(code: u32, x: u32, y: u32) -> u32 {
  let start = unsigned(code, CLOUDS_SEED);
  let size = unsigned(code, CLOUDS_SIZE);
  let n = 1u << size;
  let i = x >> size;
  let j = y >> size;
  let right = x & (n - 1u);
  let down = y & (n - 1u);
  let top = lattice(start, i, j) * (n - right) + lattice(start, i + 1u, j) * right;
  let low = lattice(start, i, j + 1u) * (n - right) + lattice(start, i + 1u, j + 1u) * right;
  return grey((top * (n - down) + low * down) >> (2u * size));
}

fn carpet(code: u32, x: u32, y: u32) -> u32 {
  let base = unsigned(code, CARPET_BASE) + 2u;
  let depth = unsigned(code, CARPET_DEPTH);
  let mask = unsigned(code, CARPET_MASK);
  var rest = vec2u(x, y);
  var count = 0u;
  while count < depth {
    let digit = rest % base;
    if ((mask >> (base * digit.y + digit.x)) & 1u) == 0u { break; }
    rest /= base;
    count += 1u;
  }
  return grey(select(select(0u, LEVEL, count == depth), LEVEL * count / depth, unsigned(code, CARPET_GRADED) == 1u));
}

fn julia(code: u32, x: u32, y: u32) -> u32 {
  let step = i32(unsigned(code, JULIA_STEP));
  let c = vec2i(signed(code, JULIA_CR), signed(code, JULIA_CI)) * JULIA_UNIT;
  var z = (2 * vec2i(i32(x), i32(y)) - i32(SIDE) + 1) * step;
  var count = 0u;
  while count < JULIA_STEPS {
    let square = z * z;
    if square.x + square.y > JULIA_ESCAPE { break; }
    z = vec2i((square.x - square.y) >> JULIA_FRACTION, (z.x * z.y) >> (JULIA_FRACTION - 1u)) + c;
    count += 1u;
  }
  return grey(JULIA_GREY * count);
}

fn pixel(code: u32, x: u32, y: u32) -> u32 {
  let number = SIDE * y + x;
  switch FAMILY {
    case SOLID: { return OPAQUE | (code >> 8u); }
    case GREY: { return (unsigned(code, GREY_LEVEL) * 0x010101u) | (unsigned(code, GREY_ALPHA) << 24u); }
    case PAIR: { return (code >> 8u) * 0x10001u; }
    case COUNT: { return unsigned(code, COUNT_START) + unsigned(code, COUNT_STEP) * number; }
    case GRADIENT: { return gradient(code, x, y); }
    case SLOPE: { return slope(code, x, y); }
    case CHECKER: { return checker(code, x, y); }
    case BOARD: { return board(code, x, y); }
    case XOR: { return grey(((unsigned(code, XOR_A) * x) ^ (unsigned(code, XOR_B) * y)) + unsigned(code, XOR_C)); }
    case PRODUCT: {
      return grey(unsigned(code, PRODUCT_A) * x * y + unsigned(code, PRODUCT_B) * x + unsigned(code, PRODUCT_C) * y);
    }
    case QUADRATIC: {
      return grey((unsigned(code, QUADRATIC_A) * x + unsigned(code, QUADRATIC_B) * y) * x + unsigned(code, QUADRATIC_C) * y * y);
    }
    case WEAVE: { return weaves(code, x, y); }
    case NOISE: { return noise(unsigned(code, NOISE_SEED), number); }
    case GRAIN: { return grey(noise(unsigned(code, GRAIN_SEED), number >> 2u) >> (8u * (x & 3u))); }
    case CLOUDS: { return clouds(code, x, y); }
    case CARPET: { return carpet(code, x, y); }
    case JULIA: { return julia(code, x, y); }
    default: { return 0u; }
  }
}

fn first_cell(start: u32, x: u32) -> u32 {
  if start == 0u { return u32(x == AUTOMATON_CELL); }
  return (noise(start, x >> 5u) >> (x & 31u)) & 1u;
}

@compute @workgroup_size(SIDE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) x: u32) {
  let code = codes[group.x].x;
  let base = codes[group.x].y * TILE_PIXELS + x;
  if FAMILY != AUTOMATON {
    for (var y = 0u; y < SIDE; y += 1u) { tiles[base + SIDE * y] = pixel(code, x, y); }
    return;
  }
  let rule = unsigned(code, AUTOMATON_RULE);
  let left = (x + SIDE - 1u) % SIDE;
  let right = (x + 1u) % SIDE;
  var cell = first_cell(unsigned(code, AUTOMATON_SEED), x);
  for (var y = 0u; y < SIDE; y += 1u) {
    let row = SIDE * (y & 1u); // a neighbour may still read the row before
    cells[row + x] = cell;
    tiles[base + SIDE * y] = grey(LEVEL * cell);
    workgroupBarrier();
    cell = (rule >> (4u * cells[row + left] + 2u * cell + cells[row + right])) & 1u;
  }
}
