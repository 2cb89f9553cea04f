// ceiling.wgsl -- what a device does at most: multiply-adds in registers
// Binds (group 0):
//   0  out     storage, read_write  f32 [invocations]: keeps the work from being left out
//   1  shape   uniform
// Entries:
//   main     64 chains of 8 multiply-adds for each invocation: 1024 operations in a round
// Loops:     rounds

struct Shape {
  rounds: u32,
  factor: f32,
}

@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<uniform> shape: Shape;

// Several steps for one turn of the loop, because a turn costs lavapipe a selection for each value.
fn chain(v: vec4f, x: vec4f) -> vec4f {
  return fma(fma(fma(fma(fma(fma(fma(fma(v, x, x), x, x), x, x), x, x), x, x), x, x), x, x), x, x);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let x = shape.factor * vec4f(1.0, 0.5, 0.25, 0.125) + 0.000001 * f32(at.x);
  var a = mat4x4f(x, x + 1.0, x + 2.0, x + 3.0);
  var b = mat4x4f(x + 4.0, x + 5.0, x + 6.0, x + 7.0);
  var c = mat4x4f(x + 8.0, x + 9.0, x + 10.0, x + 11.0);
  var d = mat4x4f(x + 12.0, x + 13.0, x + 14.0, x + 15.0);
  for (var i = 0u; i < shape.rounds; i++) {
    a = mat4x4f(chain(a[0], x), chain(a[1], x), chain(a[2], x), chain(a[3], x));
    b = mat4x4f(chain(b[0], x), chain(b[1], x), chain(b[2], x), chain(b[3], x));
    c = mat4x4f(chain(c[0], x), chain(c[1], x), chain(c[2], x), chain(c[3], x));
    d = mat4x4f(chain(d[0], x), chain(d[1], x), chain(d[2], x), chain(d[3], x));
  }
  let sum = a + b + c + d;
  out[at.x] = dot(sum[0] + sum[1], sum[2] + sum[3]);
}
