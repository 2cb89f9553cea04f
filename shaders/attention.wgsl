// attention.wgsl -- multi-head attention with online softmax: softmax(Q K^T scale + mask) V without the matrix of scores
// Binds (group 0):
//   0  Q       storage, read        f32 [queries, heads, size]
//   1  K       storage, read        f32 or f16 [keys, groups, size]
//   2  V       storage, read        f32 or f16 [keys, groups, size]
//   3  out     storage, read_write  f32 [queries, heads, size]; `decode`: the parts of each head
//   4  shape   uniform
// Entries:
//   rows     register-tiled: ROWS queries of one head for each invocation, keys four at a time. For lavapipe, where what is
//            uniform across the lanes is loaded once.
//   tiles    workgroup-tiled: a query for each of 64 invocations, keys and values in memory of the workgroup. For GPUs.
//   decode   one query: PART keys of one head for each workgroup; joins.wgsl puts the parts together. For both.
// Loops:     rows: keys / 4; tiles: keys / 4 and 9 for every 32 / max(1, UNITS / 4) keys; decode: 300
// Softmax:   m is the greatest score so far, l the sum of exp(score - m), the sums are rescaled when m grows
//            (Milakov and Gimelshein, Online normalizer calculation for softmax, 2018; Dao et al., FlashAttention, 2022).
// Padding:   a head is padded with zeros to units of 16 values; the result is, too.
// Parts: weights.wgsl
// Constants:
//   UNITS: u32 = 4          units of 16 values in a head: 1 to 8
//   ROWS: u32 = 4           queries per invocation in `rows`: 1, 2 or 4
//   LANES: u32 = 8          invocations per workgroup in `rows`
//   CAUSAL: bool = true     a query sees the keys up to its own position

struct Shape {
  queries: u32,
  keys: u32,
  heads: u32,
  groups: u32,    // heads of K and V; heads / groups of Q share one
  start: u32,     // position of the first query among the keys
  query0: u32,    // this dispatch begins with this query
  parts: u32,     // `decode`: of a head
  scale: f32,
}

@group(0) @binding(0) var<storage, read> Q: array<mat4x4f>;
@group(0) @binding(1) var<storage, read> K: array<vec4u>;
@group(0) @binding(2) var<storage, read> V: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> out: array<mat4x4f>;
@group(0) @binding(4) var<uniform> shape: Shape;

const LOWEST = -3.0e38;

fn key16(at: u32) -> mat4x4f {
  if WEIGHT_BITS == 16u {
    let u = K[2u * at];
    let v = K[2u * at + 1u];
    return mat4x4f(halves(u.xy), halves(u.zw), halves(v.xy), halves(v.zw));
  }
  let b = 4u * at;
  return mat4x4f(bitcast<vec4f>(K[b]), bitcast<vec4f>(K[b + 1u]), bitcast<vec4f>(K[b + 2u]), bitcast<vec4f>(K[b + 3u]));
}

fn value16(at: u32) -> mat4x4f {
  if WEIGHT_BITS == 16u {
    let u = V[2u * at];
    let v = V[2u * at + 1u];
    return mat4x4f(halves(u.xy), halves(u.zw), halves(v.xy), halves(v.zw));
  }
  let b = 4u * at;
  return mat4x4f(bitcast<vec4f>(V[b]), bitcast<vec4f>(V[b + 1u]), bitcast<vec4f>(V[b + 2u]), bitcast<vec4f>(V[b + 3u]));
}

// A head of one query, key or value, written out: arrays would be kept in memory.
struct Head { a: mat4x4f, b: mat4x4f, c: mat4x4f, d: mat4x4f, e: mat4x4f, f: mat4x4f, g: mat4x4f, h: mat4x4f }

