// activations.wgsl -- what is done to each value, or to each row: activations, products, sums, softmax, norms
// Binds (group 0):
//   0  x       storage, read        f32 [rows, columns]
//   1  other   storage, read        f32 [rows, columns]: the second operand of a product or sum
//   2  gain    storage, read        f32 [columns], of a norm
//   3  shift   storage, read        f32 [columns], of LayerNorm
//   4  y       storage, read_write  f32 [rows, columns]
//   5  shape   uniform
// Entries:
//   each     a vec4 for each invocation: MAP
//   rows     register-tiled: a row for each invocation: REDUCE. For lavapipe.
//   groups   workgroup-tiled: a row for THREADS invocations: REDUCE. For GPUs, and for rows that are too long for `rows`.
// Loops:     each: none; rows: 3 vectors; groups: 3 vectors / THREADS and twice log2 THREADS.
// Parts: activate.wgsl
// Constants:
//   MAP: u32 = 0         0 ACTIVATION(x), 1 SwiGLU: SiLU(x) other, 2 x + other, 3 x other
//   REDUCE: u32 = 0      0 softmax, 1 RMSNorm, 2 LayerNorm
//   THREADS: u32 = 256   a power of two

struct Shape {
  vectors: u32,   // vec4 in a padded row
  columns: u32,
  rows: u32,
  across: u32,    // `each`: invocations in a row of the dispatch; else workgroups in it
  epsilon: f32,   // of a norm
}

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> other: array<vec4f>;
@group(0) @binding(2) var<storage, read> gain: array<vec4f>;
@group(0) @binding(3) var<storage, read> shift: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(5) var<uniform> shape: Shape;

const SOFTMAX = 0u;
const RMS_NORM = 1u;
const LOWEST = -3.4028234e38;

@compute @workgroup_size(64)
fn each(@builtin(global_invocation_id) global: vec3u) {
  let at = global.y * shape.across + global.x;
  if global.x >= shape.across || at >= shape.rows * shape.vectors { return; }
  switch MAP {
    case 1u: { y[at] = activate4(x[at], 4u) * other[at]; }
    case 2u: { y[at] = x[at] + other[at]; }
    case 3u: { y[at] = x[at] * other[at]; }
    default: { y[at] = activate4(x[at], ACTIVATION); }
  }
}

// --- three passes over a row: the greatest value or the mean, a sum, the result ------------------------------

fn inside(vector: u32) -> vec4<bool> {
  return vec4u(4u * vector) + vec4u(0u, 1u, 2u, 3u) < vec4u(shape.columns);
}

fn total(v: vec4f) -> f32 {
  return (v.x + v.y) + (v.z + v.w);
}

fn highest(v: vec4f) -> f32 {
  return max(max(v.x, v.y), max(v.z, v.w));
}

// Pass 1, of one vector: softmax wants the greatest value, LayerNorm the sum.
fn first_of(at: u32, vector: u32) -> f32 {
  if REDUCE == SOFTMAX { return highest(select(vec4f(LOWEST), x[at], inside(vector))); }
  return total(x[at]);
}

fn first_of_two(a: f32, b: f32) -> f32 {
  if REDUCE == SOFTMAX { return max(a, b); }
  return a + b;
}

// Pass 2, of one vector: softmax sums exponentials, the norms squares. `centre` is what pass 1 found.
fn second_of(at: u32, vector: u32, centre: f32) -> f32 {
  if REDUCE == SOFTMAX { return total(select(vec4f(), exp(x[at] - centre), inside(vector))); }
  let away = select(vec4f(), x[at] - centre, inside(vector));
  return dot(away, away);
}

// Pass 3, of one vector; `sum` is what pass 2 found.
fn third_of(at: u32, vector: u32, centre: f32, sum: f32) {
  if REDUCE == SOFTMAX {
    y[at] = select(vec4f(), exp(x[at] - centre) / sum, inside(vector));
    return;
  }
  let scaled = (x[at] - centre) * (1.0 / sqrt(sum / f32(shape.columns) + shape.epsilon));
  if REDUCE == RMS_NORM {
    y[at] = scaled * gain[vector];
  } else {
    y[at] = scaled * gain[vector] + shift[vector];
  }
}

fn centre_from(first: f32) -> f32 {
  if REDUCE == SOFTMAX { return first; }
  if REDUCE == RMS_NORM { return 0.0; }
  return first / f32(shape.columns);
}

fn first_start() -> f32 {
  if REDUCE == SOFTMAX { return LOWEST; }
  return 0.0;
}

@compute @workgroup_size(8)
fn rows(@builtin(global_invocation_id) global: vec3u) {
  let row = global.y * shape.across * 8u + global.x;
  if global.x >= shape.across * 8u || row >= shape.rows { return; }
  let begin = row * shape.vectors;
  var first = first_start();
  if REDUCE != RMS_NORM {
    for (var i = 0u; i < shape.vectors; i++) { first = first_of_two(first, first_of(begin + i, i)); }
  }
  let centre = centre_from(first);
  var sum = 0.0;
  for (var i = 0u; i < shape.vectors; i++) { sum += second_of(begin + i, i, centre); }
  for (var i = 0u; i < shape.vectors; i++) { third_of(begin + i, i, centre, sum); }
}

var<workgroup> shared_values: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn groups(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
  let row = group.y * shape.across + group.x;
  if group.x >= shape.across || row >= shape.rows { return; }
  let begin = row * shape.vectors;
  var centre = 0.0;
  if REDUCE != RMS_NORM {
    var first = first_start();
    for (var i = thread; i < shape.vectors; i += THREADS) { first = first_of_two(first, first_of(begin + i, i)); }
    shared_values[thread] = first;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
      if thread < half { shared_values[thread] = first_of_two(shared_values[thread], shared_values[thread + half]); }
      workgroupBarrier();
    }
    centre = centre_from(shared_values[0]);
    workgroupBarrier();
  }
  var sum = 0.0;
  for (var i = thread; i < shape.vectors; i += THREADS) { sum += second_of(begin + i, i, centre); }
  shared_values[thread] = sum;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if thread < half { shared_values[thread] += shared_values[thread + half]; }
    workgroupBarrier();
  }
  sum = shared_values[0];
  for (var i = thread; i < shape.vectors; i += THREADS) { third_of(begin + i, i, centre, sum); }
}
