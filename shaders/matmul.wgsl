// matmul.wgsl -- C = activation(A B + bias): matrix times matrix, vector times matrix
// Binds (group 0):
//   0  A       storage, read        f32 [m, k], rows of lda vec4
//   1  B       storage, read        f32, f16 or int8 [k, n], rows of ldb units of 16 values
//   2  scale   storage, read        f32 [n], for int8 only
//   3  bias    storage, read        f32 [n]; zeros where there is none
//   4  C       storage, read_write  f32 [m, n], rows of ldc units of 16 values; `slices`: the partial sums
//   5  shape   uniform
// Entries:
//   rows     register-tiled: an invocation owns ROWS rows of 16 columns. For lavapipe, where what is uniform across the
//            lanes is loaded once and memory of a workgroup is slow.
//   tiles    workgroup-tiled: TILE x TILE of C for 256 invocations. For GPUs.
//   slices   one row of A, a slice of k for each workgroup; sums.wgsl adds them up. For GPUs, bound by memory.
// Loops:     rows: k / 4; tiles: 17 k / 16 and 4 (the loads); slices: slice / 4 and 8.
// Padding:   columns of A beyond k and rows of B beyond k (up to a multiple of 4) are zero.
// Parts: activate.wgsl weights.wgsl
// Constants:
//   ROWS: u32 = 16           rows of C per invocation in `rows`: 1, 4 or 16
//   LANES: u32 = 8           invocations per workgroup in `rows`
//   TILE: u32 = 64           64 or 128
//   HAS_BIAS: bool = true    false saves the load
//   FIRST: bool = true       C begins at zero; false: it goes on
//   LAST: bool = true        scale, bias and activation are applied

struct Shape {
  m: u32,
  n: u32,
  k0: u32,      // this dispatch does k0 .. k1 of k, in units of 4
  k1: u32,
  lda: u32,
  ldb: u32,
  ldc: u32,
  row0: u32,    // and the rows from row0
  slice: u32,   // `slices`: units of 4 of k in a slice
  slices: u32,
}

@group(0) @binding(0) var<storage, read> A: array<vec4f>;
@group(0) @binding(1) var<storage, read> B: array<vec4u>;
@group(0) @binding(2) var<storage, read> scale: array<mat4x4f>;
@group(0) @binding(3) var<storage, read> bias: array<mat4x4f>;
@group(0) @binding(4) var<storage, read_write> C: array<mat4x4f>;
@group(0) @binding(5) var<uniform> shape: Shape;

// 16 columns of a row of B; `at` counts units of 16.
fn weight16(at: u32) -> mat4x4f {
  if WEIGHT_BITS == 8u {
    let u = B[at];
    return mat4x4f(bytes(u.x), bytes(u.y), bytes(u.z), bytes(u.w));
  }
  if WEIGHT_BITS == 16u {
    let u = B[2u * at];
    let v = B[2u * at + 1u];
    return mat4x4f(halves(u.xy), halves(u.zw), halves(v.xy), halves(v.zw));
  }
  let b = 4u * at;
  return mat4x4f(bitcast<vec4f>(B[b]), bitcast<vec4f>(B[b + 1u]), bitcast<vec4f>(B[b + 2u]), bitcast<vec4f>(B[b + 3u]));
}

fn times(x: mat4x4f, y: mat4x4f) -> mat4x4f {
  return mat4x4f(x[0] * y[0], x[1] * y[1], x[2] * y[2], x[3] * y[3]);
}

fn finished(sum: mat4x4f, factor: mat4x4f, addend: mat4x4f) -> mat4x4f {
  if !LAST { return sum; }
  var x = sum;
  if WEIGHT_BITS == 8u { x = times(x, factor); }
  if HAS_BIAS { x += addend; }
  return activate16(x, ACTIVATION);
}

// --- rows ---------------------------------------------------------------------------------------------------
// Written out for 16 rows: arrays would be unrolled by the driver at ten times the cost of compiling, and half the speed.

// Rows beyond the last are the last one again: they load, compute and store the same, and need no branch.
fn row_at(row: u32) -> u32 {
  return min(row, shape.m - 1u);
}

fn started(row: u32, column: u32) -> mat4x4f {
  return C[row_at(row) * shape.ldc + column];
}

