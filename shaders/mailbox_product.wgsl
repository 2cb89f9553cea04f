// The product of two matrices of f32, row by row, that GPU_EXECUTE offers by name (toolchain.mailbox.registry).
//
// Bindings, group 0:
//   0  shape    read        rows, columns, inner, 0
//   1  first    read        rows x inner
//   2  second   read        inner x columns
//   3  product  read_write  rows x columns
// Invariants: an invocation writes one element and loops `inner` times, which the host bounds.

@group(0) @binding(0) var<storage, read> shape: array<u32, 4>;
@group(0) @binding(1) var<storage, read> first: array<f32>;
@group(0) @binding(2) var<storage, read> second: array<f32>;
@group(0) @binding(3) var<storage, read_write> product: array<f32>;

@compute @workgroup_size(8, 8)
fn matrix_product(@builtin(global_invocation_id) at: vec3<u32>) {
    let rows = shape[0];
    let columns = shape[1];
    let inner = shape[2];
    if at.x >= columns || at.y >= rows {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < inner; k += 1u) {
        sum += first[at.y * inner + k] * second[k * columns + at.x];
    }
    product[at.y * columns + at.x] = sum;
}
