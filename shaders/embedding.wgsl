// embedding.wgsl -- the rows of a table that ids name
// Binds (group 0):
//   0  ids     storage, read        u32 [count]; an id beyond the table is its last row
//   1  table   storage, read        f32, f16 or int8 [entries, columns], rows of units of 16 values
//   2  scale   storage, read        f32 [columns], for int8 only
//   3  out     storage, read_write  f32 [count, columns]
//   4  shape   uniform
// Entries:
//   main     a unit of 16 values for each invocation
// Loops:     none
// Parts: weights.wgsl

struct Shape {
  units: u32,     // of 16 values in a row
  count: u32,
  entries: u32,
  across: u32,    // invocations in a row of the dispatch
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<vec4u>;
@group(0) @binding(2) var<storage, read> scale: array<mat4x4f>;
@group(0) @binding(3) var<storage, read_write> out: array<mat4x4f>;
@group(0) @binding(4) var<uniform> shape: Shape;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) global: vec3u) {
  let at = global.y * shape.across + global.x;
  if global.x >= shape.across || at >= shape.count * shape.units { return; }
  let unit = at % shape.units;
  let source = min(ids[at / shape.units], shape.entries - 1u) * shape.units + unit;
  if WEIGHT_BITS == 8u {
    let u = table[source];
    let s = scale[unit];
    out[at] = mat4x4f(bytes(u.x) * s[0], bytes(u.y) * s[1], bytes(u.z) * s[2], bytes(u.w) * s[3]);
  } else if WEIGHT_BITS == 16u {
    let u = table[2u * source];
    let v = table[2u * source + 1u];
    out[at] = mat4x4f(halves(u.xy), halves(u.zw), halves(v.xy), halves(v.zw));
  } else {
    let b = 4u * source;
    out[at] = mat4x4f(bitcast<vec4f>(table[b]), bitcast<vec4f>(table[b + 1u]),
                      bitcast<vec4f>(table[b + 2u]), bitcast<vec4f>(table[b + 3u]));
  }
}