fn step(sum: mat4x4f, a: vec4f, b0: mat4x4f, b1: mat4x4f, b2: mat4x4f, b3: mat4x4f) -> mat4x4f {
  return sum + a.x * b0 + a.y * b1 + a.z * b2 + a.w * b3;
}

fn store(row: u32, column: u32, sum: mat4x4f, factor: mat4x4f, addend: mat4x4f) {
  C[row_at(row) * shape.ldc + column] = finished(sum, factor, addend);
}

@compute @workgroup_size(LANES)
fn rows(@builtin(global_invocation_id) global: vec3u, @builtin(workgroup_id) group: vec3u) {
  let column = global.x;
  if column >= shape.ldb { return; }
  let row = shape.row0 + group.y * ROWS;
  let a0 = row_at(row + 0u) * shape.lda;
  let a1 = row_at(row + 1u) * shape.lda;
  let a2 = row_at(row + 2u) * shape.lda;
  let a3 = row_at(row + 3u) * shape.lda;
  let a4 = row_at(row + 4u) * shape.lda;
  let a5 = row_at(row + 5u) * shape.lda;
  let a6 = row_at(row + 6u) * shape.lda;
  let a7 = row_at(row + 7u) * shape.lda;
  let a8 = row_at(row + 8u) * shape.lda;
  let a9 = row_at(row + 9u) * shape.lda;
  let a10 = row_at(row + 10u) * shape.lda;
  let a11 = row_at(row + 11u) * shape.lda;
  let a12 = row_at(row + 12u) * shape.lda;
  let a13 = row_at(row + 13u) * shape.lda;
  let a14 = row_at(row + 14u) * shape.lda;
  let a15 = row_at(row + 15u) * shape.lda;
  var s0 = mat4x4f();
  var s1 = mat4x4f();
  var s2 = mat4x4f();
  var s3 = mat4x4f();
  var s4 = mat4x4f();
  var s5 = mat4x4f();
  var s6 = mat4x4f();
  var s7 = mat4x4f();
  var s8 = mat4x4f();
  var s9 = mat4x4f();
  var s10 = mat4x4f();
  var s11 = mat4x4f();
  var s12 = mat4x4f();
  var s13 = mat4x4f();
  var s14 = mat4x4f();
  var s15 = mat4x4f();
  if !FIRST {
    s0 = started(row + 0u, column);
    if ROWS > 1u {
      s1 = started(row + 1u, column);
      s2 = started(row + 2u, column);
      s3 = started(row + 3u, column);
    }
    if ROWS > 4u {
      s4 = started(row + 4u, column);
      s5 = started(row + 5u, column);
      s6 = started(row + 6u, column);
      s7 = started(row + 7u, column);
      s8 = started(row + 8u, column);
      s9 = started(row + 9u, column);
      s10 = started(row + 10u, column);
      s11 = started(row + 11u, column);
      s12 = started(row + 12u, column);
      s13 = started(row + 13u, column);
      s14 = started(row + 14u, column);
      s15 = started(row + 15u, column);
    }
  }
  for (var k = shape.k0; k < shape.k1; k++) {
    let at = 4u * k * shape.ldb + column;
    let b0 = weight16(at);
    let b1 = weight16(at + shape.ldb);
    let b2 = weight16(at + 2u * shape.ldb);
    let b3 = weight16(at + 3u * shape.ldb);
    s0 = step(s0, A[a0 + k], b0, b1, b2, b3);
    if ROWS > 1u {
      s1 = step(s1, A[a1 + k], b0, b1, b2, b3);
      s2 = step(s2, A[a2 + k], b0, b1, b2, b3);
      s3 = step(s3, A[a3 + k], b0, b1, b2, b3);
    }
    if ROWS > 4u {
      s4 = step(s4, A[a4 + k], b0, b1, b2, b3);
      s5 = step(s5, A[a5 + k], b0, b1, b2, b3);
      s6 = step(s6, A[a6 + k], b0, b1, b2, b3);
      s7 = step(s7, A[a7 + k], b0, b1, b2, b3);
      s8 = step(s8, A[a8 + k], b0, b1, b2, b3);
      s9 = step(s9, A[a9 + k], b0, b1, b2, b3);
      s10 = step(s10, A[a10 + k], b0, b1, b2, b3);
      s11 = step(s11, A[a11 + k], b0, b1, b2, b3);
      s12 = step(s12, A[a12 + k], b0, b1, b2, b3);
      s13 = step(s13, A[a13 + k], b0, b1, b2, b3);
      s14 = step(s14, A[a14 + k], b0, b1, b2, b3);
      s15 = step(s15, A[a15 + k], b0, b1, b2, b3);
    }
  }
  var factor = mat4x4f();
  var addend = mat4x4f();
  if LAST && WEIGHT_BITS == 8u { factor = scale[column]; }
  if LAST && HAS_BIAS { addend = bias[column]; }
  store(row + 0u, column, s0, factor, addend);
  if ROWS > 1u {
    store(row + 1u, column, s1, factor, addend);
    store(row + 2u, column, s2, factor, addend);
    store(row + 3u, column, s3, factor, addend);
  }
  if ROWS > 4u {
    store(row + 4u, column, s4, factor, addend);
    store(row + 5u, column, s5, factor, addend);
    store(row + 6u, column, s6, factor, addend);
    store(row + 7u, column, s7, factor, addend);
    store(row + 8u, column, s8, factor, addend);
    store(row + 9u, column, s9, factor, addend);
    store(row + 10u, column, s10, factor, addend);
    store(row + 11u, column, s11, factor, addend);
    store(row + 12u, column, s12, factor, addend);
    store(row + 13u, column, s13, factor, addend);
    store(row + 14u, column, s14, factor, addend);
    store(row + 15u, column, s15, factor, addend);
  }
}

