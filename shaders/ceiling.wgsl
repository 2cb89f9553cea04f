// ceiling.wgsl -- what a device does at most: multiply-adds in registers
// Binds (group 0):
//   0  out     storage, read_write  f32 [invocations]: keeps the work from being left out
//   1  shape   uniform
// Entries:
//   main     64 chains of multiply-adds for each invocation, 128 operations in a round
// Loops:     rounds

struct Shape {
  rounds: u32,
  factor: f32,
}

@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<uniform> shape: Shape;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let x = shape.factor * vec4f(1.0, 0.5, 0.25, 0.125) + 0.000001 * f32(at.x);
  var a = mat4x4f(x, x + 1.0, x + 2.0, x + 3.0);
  var b = mat4x4f(x + 4.0, x + 5.0, x + 6.0, x + 7.0);
  var c = mat4x4f(x + 8.0, x + 9.0, x + 10.0, x + 11.0);
  var d = mat4x4f(x + 12.0, x + 13.0, x + 14.0, x + 15.0);
  for (var i = 0u; i < shape.rounds; i++) {
    a = mat4x4f(fma(a[0], x, x), fma(a[1], x, x), fma(a[2], x, x), fma(a[3], x, x));
    b = mat4x4f(fma(b[0], x, x), fma(b[1], x, x), fma(b[2], x, x), fma(b[3], x, x));
    c = mat4x4f(fma(c[0], x, x), fma(c[1], x, x), fma(c[2], x, x), fma(c[3], x, x));
    d = mat4x4f(fma(d[0], x, x), fma(d[1], x, x), fma(d[2], x, x), fma(d[3], x, x));
  }
  let sum = a + b + c + d;
  out[at.x] = dot(sum[0] + sum[1], sum[2] + sum[3]);
}