fn query_head(at: u32) -> Head {
  var q = Head();
  q.a = Q[at];
  if UNITS > 1u { q.b = Q[at + 1u]; }
  if UNITS > 2u { q.c = Q[at + 2u]; }
  if UNITS > 3u { q.d = Q[at + 3u]; }
  if UNITS > 4u { q.e = Q[at + 4u]; }
  if UNITS > 5u { q.f = Q[at + 5u]; }
  if UNITS > 6u { q.g = Q[at + 6u]; }
  if UNITS > 7u { q.h = Q[at + 7u]; }
  return q;
}

fn key_head(at: u32) -> Head {
  var k = Head();
  k.a = key16(at);
  if UNITS > 1u { k.b = key16(at + 1u); }
  if UNITS > 2u { k.c = key16(at + 2u); }
  if UNITS > 3u { k.d = key16(at + 3u); }
  if UNITS > 4u { k.e = key16(at + 4u); }
  if UNITS > 5u { k.f = key16(at + 5u); }
  if UNITS > 6u { k.g = key16(at + 6u); }
  if UNITS > 7u { k.h = key16(at + 7u); }
  return k;
}

fn value_head(at: u32) -> Head {
  var v = Head();
  v.a = value16(at);
  if UNITS > 1u { v.b = value16(at + 1u); }
  if UNITS > 2u { v.c = value16(at + 2u); }
  if UNITS > 3u { v.d = value16(at + 3u); }
  if UNITS > 4u { v.e = value16(at + 4u); }
  if UNITS > 5u { v.f = value16(at + 5u); }
  if UNITS > 6u { v.g = value16(at + 6u); }
  if UNITS > 7u { v.h = value16(at + 7u); }
  return v;
}

fn store_head(at: u32, x: Head) {
  out[at] = x.a;
  if UNITS > 1u { out[at + 1u] = x.b; }
  if UNITS > 2u { out[at + 2u] = x.c; }
  if UNITS > 3u { out[at + 3u] = x.d; }
  if UNITS > 4u { out[at + 4u] = x.e; }
  if UNITS > 5u { out[at + 5u] = x.f; }
  if UNITS > 6u { out[at + 6u] = x.g; }
  if UNITS > 7u { out[at + 7u] = x.h; }
}

fn dot16(x: mat4x4f, y: mat4x4f) -> vec4f {
  return x[0] * y[0] + x[1] * y[1] + x[2] * y[2] + x[3] * y[3];
}

fn score(q: Head, k: Head) -> f32 {
  var s = dot16(q.a, k.a);
  if UNITS > 1u { s += dot16(q.b, k.b); }
  if UNITS > 2u { s += dot16(q.c, k.c); }
  if UNITS > 3u { s += dot16(q.d, k.d); }
  if UNITS > 4u { s += dot16(q.e, k.e); }
  if UNITS > 5u { s += dot16(q.f, k.f); }
  if UNITS > 6u { s += dot16(q.g, k.g); }
  if UNITS > 7u { s += dot16(q.h, k.h); }
  return (s.x + s.y) + (s.z + s.w);
}

fn scaled(x: Head, by: f32) -> Head {
  return Head(x.a * by, x.b * by, x.c * by, x.d * by, x.e * by, x.f * by, x.g * by, x.h * by);
}

// x y + p0 v0 + p1 v1 + p2 v2 + p3 v3, for 16 values
fn mix16(x: mat4x4f, y: f32, p: vec4f, v0: mat4x4f, v1: mat4x4f, v2: mat4x4f, v3: mat4x4f) -> mat4x4f {
  return y * x + p.x * v0 + p.y * v1 + p.z * v2 + p.w * v3;
}

