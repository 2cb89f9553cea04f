// Vectors of f32 that GPU_EXECUTE offers by name (toolchain.mailbox.registry).
//
// Bindings, group 0:
//   0  first   read        vector_add: a; vector_scale: one element, the factor
//   1  second  read        vector_add: b; vector_scale: a
//   2  out     read_write  a + b, or factor * a: as many elements as it has
// Invariants: an invocation writes one element and does not loop.

@group(0) @binding(0) var<storage, read> first: array<f32>;
@group(0) @binding(1) var<storage, read> second: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn vector_add(@builtin(global_invocation_id) at: vec3<u32>) {
    if at.x < arrayLength(&out) {
        out[at.x] = first[at.x] + second[at.x];
    }
}

@compute @workgroup_size(64)
fn vector_scale(@builtin(global_invocation_id) at: vec3<u32>) {
    if at.x < arrayLength(&out) {
        out[at.x] = first[0] * second[at.x];
    }
}
