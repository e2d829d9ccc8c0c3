// Norms and what moves or adds whole rows.

// row_sum is the sum over the 32 threads of a row; all 32 get it. The order of
// the additions is a butterfly in every dialect, so that the bits agree.
FUNC float row_sum(float v, LOCAL float *s) {
#ifdef HAS_WARP
  UNROLL for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
#else
  int t = THREAD;
  UNROLL for (int d = 16; d > 0; d /= 2) {
    s[t] = v;
    BARRIER();
    v += s[t ^ d];
    BARRIER();
  }
#endif
  return v;
}

typedef struct {
  view y, x, residual, dy;
  i64 weight, bias;
  int n, c, heads, rows, rms; // rows: of all images and heads; c: of one head
  float eps;
} norm_params;

// STATISTICS are the mean of a row, in two numbers, and 1/√(variance + eps):
// mean is an estimate, rest what is left about it, which one number could not
// hold where the mean is large.
#define STATISTICS                                           \
  float mean = 0, rest = 0, var = 0;                         \
  if (!p.rms) {                                              \
    ROLLED for (int k = lane; k < p.c; k += 32) mean += x[from + k]; \
    mean = row_sum(mean, s) / p.c;                           \
  }                                                          \
  ROLLED for (int k = lane; k < p.c; k += 32) {                     \
    float d = x[from + k] - mean;                            \
    var = FMA(d, d, var);                                    \
    rest += d;                                               \
  }                                                          \
  rest = p.rms ? 0 : row_sum(rest, s) / p.c;                 \
  var = row_sum(var, s) / p.c - rest * rest;                 \
  float scale = 1.0f / SQRT(var + p.eps);

// layernorm: 8 rows a group, 32 threads a row.
KERNEL(layernorm, 256)(GLOBAL float *y, GLOBAL const float *x, GLOBAL const float *w, GLOBAL const float *bias,
                       GLOBAL const float *residual, norm_params p) {
  LOCAL_ARRAY(float, s, 256);
  int lane = THREAD % 32, r = GROUP(0) * 8 + THREAD / 32, live = r < p.rows;
  if (!live) r = 0; // all threads come to the barriers
  int h = r % p.heads, n = r / p.heads % p.n, b = r / p.heads / p.n;
  i64 from = row_of(p.x, b, n) + h * p.c, to = row_of(p.y, b, n) + h * p.c, res = row_of(p.residual, b, n) + h * p.c;
  STATISTICS
  if (live)
    ROLLED for (int k = lane; k < p.c; k += 32) {
      float v = (x[from + k] - mean - rest) * scale * w[p.weight + k];
      if (bias) v += bias[p.bias + k];
      if (residual) v += residual[res + k];
      y[to + k] = v;
    }
}

// layernorm_grad: with g = dy ∘ weight and x̂ the normed row,
// dx = (g - mean(g) - x̂·mean(g ∘ x̂))·scale + residual, without mean(g) where x̂
// does not depend on a mean.
KERNEL(layernorm_grad, 256)(GLOBAL float *dx, GLOBAL const float *x, GLOBAL const float *w, GLOBAL const float *dy,
                            GLOBAL const float *residual, norm_params p) {
  LOCAL_ARRAY(float, s, 256);
  int lane = THREAD % 32, r = GROUP(0) * 8 + THREAD / 32, live = r < p.rows;
  if (!live) r = 0;
  int h = r % p.heads, n = r / p.heads % p.n, b = r / p.heads / p.n;
  i64 from = row_of(p.x, b, n) + h * p.c, to = row_of(p.y, b, n) + h * p.c, res = row_of(p.residual, b, n) + h * p.c;
  i64 in = row_of(p.dy, b, n) + h * p.c;
  STATISTICS
  float g = 0, gx = 0;
  ROLLED for (int k = lane; k < p.c; k += 32) {
    float v = dy[in + k] * w[p.weight + k];
    g += v;
    gx = FMA(v, (x[from + k] - mean - rest) * scale, gx);
  }
  g = row_sum(g, s) / p.c;
  gx = row_sum(gx, s) / p.c;
  if (p.rms) g = 0;
  if (live)
    ROLLED for (int k = lane; k < p.c; k += 32) {
      float v = (dy[in + k] * w[p.weight + k] - g - (x[from + k] - mean - rest) * scale * gx) * scale;
      if (residual) v += residual[res + k];
      dx[to + k] = v;
    }
}

// What moves rows runs one thread an output; a group goes on where the grid
// ends.
#define EACH_OUTPUT(e, all) ROLLED for (i64 e = (i64)GROUP(0) * 256 + THREAD; e < (all); e += (i64)GROUPS * 256)

typedef struct {
  view y, x;
  i64 all, list; // outputs; where the list is
  int n, c, rows, each, spans; // y's rows of an image and columns; of the list; an image has its own
} rows_params;

// copy_rows: y[b, i] = x[b, list[i]], or x[b, i] without a list, or zero.
KERNEL(copy_rows, 256)(GLOBAL float *y, GLOBAL const float *x, GLOBAL const int *list, rows_params p) {
  EACH_OUTPUT(e, p.all) {
    int k = (int)(e % p.c), i = (int)(e / p.c % p.n), b = (int)(e / p.c / p.n);
    int from = list ? list[p.list + (p.each ? b * p.n : 0) + i] : i;
    y[row_of(p.y, b, i) + k] = x ? x[row_of(p.x, b, from) + k] : 0;
  }
}

