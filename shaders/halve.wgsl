// halve.wgsl -- f32 rows as f16, behind the rows that are there: what is put into a cache of keys or values
// Binds (group 0):
//   0  x       storage, read        f32, units of 16 values
//   1  y       storage, read_write  f16, the same units
//   2  shape   uniform
// Entries:
//   main     a unit for each invocation
// Loops:     none

struct Shape {
  units: u32,    // of 16 values in x
  offset: u32,   // of the first in y, in units
  across: u32,   // invocations in a row of the dispatch
}

@group(0) @binding(0) var<storage, read> x: array<mat4x4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4u>;
@group(0) @binding(2) var<uniform> shape: Shape;

fn packed(a: vec4f, b: vec4f) -> vec4u {
  return vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) global: vec3u) {
  let at = global.y * shape.across + global.x;
  if global.x >= shape.across || at >= shape.units { return; }
  let unit = x[at];
  y[2u * (shape.offset + at)] = packed(unit[0], unit[1]);
  y[2u * (shape.offset + at) + 1u] = packed(unit[2], unit[3]);
}
