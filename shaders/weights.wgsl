// weights.wgsl -- values that lie packed in 32-bit words, as a part of other shaders
// Binds:     nothing
// Constants:
//   WEIGHT_BITS: u32 = 32      32 f32, 16 f16, 8 int8 (to be multiplied by a scale for each column)
//
// A row is padded to 16 values: WEIGHT_BITS / 8 units of vec4u.

const VALUES_PER_UNIT: u32 = 128u / WEIGHT_BITS;
const UNITS_PER_16: u32 = WEIGHT_BITS / 8u;

fn halves(words: vec2u) -> vec4f {
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn bytes(word: u32) -> vec4f {
  let w = bitcast<i32>(word);
  return vec4f((vec4i(w) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u));
}
