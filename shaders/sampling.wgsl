// sampling.wgsl -- the next token from a row of logits: greedy, temperature, top-k, top-p
// Binds (group 0):
//   0  logits  storage, read        f32 [rows, columns]
//   1  tokens  storage, read_write  u32 [rows]
//   2  shape   uniform
// Entries:
//   main     a row for each workgroup
// Loops:     at most 80 passes of columns / THREADS, log2 THREADS for each, and 4 THREADS
// Constants:
//   THREADS: u32 = 256      a power of two
//
// Order:       a logit as an unsigned key that sorts as the float does; equal logits sort by index, the lower one first.
//              NaN counts as the lowest. Greedy takes the first.
// Weights:     round(2^20 exp((logit - greatest) / temperature)), as integers: their sums, and with them every
//              comparison, are exact whatever the order, so that all devices with the same exp agree.
// top-k:       the k first in the order.
// top-p:       of these, the shortest beginning whose weights reach p of theirs (Holtzman et al., 2020); at least one.
// Draw:        Philox4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011), key = seed, counter =
//              (row, step, 0, 0): 32 bits; the token at which the weights by index exceed that part of their sum.

struct Shape {
  vectors: u32,       // f32 in a padded row
  columns: u32,
  rows: u32,
  top_k: u32,         // 1 .. columns
  seed_low: u32,
  seed_high: u32,
  step: u32,
  top_p: u32,         // in 1 / 65536: 1 .. 65536
  inverse: f32,       // 1 / temperature; 0: greedy
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(2) var<uniform> shape: Shape;

const WEIGHT_ONE = 1048576.0;        // 2^20
const PART_BITS = 16u;               // of top_p

var<workgroup> lows: array<u32, THREADS>;
var<workgroup> highs: array<u32, THREADS>;

// --- 64-bit sums ---------------------------------------------------------------------------------------------

fn add64(a: vec2u, b: vec2u) -> vec2u {
  let low = a.x + b.x;
  return vec2u(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn less64(a: vec2u, b: vec2u) -> bool {
  return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn product32(a: u32, b: u32) -> vec2u {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let cross = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return vec2u(a * b, (a >> 16u) * (b >> 16u) + (middle >> 16u) + (cross >> 16u));
}

// (a b) >> 32 for a of 64 bits below 2^52 and b of 32: what part b / 2^32 of a is.
fn part_of(a: vec2u, b: u32) -> vec2u {
  return add64(vec2u(product32(a.x, b).y, 0u), product32(a.y, b));
}

// --- over the workgroup --------------------------------------------------------------------------------------

fn sum_all(thread: u32, value: vec2u) -> vec2u {
  lows[thread] = value.x;
  highs[thread] = value.y;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if thread < half {
      let s = add64(vec2u(lows[thread], highs[thread]), vec2u(lows[thread + half], highs[thread + half]));
      lows[thread] = s.x;
      highs[thread] = s.y;
    }
    workgroupBarrier();
  }
  let s = vec2u(workgroupUniformLoad(&lows[0]), workgroupUniformLoad(&highs[0]));
  workgroupBarrier();
  return s;
}

fn greatest(thread: u32, value: u32) -> u32 {
  lows[thread] = value;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if thread < half { lows[thread] = max(lows[thread], lows[thread + half]); }
    workgroupBarrier();
  }
  let m = workgroupUniformLoad(&lows[0]);
  workgroupBarrier();
  return m;
}

// --- the order -----------------------------------------------------------------------------------------------

fn key_of(logit: f32) -> u32 {
  let bits = bitcast<u32>(logit);
  if (bits & 0x7fffffffu) > 0x7f800000u { return 0u; } // NaN
  if bits == 0x80000000u { return 0x80000000u; }       // -0 equals 0
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

fn logit_of(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, (key >> 31u) == 1u));
}

fn weight_of(key: u32, top: u32) -> u32 {
  if key == top { return u32(WEIGHT_ONE); }            // also where both are infinite
  if key == 0u { return 0u; }
  let x = (logit_of(key) - logit_of(top)) * shape.inverse;
  if !(x > -20.0) { return 0u; }
  return u32(exp(x) * WEIGHT_ONE + 0.5);
}

// What is counted of a logit: 1, or its weight.
fn measure(key: u32, top: u32, weighed: bool) -> u32 {
  if weighed { return weight_of(key, top); }
  return 1u;
}

// The count or weight of the keys from `least` on.
fn reached(thread: u32, begin: u32, least: u32, top: u32, weighed: bool) -> vec2u {
  var sum = vec2u();
  for (var i = thread; i < shape.columns; i += THREADS) {
    let key = key_of(logits[begin + i]);
    if key >= least { sum = add64(sum, vec2u(measure(key, top, weighed), 0u)); }
  }
  return sum_all(thread, sum);
}

// The greatest key for which the keys from it on reach `wanted`; 0 where none does.
fn threshold(thread: u32, begin: u32, wanted: vec2u, top: u32, weighed: bool) -> u32 {
  var found = 0u;
  for (var bit = 0u; bit < 32u; bit++) {
    let tried = found | (0x80000000u >> bit);
    if !less64(reached(thread, begin, tried, top, weighed), wanted) { found = tried; }
  }
  return found;
}

// Of the keys that equal `key`, those up to which index reach `wanted`, each counting `each`: index + 1 of the last.
fn equal_until(thread: u32, begin: u32, key: u32, each: u32, wanted: vec2u) -> u32 {
  let share = (shape.columns + THREADS - 1u) / THREADS; // consecutive logits of an invocation
  let first = thread * share;
  let end = min(first + share, shape.columns);
  var count = 0u;
  for (var i = first; i < end; i++) { count += select(0u, 1u, key_of(logits[begin + i]) == key); }
  lows[thread] = count;
  workgroupBarrier();
  var before = vec2u();
  for (var t = 0u; t < thread; t++) { before = add64(before, product32(lows[t], each)); }
  workgroupBarrier();
  var last = 0u;
  for (var i = first; i < end; i++) {
    if key_of(logits[begin + i]) == key {
      let after = add64(before, vec2u(each, 0u));
      if less64(before, wanted) { last = i + 1u; }
      before = after;
    }
  }
  return greatest(thread, last);
}

// --- Philox4x32-10 -------------------------------------------------------------------------------------------

fn philox(counter: vec4u, seed: vec2u) -> vec4u {
  var c = counter;
  var k = seed;
  for (var round = 0u; round < 10u; round++) {
    let p = product32(0xD2511F53u, c.x);
    let q = product32(0xCD9E8D57u, c.z);
    c = vec4u(q.y ^ c.y ^ k.x, q.x, p.y ^ c.w ^ k.y, p.x);
    k += vec2u(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
  let row = group.x;
  let begin = row * shape.vectors;
  var most = 0u;
  for (var i = thread; i < shape.columns; i += THREADS) { most = max(most, key_of(logits[begin + i])); }
  let top = greatest(thread, most);
  if shape.inverse == 0.0 {
    let token = equal_until(thread, begin, top, 1u, vec2u(1u, 0u));
    if thread == 0u { tokens[row] = token - 1u; }
    return;
  }

  // Kept: keys above `least`, and of those that equal it the ones with an index below `until`.
  var least = 0u;
  var until = shape.columns;
  if shape.top_k < shape.columns {
    let wanted = vec2u(shape.top_k, 0u);
    least = threshold(thread, begin, wanted, top, false);
    let above = reached(thread, begin, least + 1u, top, false).x;
    until = equal_until(thread, begin, least, 1u, vec2u(shape.top_k - above, 0u));
  }
  var sum = vec2u();
  for (var i = thread; i < shape.columns; i += THREADS) {
    let key = key_of(logits[begin + i]);
    if key > least || (key == least && i < until) { sum = add64(sum, vec2u(weight_of(key, top), 0u)); }
  }
  var total = sum_all(thread, sum);
  if shape.top_p < (1u << PART_BITS) {
    // the beginning of the order up to here has the same weights as the whole order: top-k only cuts its end off
    let product = add64(add64(product32(total.x, shape.top_p), vec2u(0u, total.y * shape.top_p)),
                        vec2u((1u << PART_BITS) - 1u, 0u));
    let wanted = vec2u((product.x >> PART_BITS) | (product.y << PART_BITS), product.y >> PART_BITS); // ceil(p total)
    let cut = threshold(thread, begin, wanted, top, true);
    let above = reached(thread, begin, cut + 1u, top, true);
    let each = weight_of(cut, top);
    let missing = vec2u(wanted.x - above.x, wanted.y - above.y - select(0u, 1u, wanted.x < above.x));
    let equal = equal_until(thread, begin, cut, each, missing);
    if cut > least || (cut == least && equal < until) {
      least = cut;
      until = equal;
    }
    sum = vec2u();
    for (var i = thread; i < shape.columns; i += THREADS) {
      let key = key_of(logits[begin + i]);
      if key > least || (key == least && i < until) { sum = add64(sum, vec2u(weight_of(key, top), 0u)); }
    }
    total = sum_all(thread, sum);
  }

  // The first index at which the weights so far exceed the drawn part of the total.
  let drawn = part_of(total, philox(vec4u(row, shape.step, 0u, 0u), vec2u(shape.seed_low, shape.seed_high)).x);
  let share = (shape.columns + THREADS - 1u) / THREADS;
  let first = thread * share;
  let end = min(first + share, shape.columns);
  sum = vec2u();
  for (var i = first; i < end; i++) {
    let key = key_of(logits[begin + i]);
    if key > least || (key == least && i < until) { sum = add64(sum, vec2u(weight_of(key, top), 0u)); }
  }
  lows[thread] = sum.x;
  highs[thread] = sum.y;
  workgroupBarrier();
  var before = vec2u();
  for (var t = 0u; t < thread; t++) { before = add64(before, vec2u(lows[t], highs[t])); }
  if less64(drawn, before) || !less64(drawn, add64(before, sum)) { return; }
  for (var i = first; i < end; i++) {
    let key = key_of(logits[begin + i]);
    if key > least || (key == least && i < until) {
      let after = add64(before, vec2u(weight_of(key, top), 0u));
      if !less64(drawn, before) && less64(drawn, after) { tokens[row] = i; }
      before = after;
    }
  }
}
