// activate.wgsl -- the activation functions, as a part of other shaders
// Binds:     nothing
// Constants:
//   ACTIVATION: u32 = 0      0 none, 1 ReLU, 2 GELU (erf), 3 GELU (tanh), 4 SiLU
//
// Every one of them maps 0 to 0, which keeps the padding of a row zero.

const SQRT_HALF = 0.70710678118654752440;     // 1 / sqrt(2)
const SQRT_2_OVER_PI = 0.79788456080286535588;
const GELU_CUBIC = 0.044715;                   // Hendrycks and Gimpel, Gaussian Error Linear Units (2016), section 2
const EXP_ARGUMENT_MAX = 87.0;                 // exp(88.8) is no f32

fn logistic(x: vec4f) -> vec4f {
  return 1.0 / (1.0 + exp(clamp(-x, vec4f(-EXP_ARGUMENT_MAX), vec4f(EXP_ARGUMENT_MAX))));
}

// tanh by exp, because drivers differ in what the built-in does with large arguments.
fn tanh_bounded(x: vec4f) -> vec4f {
  return 1.0 - 2.0 / (1.0 + exp(clamp(2.0 * x, vec4f(-EXP_ARGUMENT_MAX), vec4f(EXP_ARGUMENT_MAX))));
}

// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: |error| < 1.5e-7.
fn erf(x: vec4f) -> vec4f {
  let a = abs(x);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return sign(x) * (1.0 - p * exp(-min(a * a, vec4f(EXP_ARGUMENT_MAX))));
}

fn activate4(x: vec4f, kind: u32) -> vec4f {
  switch kind {
    case 1u: { return max(x, vec4f()); }
    case 2u: { return 0.5 * x * (1.0 + erf(x * SQRT_HALF)); }
    case 3u: { return 0.5 * x * (1.0 + tanh_bounded(SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x))); }
    case 4u: { return select(x * logistic(x), vec4f(), x < vec4f(-EXP_ARGUMENT_MAX)); }
    default: { return x; }
  }
}

fn activate16(x: mat4x4f, kind: u32) -> mat4x4f {
  if kind == 0u { return x; }
  return mat4x4f(activate4(x[0], kind), activate4(x[1], kind), activate4(x[2], kind), activate4(x[3], kind));
}