fn mixed(x: Head, y: f32, p: vec4f, v0: Head, v1: Head, v2: Head, v3: Head) -> Head {
  var r = x;
  r.a = mix16(x.a, y, p, v0.a, v1.a, v2.a, v3.a);
  if UNITS > 1u { r.b = mix16(x.b, y, p, v0.b, v1.b, v2.b, v3.b); }
  if UNITS > 2u { r.c = mix16(x.c, y, p, v0.c, v1.c, v2.c, v3.c); }
  if UNITS > 3u { r.d = mix16(x.d, y, p, v0.d, v1.d, v2.d, v3.d); }
  if UNITS > 4u { r.e = mix16(x.e, y, p, v0.e, v1.e, v2.e, v3.e); }
  if UNITS > 5u { r.f = mix16(x.f, y, p, v0.f, v1.f, v2.f, v3.f); }
  if UNITS > 6u { r.g = mix16(x.g, y, p, v0.g, v1.g, v2.g, v3.g); }
  if UNITS > 7u { r.h = mix16(x.h, y, p, v0.h, v1.h, v2.h, v3.h); }
  return r;
}

// --- rows ---------------------------------------------------------------------------------------------------

fn highest(v: vec4f) -> f32 {
  return max(max(v.x, v.y), max(v.z, v.w));
}

// Scores of four keys from `key`; those that the query does not see are LOWEST.
fn seen(s: vec4f, key: u32, last: u32) -> vec4f {
  return select(vec4f(LOWEST), s, vec4u(key) + vec4u(0u, 1u, 2u, 3u) <= vec4u(last));
}

struct Row { sum: Head, m: f32, l: f32 }

fn row_step(row: Row, s: vec4f, v0: Head, v1: Head, v2: Head, v3: Head) -> Row {
  let m = max(row.m, highest(s));
  let fade = exp(row.m - m);
  let p = exp(s - m);
  return Row(mixed(row.sum, fade, p, v0, v1, v2, v3), m, row.l * fade + (p.x + p.y) + (p.z + p.w));
}

fn query_at(query: u32) -> u32 {
  return min(query, shape.queries - 1u);
}

fn last_key(query: u32) -> u32 {
  if CAUSAL { return min(shape.start + query, shape.keys - 1u); }
  return shape.keys - 1u;
}

@compute @workgroup_size(LANES)
fn rows(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let head = group.y;
  let kv = head / (shape.heads / shape.groups) * UNITS;
  let stride = shape.groups * UNITS;
  let block = shape.query0 + group.x * (LANES * ROWS);
  let r0 = query_at(block + lane);
  let r1 = query_at(block + LANES + lane);
  let r2 = query_at(block + 2u * LANES + lane);
  let r3 = query_at(block + 3u * LANES + lane);
  let o0 = (r0 * shape.heads + head) * UNITS;
  let o1 = (r1 * shape.heads + head) * UNITS;
  let o2 = (r2 * shape.heads + head) * UNITS;
  let o3 = (r3 * shape.heads + head) * UNITS;
  var q0 = scaled(query_head(o0), shape.scale);
  var q1 = Head();
  var q2 = Head();
  var q3 = Head();
  if ROWS > 1u { q1 = scaled(query_head(o1), shape.scale); }
  if ROWS > 2u { q2 = scaled(query_head(o2), shape.scale); q3 = scaled(query_head(o3), shape.scale); }
  var x0 = Row(Head(), LOWEST, 0.0);
  var x1 = x0;
  var x2 = x0;
  var x3 = x0;
  let end = last_key(query_at(block + LANES * ROWS - 1u)) + 1u;
  for (var key = 0u; key < end; key += 4u) {
    let at0 = min(key, shape.keys - 1u) * stride + kv;
    let at1 = min(key + 1u, shape.keys - 1u) * stride + kv;
    let at2 = min(key + 2u, shape.keys - 1u) * stride + kv;
    let at3 = min(key + 3u, shape.keys - 1u) * stride + kv;
    let k0 = key_head(at0);
    let k1 = key_head(at1);
    let k2 = key_head(at2);
    let k3 = key_head(at3);
    let s0 = seen(vec4f(score(q0, k0), score(q0, k1), score(q0, k2), score(q0, k3)), key, last_key(r0));
    var s1 = vec4f();
    var s2 = vec4f();
    var s3 = vec4f();
    if ROWS > 1u { s1 = seen(vec4f(score(q1, k0), score(q1, k1), score(q1, k2), score(q1, k3)), key, last_key(r1)); }
    if ROWS > 2u {
      s2 = seen(vec4f(score(q2, k0), score(q2, k1), score(q2, k2), score(q2, k3)), key, last_key(r2));
      s3 = seen(vec4f(score(q3, k0), score(q3, k1), score(q3, k2), score(q3, k3)), key, last_key(r3));
    }
    let v0 = value_head(at0);
    let v1 = value_head(at1);
    let v2 = value_head(at2);
    let v3 = value_head(at3);
    x0 = row_step(x0, s0, v0, v1, v2, v3);
    if ROWS > 1u { x1 = row_step(x1, s1, v0, v1, v2, v3); }
    if ROWS > 2u {
      x2 = row_step(x2, s2, v0, v1, v2, v3);
      x3 = row_step(x3, s3, v0, v1, v2, v3);
    }
  }
  store_head(o0, scaled(x0.sum, 1.0 / x0.l));
  if ROWS > 1u { store_head(o1, scaled(x1.sum, 1.0 / x1.l)); }
  if ROWS > 2u {
    store_head(o2, scaled(x2.sum, 1.0 / x2.l));
    store_head(o3, scaled(x3.sum, 1.0 / x3.l));
  }
}

