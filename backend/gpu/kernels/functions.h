// Functions of one number. They are our own in every dialect, so that no
// vendor's mathematics decides what a model answers.

// expn is eˣ for x ≤ 0, and zero where it would be below the least normal
// number: x = n·ln 2 + f with |f| ≤ ln 2/2, eˣ = 2ⁿ·eᶠ. The first term of the
// Taylor series that is left out is below 6e-9.
FUNC float expn(float x) {
  if (x < -87.33655f) return 0;
  int n = (int)(x * 1.44269504f - 0.5f);
  float f = FMA((float)n, -0.693147182f, x);
  f = FMA((float)n, 1.90465430e-9f, f);
  float p = 1.0f / 5040;
  p = FMA(p, f, 1.0f / 720);
  p = FMA(p, f, 1.0f / 120);
  p = FMA(p, f, 1.0f / 24);
  p = FMA(p, f, 1.0f / 6);
  p = FMA(p, f, 0.5f);
  p = FMA(p, f, 1.0f);
  p = FMA(p, f, 1.0f);
  return p * AS_FLOAT((n + 127) << 23);
}

// sigmoid is 1/(1 + e⁻ᶻ) without an exponential that overflows.
FUNC float sigmoid(float z) {
  float e = expn(z < 0 ? z : -z);
  return (z < 0 ? e : 1.0f) / (1.0f + e);
}

// erfc_part is 1 - erf(a/√2) for a ≥ 0, without its factor e^(-a²/2):
// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26, to 1.5e-7.
FUNC float erfc_part(float a) {
  float t = 1.0f / FMA(0.3275911f * 0.70710678f, a, 1.0f);
  float p = 1.061405429f;
  p = FMA(p, t, -1.453152027f);
  p = FMA(p, t, 1.421413741f);
  p = FMA(p, t, -0.284496736f);
  p = FMA(p, t, 0.254829592f);
  return p * t;
}

// Activations, by the numbers of backend.Activation.
enum { IDENTITY, GELU, GELU_TANH, QUICK_GELU, SWIGLU };

// far is where GELU has long met its asymptotes; |x| is held to it so that no
// infinity meets a zero.
#define FAR 64.0f

FUNC float activate(int act, float x) {
  if (act == IDENTITY) return x;
  if (act == GELU) { // max(x, 0) - |x|/2·(1 - erf(|x|/√2))
    float a = x < 0 ? -x : x;
    if (a > FAR) a = FAR;
    return (x < 0 ? 0.0f : x) - 0.5f * a * erfc_part(a) * expn(-0.5f * a * a);
  }
  if (act == GELU_TANH) return x * sigmoid(x * FMA(0.0713548163f, x * x, 1.59576912f)); // 0.5(1 + tanh u) = σ(2u)
  return x * sigmoid(1.702f * x);
}

// slope is the derivative of activate.
FUNC float slope(int act, float x) {
  if (act == IDENTITY) return 1;
  if (act == GELU) { // Φ(x) + x·φ(x)
    float a = x < 0 ? -x : x;
    if (a > FAR) a = FAR;
    float e = expn(-0.5f * a * a), tail = 0.5f * erfc_part(a) * e;
    return FMA(x < 0 ? -a : a, 0.398942280f * e, x < 0 ? tail : 1.0f - tail);
  }
  float z, dz;
  if (act == GELU_TANH) {
    z = x * FMA(0.0713548163f, x * x, 1.59576912f);
    dz = FMA(3 * 0.0713548163f, x * x, 1.59576912f);
  } else {
    z = 1.702f * x, dz = 1.702f;
  }
  float s = sigmoid(z), rest = sigmoid(-z);
  if (s == 0 || rest == 0) return s; // x·dz may be an infinity
  return s * FMA(x * dz, rest, 1.0f);
}

FUNC float swiglu(float gate, float value) { return gate * sigmoid(gate) * value; }

// swiglu_gate and swiglu_value are its derivatives.
FUNC float swiglu_gate(float gate, float value) { return value * sigmoid(gate) * FMA(gate, sigmoid(-gate), 1.0f); }
FUNC float swiglu_value(float gate) { return gate * sigmoid(gate); }