// gather_grad: a token gets the sum of what it became.
KERNEL(gather_grad, 256)(GLOBAL float *y, GLOBAL const float *x, GLOBAL const int *list, rows_params p) {
  EACH_OUTPUT(e, p.all) {
    int k = (int)(e % p.c), i = (int)(e / p.c % p.n), b = (int)(e / p.c / p.n);
    float sum = 0;
    ROLLED for (int j = 0; j < p.rows; j++)
      if (list[p.list + (p.each ? b * p.rows : 0) + j] == i) sum += x[row_of(p.x, b, j) + k];
    y[row_of(p.y, b, i) + k] = sum;
  }
}

// pool: means of spans of tokens side by side; the list is of their ends.
KERNEL(pool, 256)(GLOBAL float *y, GLOBAL const float *x, GLOBAL const int *list, rows_params p) {
  EACH_OUTPUT(e, p.all) {
    int k = (int)(e % p.c), span = (int)(e / p.c % p.spans), b = (int)(e / p.c / p.spans);
    int lo = list[p.list + 2 * span], hi = list[p.list + 2 * span + 1];
    float sum = 0;
    ROLLED for (int i = lo; i < hi; i++) sum += x[row_of(p.x, b, i) + k];
    y[row_of(p.y, b, 0) + span * p.c + k] = sum / (hi - lo);
  }
}

KERNEL(pool_grad, 256)(GLOBAL float *y, GLOBAL const float *x, GLOBAL const int *list, rows_params p) {
  EACH_OUTPUT(e, p.all) {
    int k = (int)(e % p.c), i = (int)(e / p.c % p.n), b = (int)(e / p.c / p.n);
    float sum = 0;
    ROLLED for (int span = 0; span < p.spans; span++) {
      int lo = list[p.list + 2 * span], hi = list[p.list + 2 * span + 1];
      if (i >= lo && i < hi) sum += x[row_of(p.x, b, 0) + span * p.c + k] / (hi - lo);
    }
    y[row_of(p.y, b, i) + k] = sum;
  }
}

typedef struct {
  head_view y;
  i64 table, row, all, list;
  int heads, r, n, h, w, prefix, tokens, pad; // tokens: how many there are; 0: without a list
} relative_params;

// relative_bias: see backend.Relative.
KERNEL(relative_bias, 256)(GLOBAL float *y, GLOBAL const float *table, GLOBAL const int *list, relative_params p) {
  EACH_OUTPUT(e, p.all) {
    int j = (int)(e % p.n), i = (int)(e / p.n % p.r), h = (int)(e / p.n / p.r % p.heads), b = (int)(e / p.n / p.r / p.heads);
    int from = (list ? list[p.list + b * p.n + i] : i) - p.prefix, to = (list ? list[p.list + b * p.n + j] : j) - p.prefix;
    int all = (2 * p.h - 1) * (2 * p.w - 1), at;
    if (from < 0 && to < 0) at = all + 2;
    else if (to < 0) at = all + 1;
    else if (from < 0) at = all;
    else at = (from / p.w - to / p.w + p.h - 1) * (2 * p.w - 1) + from % p.w - to % p.w + p.w - 1;
    y[head_of(p.y, b, h) + i * p.y.row + j] = table[p.table + at * p.row + h];
  }
}

typedef struct { int turns, pad; } peak_params;

// peak multiplies and adds in registers and does nothing else.
KERNEL(peak, 256)(GLOBAL float *y, peak_params p) {
  float acc[8], by = 1.0f / (THREAD + 2);
  UNROLL for (int i = 0; i < 8; i++) acc[i] = i;
  for (int turn = 0; turn < p.turns; turn++)
    UNROLL for (int i = 0; i < 8; i++) acc[i] = FMA(acc[i], by, 0.5f);
  float sum = 0;
  UNROLL for (int i = 0; i < 8; i++) sum += acc[i];
  y[THREAD] = sum;
}

typedef struct { int n, pad; } words_params;

// words: what each word of the dialect gives for n triples (a, b, c), a row of
// y for each, so that a device can be held to what the words mean.
KERNEL(words, 256)(GLOBAL float *y, GLOBAL const float *x, words_params p) {
  LOCAL_ARRAY(float, s, 256);
  int t = THREAD, i = GROUP(0) * 256 + t, at = i < p.n ? i : 0;
  float a = x[at], b = x[p.n + at], c = x[2 * p.n + at];
  float sum = row_sum(a, s); // of the 32 threads
  BARRIER();
  s[t] = a;
  BARRIER();
  float other = s[255 - t]; // over a barrier, from another warp
  if (i >= p.n) return;
  int n = p.n;
  y[i] = FMA(a, b, c);
  y[n + i] = a * b + c; // rounded twice
  y[2 * n + i] = SQRT(a < 0 ? -a : a);
  y[3 * n + i] = MAXF(a, b);
  y[4 * n + i] = a / b;
  y[5 * n + i] = AS_FLOAT(AS_INT(a) ^ AS_INT(b));
  y[6 * n + i] = (float)(int)a;
  y[7 * n + i] = sum;
  y[8 * n + i] = other;
  y[9 * n + i] = expn(a < 0 ? a : -a);
  y[10 * n + i] = (float)(i + GROUPS);
}