// --- tiles --------------------------------------------------------------------------------------------------
// 16 x 16 invocations; each owns 4 x 4 of C in every 64 x 64 of the tile.

const DEPTH: u32 = 16u;                        // of k in memory of the workgroup
const TILE4: u32 = TILE / 4u;
const THREADS: u32 = 256u;
const QUARTERS: u32 = TILE * DEPTH / 4u / THREADS; // vec4 that an invocation loads of each operand

var<workgroup> tile_a: array<vec4f, DEPTH * TILE4>; // [k][row / 4]
var<workgroup> tile_b: array<vec4f, DEPTH * TILE4>; // [k][column / 4]

// 4 columns of a row of B; `column4` counts vec4, rows from k1 on and columns beyond the last are zero.
fn weight4(k: u32, column4: u32) -> vec4f {
  if k >= 4u * shape.k1 || column4 >= 4u * shape.ldb { return vec4f(); }
  let at = k * 4u * shape.ldb + column4;
  if WEIGHT_BITS == 8u { return bytes(B[at / 4u][at % 4u]); }
  if WEIGHT_BITS == 16u {
    let u = B[at / 2u];
    return halves(select(u.xy, u.zw, at % 2u == 1u));
  }
  return bitcast<vec4f>(B[at]);
}

fn outer(sum: mat4x4f, a: vec4f, b: vec4f) -> mat4x4f {
  return mat4x4f(
    fma(vec4f(a.x), b, sum[0]), fma(vec4f(a.y), b, sum[1]), fma(vec4f(a.z), b, sum[2]), fma(vec4f(a.w), b, sum[3]));
}

fn store4(row: u32, column4: u32, sum: vec4f) {
  if row >= shape.m || column4 >= 4u * shape.ldc { return; }
  let at = row * shape.ldc + column4 / 4u;
  let part = column4 % 4u;
  var x = sum;
  if !FIRST { x += C[at][part]; }
  if LAST {
    if WEIGHT_BITS == 8u { x *= scale[column4 / 4u][part]; }
    if HAS_BIAS { x += bias[column4 / 4u][part]; }
    x = activate4(x, ACTIVATION);
  }
  C[at][part] = x;
}

fn store44(row: u32, column4: u32, sum: mat4x4f) {
  store4(row, column4, sum[0]);
  store4(row + 1u, column4, sum[1]);
  store4(row + 2u, column4, sum[2]);
  store4(row + 3u, column4, sum[3]);
}