// --- tiles --------------------------------------------------------------------------------------------------

const QUERIES: u32 = 64u;                            // of a workgroup, one for each invocation
const TILE_KEYS: u32 = 32u / ((UNITS + 3u) / 4u);    // 16 KiB of memory of the workgroup at most
const TILE_UNITS: u32 = TILE_KEYS * UNITS;

var<workgroup> tile_k: array<mat4x4f, TILE_UNITS>;
var<workgroup> tile_v: array<mat4x4f, TILE_UNITS>;

fn tile_score(q: Head, at: u32) -> f32 {
  var s = dot16(q.a, tile_k[at]);
  if UNITS > 1u { s += dot16(q.b, tile_k[at + 1u]); }
  if UNITS > 2u { s += dot16(q.c, tile_k[at + 2u]); }
  if UNITS > 3u { s += dot16(q.d, tile_k[at + 3u]); }
  if UNITS > 4u { s += dot16(q.e, tile_k[at + 4u]); }
  if UNITS > 5u { s += dot16(q.f, tile_k[at + 5u]); }
  if UNITS > 6u { s += dot16(q.g, tile_k[at + 6u]); }
  if UNITS > 7u { s += dot16(q.h, tile_k[at + 7u]); }
  return (s.x + s.y) + (s.z + s.w);
}

fn tile_mix(x: mat4x4f, y: f32, p: vec4f, at: u32) -> mat4x4f {
  return mix16(x, y, p, tile_v[at], tile_v[at + UNITS], tile_v[at + 2u * UNITS], tile_v[at + 3u * UNITS]);
}

fn tile_step(row: Row, s: vec4f, at: u32) -> Row {
  let m = max(row.m, highest(s));
  let y = exp(row.m - m);
  let p = exp(s - m);
  var r = row;
  r.sum.a = tile_mix(r.sum.a, y, p, at);
  if UNITS > 1u { r.sum.b = tile_mix(r.sum.b, y, p, at + 1u); }
  if UNITS > 2u { r.sum.c = tile_mix(r.sum.c, y, p, at + 2u); }
  if UNITS > 3u { r.sum.d = tile_mix(r.sum.d, y, p, at + 3u); }
  if UNITS > 4u { r.sum.e = tile_mix(r.sum.e, y, p, at + 4u); }
  if UNITS > 5u { r.sum.f = tile_mix(r.sum.f, y, p, at + 5u); }
  if UNITS > 6u { r.sum.g = tile_mix(r.sum.g, y, p, at + 6u); }
  if UNITS > 7u { r.sum.h = tile_mix(r.sum.h, y, p, at + 7u); }
  r.m = m;
  r.l = r.l * y + (p.x + p.y) + (p.z + p.w);
  return r;
}

