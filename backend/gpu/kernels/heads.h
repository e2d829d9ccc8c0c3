// What all kernels of attention share. A tile is 32 queries and 32 keys of one
// head and image; a group of 256 threads has a tile of products, a thread
// those of rows ty and ty + 16 and columns tx and tx + 16. WIDE values of a
// head are in LOCAL memory at a time: heads that are wider go through in
// pieces, and then each piece of the output has a group of its own.
typedef struct {
  head_view q, k, v, o, bias, cos, sin; // o: in a gradient what comes in
  head_view dq, dk, dv, probs, relevance;
  i64 list, stats; // offsets
  int heads, d, rows, n; // rows: of q
  int kept, causal, prefix, interleaved;
  float scale, pad;
} heads_params;

typedef struct {
  head_view y, cos, sin;
  i64 all;
  int heads, d, n, prefix, interleaved, pad;
} turn_params;

// partner is where the other half of a rotated pair is, with the sign of its
// sine.
FUNC int partner(int j, int d, int interleaved, float *sign) {
  int first = interleaved ? j % 2 == 0 : j < d / 2, far = interleaved ? 1 : d / 2;
  *sign = first ? -1.0f : 1.0f;
  return first ? j + far : j - far;
}

// logit is an entry of the softmax before its exponential: -Inf outside.
FUNC float logit(float s, GLOBAL const float *bias, heads_params *p, i64 at, int r, int j) {
  if (r >= p->rows || j >= p->n || (p->causal && j > r)) return -INF;
  s *= p->scale;
  if (bias) s += bias[at + r * p->bias.row + j];
  return s;
}

// share is e^(s - most), and zero where s is hidden; most may be hidden, too.
FUNC float share(float s, float most) { return s == -INF ? 0.0f : expn(s - most); }

// turn_grad gives the gradient of what was rotated back to what it was of, in
// place: a thread a pair.
KERNEL(turn_grad, 256)(GLOBAL float *y, GLOBAL const float *cosines, GLOBAL const float *sines, turn_params p) {
  int pairs = p.d / 2, far = p.interleaved ? 1 : pairs;
  EACH_OUTPUT(e, p.all) {
    int pair = (int)(e % pairs), i = (int)(e / pairs % p.n), h = (int)(e / pairs / p.n % p.heads), b = (int)(e / pairs / p.n / p.heads);
    if (i < p.prefix) continue;
    int first = p.interleaved ? 2 * pair : pair, second = first + far;
    i64 at = head_of(p.y, b, h) + i * p.y.row, c = head_of(p.cos, b, h) + (i - p.prefix) * p.cos.row;
    i64 s = head_of(p.sin, b, h) + (i - p.prefix) * p.sin.row;
    float u = y[at + first], v = y[at + second];
    y[at + first] = FMA(u, cosines[c + first], v * sines[s + second]);
    y[at + second] = FMA(v, cosines[c + second], -u * sines[s + first]);
  }
}
