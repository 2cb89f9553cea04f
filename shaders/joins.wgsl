// joins.wgsl -- puts together the parts of each head that `decode` in attention.wgsl leaves
// Binds (group 0):
//   0  parts   storage, read        f32 [heads, parts, units + 1 of 16 values]
//   1  out     storage, read_write  f32 [heads, size]
//   2  shape   uniform
// Entries:
//   main     a vec4 of a head for each invocation
// Loops:     twice the parts

struct Shape {
  heads: u32,
  parts: u32,
  units: u32,    // of 16 values in a head
}

@group(0) @binding(0) var<storage, read> parts: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(2) var<uniform> shape: Shape;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) global: vec3u) {
  let vectors = 4u * shape.units;
  let head = global.x / vectors;
  let vector = global.x % vectors;
  if head >= shape.heads { return; }
  let stride = vectors + 4u;
  let begin = head * shape.parts * stride;
  var m = parts[begin + vectors].x;
  for (var i = 1u; i < shape.parts; i++) { m = max(m, parts[begin + i * stride + vectors].x); }
  var sum = vec4f();
  var l = 0.0;
  for (var i = 0u; i < shape.parts; i++) {
    let at = begin + i * stride;
    let fade = exp(parts[at + vectors].x - m);
    sum += fade * parts[at + vector];
    l += fade * parts[at + vectors].y;
  }
  out[global.x] = sum / l;
}
