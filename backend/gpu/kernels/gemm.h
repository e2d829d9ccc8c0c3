// The matrix products: a template of one kernel, for what the including file
// defines.
//
//   GEMM    its name
//   TILE    rows and columns of outputs of a group, 64 or 128
//   PATCH   the inputs are patches of pixels
//   GRAD    the weight is used the other way round, and the inputs are
//           multiplied by the derivative of the activation
//   PIXELS  with GRAD: the outputs are pixels
//
// A group of 256 threads has a tile of outputs, a thread EDGE×EDGE of them;
// DEPTH inputs are in LOCAL memory at a time. Every output is a sum of sums of
// 256 products, all in the order of the inner dimension, so that its bits
// depend neither on the batch nor on the size of the tile, and its error grows
// as slowly as a short sum's.
#define EDGE (TILE / 16)
#define DEPTH 16
#define PITCH (TILE + 4)
#define LOADS (TILE * DEPTH / 256)
KERNEL(GEMM, 256)(GLOBAL float *y, GLOBAL const float *x, GLOBAL const float *residual, GLOBAL float *pre,
                  GLOBAL const float *w, GLOBAL const float *bias, gemm_params p) {
  LOCAL_ARRAY(float, as, DEPTH * PITCH);
  LOCAL_ARRAY(float, bs, DEPTH * PITCH);
  int t = THREAD, m0 = GROUP(0) * TILE, n0 = GROUP(1) * TILE;
  int tx = t % 16, ty = t / 16;
  float acc[EDGE][EDGE], sum[EDGE][EDGE];
  UNROLL for (int i = 0; i < EDGE; i++)
    UNROLL for (int j = 0; j < EDGE; j++) acc[i][j] = sum[i][j] = 0;
  i64 from[LOADS]; // where the rows are that this thread loads: ty, ty + 16, …
#ifdef GRAD
  i64 kept[LOADS];
#endif
  UNROLL for (int i = 0; i < LOADS; i++) {
    int r = m0 + ty + 16 * i, b = r / p.n, n = r % p.n;
#ifdef PATCH
    from[i] = row_of(p.x, b, n / p.cols * p.ph) + (i64)(n % p.cols) * p.pw;
#else
    from[i] = row_of(p.x, b, n);
#endif
#ifdef GRAD
    kept[i] = row_of(p.pre, b, n);
#endif
  }
  for (int k0 = 0; k0 < p.k; k0 += DEPTH) {
    int k = k0 + tx;
#ifdef PATCH
    i64 pixel = (i64)(k / (p.ph * p.pw) * p.height + k / p.pw % p.ph) * p.x.row + k % p.pw;
#endif
    UNROLL for (int i = 0; i < LOADS; i++) {
      float v = 0;
      if (m0 + ty + 16 * i < p.rows && k < p.k) {
#ifdef PATCH
        v = x[from[i] + pixel];
#elif defined(GRAD)
        if (p.act == SWIGLU) { // weight rows of gate and value lie side by side
          float gate = pre[kept[i] + k / 2];
          v = x[from[i] + k / 2];
          v *= k % 2 ? swiglu_value(gate) : swiglu_gate(gate, pre[kept[i] + p.k / 2 + k / 2]);
        } else {
          v = x[from[i] + k];
          if (p.act) v *= slope(p.act, pre[kept[i] + k]);
        }
#else
        v = x[from[i] + k];
#endif
      }
      as[tx * PITCH + ty + 16 * i] = v;
    }
    UNROLL for (int i = 0; i < LOADS; i++) {
#ifdef GRAD
      int e = t + 256 * i, row = e / TILE, o = e % TILE;
      bs[row * PITCH + o] = k0 + row < p.k && n0 + o < p.out ? w[(i64)(k0 + row) * p.out + n0 + o] : 0;
#else
      int o = ty + 16 * i;
      bs[tx * PITCH + o] = k < p.k && n0 + o < p.out ? w[(i64)(n0 + o) * p.k + k] : 0;
#endif
    }
    BARRIER();
    UNROLL_4 for (int d = 0; d < DEPTH; d++) {
      float a[EDGE], b[EDGE];
      UNROLL for (int i = 0; i < EDGE; i++) a[i] = as[d * PITCH + ty * EDGE + i];
      UNROLL for (int j = 0; j < EDGE; j++) b[j] = bs[d * PITCH + tx * EDGE + j];
      UNROLL for (int i = 0; i < EDGE; i++)
        UNROLL for (int j = 0; j < EDGE; j++) acc[i][j] = FMA(a[i], b[j], acc[i][j]);
    }
    BARRIER();
    if ((k0 + DEPTH) % 256 == 0 || k0 + DEPTH >= p.k)
      UNROLL for (int i = 0; i < EDGE; i++)
        UNROLL for (int j = 0; j < EDGE; j++) sum[i][j] += acc[i][j], acc[i][j] = 0;
  }
  // Sixteen rows at a time go through LOCAL memory, so that neighbours write
  // side by side and the activation's code is there once a row.
  UNROLL for (int i = 0; i < EDGE; i++) {
    UNROLL for (int j = 0; j < EDGE; j++) as[ty * TILE + tx * EDGE + j] = sum[i][j];
    BARRIER();
    ROLLED for (int e = t; e < 16 * TILE; e += 256) {
      int r = m0 + e / TILE * EDGE + i, o = n0 + e % TILE, b = r / p.n, n = r % p.n;
      if (r >= p.rows || o >= p.out) continue;
      float v = as[e];
#ifdef PIXELS
      y[row_of(p.y, b, o / (p.ph * p.pw) * p.height + n / p.cols * p.ph + o / p.pw % p.ph) + n % p.cols * p.pw + o % p.pw] = v;
#elif defined(GRAD)
      if (residual) v += residual[row_of(p.residual, b, n) + o];
      y[row_of(p.y, b, n) + o] = v;
#else
      if (bias) v += bias[o];
      if (p.act == SWIGLU) {
        if (o % 2) continue;
        float value = as[e + 1];
        if (bias) value += bias[o + 1];
        o /= 2;
        if (pre) pre[row_of(p.pre, b, n) + o] = v, pre[row_of(p.pre, b, n) + p.out / 2 + o] = value;
        v = swiglu(v, value);
      } else {
        if (pre) pre[row_of(p.pre, b, n) + o] = v;
        v = activate(p.act, v);
      }
      if (residual) v += residual[row_of(p.residual, b, n) + o];
      y[row_of(p.y, b, n) + o] = v;
#endif
    }
    BARRIER();
  }
}
#undef EDGE
#undef DEPTH
#undef PITCH
#undef LOADS
#undef GEMM
#undef TILE