@compute @workgroup_size(THREADS)
fn tiles(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
  let row = shape.row0 + group.y * TILE;
  let column4 = group.x * TILE4;
  let x = thread % 16u;
  let y = thread / 16u;
  var c00 = mat4x4f();
  var c01 = mat4x4f();
  var c10 = mat4x4f();
  var c11 = mat4x4f();
  for (var k = shape.k0; k < shape.k1; k += DEPTH / 4u) {
    for (var i = 0u; i < QUARTERS; i++) {
      let load = i * THREADS + thread;
      let r = load / 4u;                       // 4 vec4 of k for each row
      let q = load % 4u;
      var v = vec4f();
      if k + q < shape.k1 { v = A[row_at(row + r) * shape.lda + k + q]; }
      tile_a[(4u * q) * TILE4 + r / 4u][r % 4u] = v.x;
      tile_a[(4u * q + 1u) * TILE4 + r / 4u][r % 4u] = v.y;
      tile_a[(4u * q + 2u) * TILE4 + r / 4u][r % 4u] = v.z;
      tile_a[(4u * q + 3u) * TILE4 + r / 4u][r % 4u] = v.w;
      tile_b[load] = weight4(4u * k + load / TILE4, column4 + load % TILE4);
    }
    workgroupBarrier();
    for (var d = 0u; d < DEPTH; d++) {
      let a = tile_a[d * TILE4 + y];
      let b = tile_b[d * TILE4 + x];
      c00 = outer(c00, a, b);
      if TILE == 128u {
        let a1 = tile_a[d * TILE4 + 16u + y];
        let b1 = tile_b[d * TILE4 + 16u + x];
        c01 = outer(c01, a, b1);
        c10 = outer(c10, a1, b);
        c11 = outer(c11, a1, b1);
      }
    }
    workgroupBarrier();
  }
  store44(row + 4u * y, column4 + x, c00);
  if TILE == 128u {
    store44(row + 4u * y, column4 + 16u + x, c01);
    store44(row + 64u + 4u * y, column4 + x, c10);
    store44(row + 64u + 4u * y, column4 + 16u + x, c11);
  }
}

// --- slices -------------------------------------------------------------------------------------------------
// A workgroup takes 64 units of columns (a unit is one 128-bit load) of one slice of k, four rows of B at a time.

const SLICE_UNITS: u32 = 64u;
const SLICE_ROWS: u32 = 4u;

var<workgroup> partial: array<mat4x4f, SLICE_UNITS * SLICE_ROWS>;

// The sum with x times the unit of B at `at`; what the unit has no room for stays as it is.
fn accumulate(sum: mat4x4f, x: f32, at: u32) -> mat4x4f {
  let u = B[at];
  if WEIGHT_BITS == 8u { return sum + x * mat4x4f(bytes(u.x), bytes(u.y), bytes(u.z), bytes(u.w)); }
  if WEIGHT_BITS == 16u { return mat4x4f(sum[0] + x * halves(u.xy), sum[1] + x * halves(u.zw), sum[2], sum[3]); }
  return mat4x4f(sum[0] + x * bitcast<vec4f>(u), sum[1], sum[2], sum[3]);
}

@compute @workgroup_size(SLICE_UNITS, SLICE_ROWS)
fn slices(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u) {
  let units = UNITS_PER_16 * shape.ldb;        // of a row of B
  let column = group.x * SLICE_UNITS + local.x;
  let begin = shape.k0 + group.y * shape.slice;
  let end = min(begin + shape.slice, shape.k1);
  let a = row_at(shape.row0) * shape.lda;
  var sum = mat4x4f();
  if column < units {
    for (var k = begin + local.y; k < end; k += SLICE_ROWS) {
      let x = A[a + k];
      let at = 4u * k * units + column;
      sum = accumulate(sum, x.x, at);
      sum = accumulate(sum, x.y, at + units);
      sum = accumulate(sum, x.z, at + 2u * units);
      sum = accumulate(sum, x.w, at + 3u * units);
    }
  }
  partial[local.y * SLICE_UNITS + local.x] = sum;
  workgroupBarrier();
  if local.y != 0u || column >= units { return; }
  for (var i = 1u; i < SLICE_ROWS; i++) { sum += partial[i * SLICE_UNITS + local.x]; }
  let vectors = VALUES_PER_UNIT / 4u;          // of a unit
  let target4 = (group.y * units + column) * vectors;
  for (var i = 0u; i < vectors; i++) { C[(target4 + i) / 4u][(target4 + i) % 4u] = sum[i]; }
}
