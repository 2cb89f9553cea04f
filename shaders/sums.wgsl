// sums.wgsl -- adds up the partial sums of `slices` in matmul.wgsl, in order, and finishes them
// Binds (group 0):
//   0  partial storage, read        f32 [slices, n]
//   1  scale   storage, read        f32 [n], for int8 only
//   2  bias    storage, read        f32 [n]
//   3  C       storage, read_write  f32 [n]: one row
//   4  shape   uniform
// Loops:     slices
// Parts: activate.wgsl
// Constants:
//   HAS_SCALE: bool = false
//   HAS_BIAS: bool = true

struct Shape {
  vectors: u32,   // vec4 in a row
  slices: u32,
  first: u32,     // 1: C begins at zero, 0: it goes on
  last: u32,      // 1: scale, bias and activation are applied
  offset: u32,    // of the row in C, in vec4
}

@group(0) @binding(0) var<storage, read> partial: array<vec4f>;
@group(0) @binding(1) var<storage, read> scale: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> C: array<vec4f>;
@group(0) @binding(4) var<uniform> shape: Shape;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3u) {
  if at.x >= shape.vectors { return; }
  var sum = vec4f();
  if shape.first == 0u { sum = C[shape.offset + at.x]; }
  for (var i = 0u; i < shape.slices; i++) { sum += partial[i * shape.vectors + at.x]; }
  if shape.last == 1u {
    if HAS_SCALE { sum *= scale[at.x]; }
    if HAS_BIAS { sum += bias[at.x]; }
    sum = activate4(sum, ACTIVATION);
  }
  C[shape.offset + at.x] = sum;
}