@compute @workgroup_size(QUERIES)
fn tiles(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
  let head = group.y;
  let kv = head / (shape.heads / shape.groups) * UNITS;
  let block = shape.query0 + group.x * QUERIES;
  let query = query_at(block + thread);
  let at = (query * shape.heads + head) * UNITS;
  let q = scaled(query_head(at), shape.scale);
  var row = Row(Head(), LOWEST, 0.0);
  let end = last_key(query_at(block + QUERIES - 1u)) + 1u;
  for (var first = 0u; first < end; first += TILE_KEYS) {
    for (var i = thread; i < TILE_UNITS; i += QUERIES) {
      let source = min(first + i / UNITS, shape.keys - 1u) * (shape.groups * UNITS) + kv + i % UNITS;
      tile_k[i] = key16(source);
      tile_v[i] = value16(source);
    }
    workgroupBarrier();
    for (var j = 0u; j < TILE_KEYS; j += 4u) {
      let t = j * UNITS;
      let s = vec4f(tile_score(q, t), tile_score(q, t + UNITS), tile_score(q, t + 2u * UNITS), tile_score(q, t + 3u * UNITS));
      row = tile_step(row, seen(s, first + j, last_key(query)), t);
    }
    workgroupBarrier();
  }
  store_head(at, scaled(row.sum, 1.0 / row.l));
}

// --- decode -------------------------------------------------------------------------------------------------
// A part is UNITS + 1 units: the sum of exp(score - m) value, and a unit that begins with m and l.

const THREADS: u32 = 64u;
const PART: u32 = 256u;
const VECTORS: u32 = 4u * UNITS;                     // vec4 in a head
const WAYS: u32 = THREADS / VECTORS;                 // invocations that share a vec4 of the sum

var<workgroup> weight: array<f32, PART>;
var<workgroup> reduced: array<f32, THREADS>;
var<workgroup> sums: array<vec4f, THREADS>;

fn value4(at: u32) -> vec4f {
  if WEIGHT_BITS == 16u {
    let u = V[at / 2u];
    return halves(select(u.xy, u.zw, at % 2u == 1u));
  }
  return bitcast<vec4f>(V[at]);
}

@compute @workgroup_size(THREADS)
fn decode(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
  let head = group.y;
  let kv = head / (shape.heads / shape.groups) * UNITS;
  let stride = shape.groups * UNITS;
  let begin = group.x * PART;
  let end = min(begin + PART, shape.keys);
  let q = scaled(query_head(head * UNITS), shape.scale);
  var m = LOWEST;
  for (var key = begin + thread; key < end; key += THREADS) {
    let s = score(q, key_head(key * stride + kv));
    weight[key - begin] = s;
    m = max(m, s);
  }
  reduced[thread] = m;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if thread < half { reduced[thread] = max(reduced[thread], reduced[thread + half]); }
    workgroupBarrier();
  }
  m = reduced[0];
  workgroupBarrier();
  var l = 0.0;
  for (var key = begin + thread; key < end; key += THREADS) {
    let p = exp(weight[key - begin] - m);
    weight[key - begin] = p;
    l += p;
  }
  reduced[thread] = l;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if thread < half { reduced[thread] += reduced[thread + half]; }
    workgroupBarrier();
  }
  let vector = thread % VECTORS;
  var sum = vec4f();
  if thread < WAYS * VECTORS {
    for (var key = begin + thread / VECTORS; key < end; key += WAYS) {
      sum += weight[key - begin] * value4(4u * (key * stride + kv) + vector);
    }
  }
  sums[thread] = sum;
  workgroupBarrier();
  if thread >= VECTORS { return; }
  for (var way = 1u; way < WAYS; way++) { sum += sums[way * VECTORS + thread]; }
  let target16 = (head * shape.parts + group.x) * (UNITS + 1u);
  out[target16 + thread / 4u][thread % 4u] = sum;
  if thread == 0u { out[target16 + UNITS][0] = vec4f(m, reduced[0], 0.0, 0.0); }
}
