// The kernels of attention for heads of WIDE values, or of pieces of them: a
// template. NAMED(x) is the name of x in it.
#define NAMED(x) JOIN(x##_, WIDE)
#define PITCH (WIDE + 1)
#define PIECES (WIDE / 16)

// load brings rows of one head, from the value `at` of each on.
FUNC void NAMED(load)(LOCAL float *s, GLOBAL const float *x, i64 from, i64 row, int first, int rows, int at, int d) {
  UNROLL_4 for (int e = THREAD; e < 32 * WIDE; e += 256) {
    int i = e / WIDE, j = e % WIDE;
    s[i * PITCH + j] = first + i < rows && at + j < d ? x[from + (first + i) * row + at + j] : 0;
  }
}

// load_turned does it for queries and keys, which may have rotary positions
// and come by a list.
FUNC void NAMED(load_turned)(LOCAL float *s, GLOBAL const float *x, head_view v, GLOBAL const int *list, int first, int rows, int at,
                             GLOBAL const float *cosines, GLOBAL const float *sines, heads_params *p, int b, int h) {
  i64 from = head_of(v, b, h);
  if (!cosines && !list) {
    NAMED(load)(s, x, from, v.row, first, rows, at, p->d);
    return;
  }
  i64 c = head_of(p->cos, b, h), n = head_of(p->sin, b, h);
  ROLLED for (int e = THREAD; e < 32 * WIDE; e += 256) {
    int i = e / WIDE, j = at + e % WIDE;
    float value = 0;
    if (first + i < rows && j < p->d) {
      int r = list ? list[p->list + first + i] : first + i, place = r - p->prefix;
      i64 start = from + r * v.row;
      value = x[start + j];
      if (cosines && place >= 0) {
        float sign;
        int other = partner(j, p->d, p->interleaved, &sign);
        value = FMA(value, cosines[c + place * p->cos.row + j], sign * x[start + other] * sines[n + place * p->sin.row + j]);
      }
    }
    s[i * PITCH + e % WIDE] = value;
  }
}

// products adds a tile of a bᵀ.
FUNC void NAMED(products)(float *s, LOCAL const float *a, LOCAL const float *b) {
  int tx = THREAD % 16, ty = THREAD / 16;
  UNROLL_4 for (int c = 0; c < WIDE; c++) {
    float a0 = a[ty * PITCH + c], a1 = a[(ty + 16) * PITCH + c], b0 = b[tx * PITCH + c], b1 = b[(tx + 16) * PITCH + c];
    s[0] = FMA(a0, b0, s[0]);
    s[1] = FMA(a0, b1, s[1]);
    s[2] = FMA(a1, b0, s[2]);
    s[3] = FMA(a1, b1, s[3]);
  }
}

// LOGITS makes a tile of logits s of 32 queries from q0 and keys from k0 on.
// A head that is one piece has its queries loaded already.
#define LOGITS(list, rows, resident)                                                                        \
  float s[4] = {0, 0, 0, 0};                                                                                \
  ROLLED for (int at = 0; at < p.d; at += WIDE) {                                                                  \
    if (!(resident)) NAMED(load_turned)(qs, q, p.q, list, q0, rows, at, cosines, sines, &p, b, h);          \
    NAMED(load_turned)(ks, k, p.k, 0, k0, p.n, at, cosines, sines, &p, b, h);                               \
    BARRIER();                                                                                              \
    NAMED(products)(s, qs, ks);                                                                             \
    BARRIER();                                                                                              \
  }

// SLOPES makes a tile of ∂L/∂probs, do vᵀ, beside it.
#define SLOPES                                                                                              \
  float g[4] = {0, 0, 0, 0};                                                                                \
  ROLLED for (int at = 0; at < p.d; at += WIDE) {                                                                  \
    NAMED(load)(qs, out, head_of(p.o, b, h), p.o.row, q0, p.rows, at, p.d);                                 \
    NAMED(load)(ks, v, head_of(p.v, b, h), p.v.row, k0, p.n, at, p.d);                                      \
    BARRIER();                                                                                              \
    NAMED(products)(g, qs, ks);                                                                             \
    BARRIER();                                                                                              \
  }

// A thread's i-th product of a tile is in row ROW(i) and column COLUMN(i).
#define ROW(i) (ty + (i) / 2 * 16)
#define COLUMN(i) (tx + (i) % 2 * 16)

// attention: o = softmax(q kᵀ·scale + bias) v, 32 keys at a time. A row's
// maximum and sum are kept in stats for those who want its probabilities.
KERNEL(NAMED(attention), 256)(GLOBAL float *out, GLOBAL const float *q, GLOBAL const float *k, GLOBAL const float *v, GLOBAL const float *bias,
                              GLOBAL const float *cosines, GLOBAL const float *sines, GLOBAL float *stats, heads_params p) {
  LOCAL_ARRAY(float, qs, 32 * PITCH);
  LOCAL_ARRAY(float, ks, 32 * PITCH); // of keys, then of values
  LOCAL_ARRAY(float, ps, 32 * 33);
  LOCAL_ARRAY(float, ms, 32); // a row's maximum so far, its sum, what to scale by
  LOCAL_ARRAY(float, ls, 32);
  LOCAL_ARRAY(float, cs, 32);
  int t = THREAD, tx = t % 16, ty = t / 16, q0 = GROUP(0) * 32, h = GROUP(1) % p.heads, piece = GROUP(1) / p.heads * WIDE, b = GROUP(2);
  i64 bias_at = head_of(p.bias, b, h);
  float acc[2][PIECES];
  UNROLL for (int c = 0; c < PIECES; c++) acc[0][c] = acc[1][c] = 0;
  if (t < 32) ms[t] = -INF, ls[t] = 0;
  ROLLED for (int k0 = 0; k0 < p.n; k0 += 32) {
    LOGITS(0, p.rows, k0 > 0 && p.d <= WIDE)
    UNROLL for (int i = 0; i < 4; i++) ps[ROW(i) * 33 + COLUMN(i)] = logit(s[i], bias, &p, bias_at, q0 + ROW(i), k0 + COLUMN(i));
    NAMED(load)(ks, v, head_of(p.v, b, h), p.v.row, k0, p.n, piece, p.d);
    BARRIER();
    if (t < 32) {
      float m = ms[t];
      UNROLL_4 for (int j = 0; j < 32; j++) m = MAXF(m, ps[t * 33 + j]);
      cs[t] = share(ms[t], m);
      ms[t] = m;
    }
    BARRIER();
    UNROLL for (int i = 0; i < 4; i++) ps[ROW(i) * 33 + COLUMN(i)] = share(ps[ROW(i) * 33 + COLUMN(i)], ms[ROW(i)]);
    BARRIER();
    UNROLL for (int c = 0; c < PIECES; c++) acc[0][c] *= cs[ty], acc[1][c] *= cs[ty + 16];
    UNROLL_4 for (int j = 0; j < 32; j++) {
      float p0 = ps[ty * 33 + j], p1 = ps[(ty + 16) * 33 + j];
      UNROLL for (int c = 0; c < PIECES; c++) {
        float x = ks[j * PITCH + tx + 16 * c];
        acc[0][c] = FMA(p0, x, acc[0][c]);
        acc[1][c] = FMA(p1, x, acc[1][c]);
      }
    }
    if (t < 32) {
      float sum = 0;
      UNROLL_4 for (int j = 0; j < 32; j++) sum += ps[t * 33 + j];
      ls[t] = FMA(ls[t], cs[t], sum);
    }
    BARRIER();
  }
  UNROLL for (int i = 0; i < 2; i++) {
    int r = q0 + ty + 16 * i;
    if (r < p.rows)
      UNROLL for (int c = 0; c < PIECES; c++) {
        int j = piece + tx + 16 * c;
        if (j < p.d) out[head_of(p.o, b, h) + r * p.o.row + j] = acc[i][c] / ls[ty + 16 * i];
      }
  }
  if (stats && piece == 0 && t < 32 && q0 + t < p.rows) {
    i64 at = p.stats + (((i64)b * p.heads + h) * p.rows + q0 + t) * 4;
    stats[at] = ms[t], stats[at + 1] = ls[t];
  }
}

// attention_probs writes rows of the softmax whose maximum and sum are known.
KERNEL(NAMED(attention_probs), 256)(GLOBAL float *probs, GLOBAL const float *q, GLOBAL const float *k, GLOBAL const float *bias,
                                    GLOBAL const float *cosines, GLOBAL const float *sines, GLOBAL const float *stats,
                                    GLOBAL const int *list, heads_params p) {
  LOCAL_ARRAY(float, qs, 32 * PITCH);
  LOCAL_ARRAY(float, ks, 32 * PITCH);
  int tx = THREAD % 16, ty = THREAD / 16, q0 = GROUP(0) * 32, h = GROUP(1), b = GROUP(2);
  i64 bias_at = head_of(p.bias, b, h), to = head_of(p.probs, b, h);
  ROLLED for (int k0 = 0; k0 < p.n; k0 += 32) {
    LOGITS(list, p.kept, k0 > 0 && p.d <= WIDE)
    UNROLL for (int i = 0; i < 4; i++) {
      int at = q0 + ROW(i), j = k0 + COLUMN(i);
      if (at >= p.kept || j >= p.n) continue;
      int r = list ? list[p.list + at] : at;
      i64 stat = p.stats + (((i64)b * p.heads + h) * p.rows + r) * 4;
      probs[to + at * p.probs.row + j] = share(logit(s[i], bias, &p, bias_at, r, j), stats[stat]) / stats[stat + 1];
    }
  }
}

// attention_stats keeps a row's maximum, sum and mean of ∂L/∂probs for the
// gradients.
KERNEL(NAMED(attention_stats), 256)(GLOBAL const float *out, GLOBAL const float *q, GLOBAL const float *k, GLOBAL const float *v,
                                    GLOBAL const float *bias, GLOBAL const float *cosines, GLOBAL const float *sines, GLOBAL float *stats,
                                    heads_params p) {
  LOCAL_ARRAY(float, qs, 32 * PITCH);
  LOCAL_ARRAY(float, ks, 32 * PITCH);
  LOCAL_ARRAY(float, ps, 32 * 33);
  LOCAL_ARRAY(float, gs, 32 * 33);
  int t = THREAD, tx = t % 16, ty = t / 16, q0 = GROUP(0) * 32, h = GROUP(1), b = GROUP(2);
  i64 bias_at = head_of(p.bias, b, h);
  float most = -INF, sum = 0, mean = 0; // of row t
  ROLLED for (int k0 = 0; k0 < p.n; k0 += 32) {
    LOGITS(0, p.rows, 0)
    SLOPES
    UNROLL for (int i = 0; i < 4; i++) {
      ps[ROW(i) * 33 + COLUMN(i)] = logit(s[i], bias, &p, bias_at, q0 + ROW(i), k0 + COLUMN(i));
      gs[ROW(i) * 33 + COLUMN(i)] = g[i];
    }
    BARRIER();
    if (t < 32) {
      float m = most, part = 0, slopes = 0;
      UNROLL_4 for (int j = 0; j < 32; j++) m = MAXF(m, ps[t * 33 + j]);
      ROLLED for (int j = 0; j < 32; j++) {
        float e = share(ps[t * 33 + j], m);
        part += e;
        slopes = FMA(e, gs[t * 33 + j], slopes);
      }
      float c = share(most, m);
      sum = FMA(sum, c, part);
      mean = FMA(mean, c, slopes);
      most = m;
    }
    BARRIER();
  }
  if (t < 32 && q0 + t < p.rows) {
    i64 at = p.stats + (((i64)b * p.heads + h) * p.rows + q0 + t) * 4;
    stats[at] = most, stats[at + 1] = sum, stats[at + 2] = mean / sum;
  }
}

// STAT is what attention_stats has kept of row r.
#define STAT(r, i) stats[p.stats + (((i64)b * p.heads + h) * p.rows + (r)) * 4 + (i)]

// PROBABILITIES turns a tile of s into probabilities and, where it is wanted,
// of g into the gradient of the logits.
#define PROBABILITIES(grads)                                                                         \
  UNROLL for (int i = 0; i < 4; i++) {                                                               \
    int r = q0 + ROW(i);                                                                             \
    float prob = 0, grad = 0;                                                                        \
    if (r < p.rows) {                                                                                \
      prob = share(logit(s[i], bias, &p, bias_at, r, k0 + COLUMN(i)), STAT(r, 0)) / STAT(r, 1);      \
      grad = prob * (g[i] - STAT(r, 2)) * p.scale;                                                   \
    }                                                                                                \
    grads                                                                                            \
  }

// attention_grad_q: dq of 32 queries, before rotary positions.
KERNEL(NAMED(attention_grad_q), 256)(GLOBAL float *dq, GLOBAL const float *out, GLOBAL const float *q, GLOBAL const float *k,
                                     GLOBAL const float *v, GLOBAL const float *bias, GLOBAL const float *cosines,
                                     GLOBAL const float *sines, GLOBAL const float *stats, heads_params p) {
  LOCAL_ARRAY(float, qs, 32 * PITCH);
  LOCAL_ARRAY(float, ks, 32 * PITCH);
  LOCAL_ARRAY(float, gs, 32 * 33);
  int tx = THREAD % 16, ty = THREAD / 16, q0 = GROUP(0) * 32, h = GROUP(1) % p.heads, piece = GROUP(1) / p.heads * WIDE, b = GROUP(2);
  i64 bias_at = head_of(p.bias, b, h);
  float acc[2][PIECES];
  UNROLL for (int c = 0; c < PIECES; c++) acc[0][c] = acc[1][c] = 0;
  ROLLED for (int k0 = 0; k0 < p.n; k0 += 32) {
    LOGITS(0, p.rows, 0)
    SLOPES
    PROBABILITIES(gs[ROW(i) * 33 + COLUMN(i)] = grad;)
    NAMED(load_turned)(ks, k, p.k, 0, k0, p.n, piece, cosines, sines, &p, b, h);
    BARRIER();
    UNROLL_4 for (int j = 0; j < 32; j++) {
      float g0 = gs[ty * 33 + j], g1 = gs[(ty + 16) * 33 + j];
      UNROLL for (int c = 0; c < PIECES; c++) {
        float x = ks[j * PITCH + tx + 16 * c];
        acc[0][c] = FMA(g0, x, acc[0][c]);
        acc[1][c] = FMA(g1, x, acc[1][c]);
      }
    }
    BARRIER();
  }
  UNROLL for (int i = 0; i < 2; i++)
    if (q0 + ty + 16 * i < p.rows)
      UNROLL for (int c = 0; c < PIECES; c++)
        if (piece + tx + 16 * c < p.d) dq[head_of(p.dq, b, h) + (q0 + ty + 16 * i) * p.dq.row + piece + tx + 16 * c] = acc[i][c];
}

// attention_grad_kv: dk, before rotary positions, and dv of 32 keys.
KERNEL(NAMED(attention_grad_kv), 256)(GLOBAL float *dk, GLOBAL float *dv, GLOBAL const float *out, GLOBAL const float *q,
                                      GLOBAL const float *k, GLOBAL const float *v, GLOBAL const float *bias, GLOBAL const float *cosines,
                                      GLOBAL const float *sines, GLOBAL const float *stats, heads_params p) {
  LOCAL_ARRAY(float, qs, 32 * PITCH);
  LOCAL_ARRAY(float, ks, 32 * PITCH);
  LOCAL_ARRAY(float, ps, 32 * 33);
  LOCAL_ARRAY(float, gs, 32 * 33);
  int tx = THREAD % 16, ty = THREAD / 16, k0 = GROUP(0) * 32, h = GROUP(1) % p.heads, piece = GROUP(1) / p.heads * WIDE, b = GROUP(2);
  i64 bias_at = head_of(p.bias, b, h);
  float keys[2][PIECES], values[2][PIECES];
  UNROLL for (int c = 0; c < PIECES; c++) keys[0][c] = keys[1][c] = values[0][c] = values[1][c] = 0;
  ROLLED for (int q0 = 0; q0 < p.rows; q0 += 32) {
    LOGITS(0, p.rows, 0)
    SLOPES
    PROBABILITIES(ps[ROW(i) * 33 + COLUMN(i)] = prob; gs[ROW(i) * 33 + COLUMN(i)] = grad;)
    NAMED(load_turned)(qs, q, p.q, 0, q0, p.rows, piece, cosines, sines, &p, b, h);
    NAMED(load)(ks, out, head_of(p.o, b, h), p.o.row, q0, p.rows, piece, p.d);
    BARRIER();
    ROLLED for (int r = 0; r < 32; r++) {
      float p0 = ps[r * 33 + ty], p1 = ps[r * 33 + ty + 16], g0 = gs[r * 33 + ty], g1 = gs[r * 33 + ty + 16];
      UNROLL for (int c = 0; c < PIECES; c++) {
        float x = qs[r * PITCH + tx + 16 * c], y = ks[r * PITCH + tx + 16 * c];
        keys[0][c] = FMA(g0, x, keys[0][c]);
        keys[1][c] = FMA(g1, x, keys[1][c]);
        values[0][c] = FMA(p0, y, values[0][c]);
        values[1][c] = FMA(p1, y, values[1][c]);
      }
    }
    BARRIER();
  }
  UNROLL for (int i = 0; i < 2; i++) {
    int r = k0 + ty + 16 * i;
    if (r < p.n)
      UNROLL for (int c = 0; c < PIECES; c++) {
        int j = piece + tx + 16 * c;
        if (j >= p.d) continue;
        if (dk) dk[head_of(p.dk, b, h) + r * p.dk.row + j] = keys[i][c];
        if (dv) dv[head_of(p.dv, b, h) + r * p.dv.row + j] = values[i][c];
      }
  }
}

// attention_captures writes ∂L/∂probs and the relevance of a tile, over all
// heads.
KERNEL(NAMED(attention_captures), 256)(GLOBAL float *probs, GLOBAL float *relevance, GLOBAL const float *out, GLOBAL const float *q,
                                       GLOBAL const float *k, GLOBAL const float *v, GLOBAL const float *bias, GLOBAL const float *cosines,
                                       GLOBAL const float *sines, GLOBAL const float *stats, heads_params p) {
  LOCAL_ARRAY(float, qs, 32 * PITCH);
  LOCAL_ARRAY(float, ks, 32 * PITCH);
  int tx = THREAD % 16, ty = THREAD / 16, q0 = GROUP(0) * 32, k0 = GROUP(1) * 32, b = GROUP(2);
  float sum[4] = {0, 0, 0, 0};
  ROLLED for (int h = 0; h < p.heads; h++) {
    i64 bias_at = head_of(p.bias, b, h);
    LOGITS(0, p.rows, 0)
    SLOPES
    UNROLL for (int i = 0; i < 4; i++) {
      int r = q0 + ROW(i), j = k0 + COLUMN(i);
      if (r >= p.rows || j >= p.n) continue;
      float x = share(logit(s[i], bias, &p, bias_at, r, j), STAT(r, 0)) / STAT(r, 1) * g[i];
      sum[i] += x < 0 ? 0 : x; // what is not a number stays so
      if (probs) probs[head_of(p.probs, b, h) + r * p.probs.row + j] = g[i];
    }
  }
  if (relevance)
    UNROLL for (int i = 0; i < 4; i++)
      if (q0 + ROW(i) < p.rows && k0 + COLUMN(i) < p.n)
        relevance[head_of(p.relevance, b, 0) + (q0 + ROW(i)) * p.relevance.row + k0 + COLUMN(i)] = sum[i] / p.heads;
}
#undef NAMED
#undef PITCH
#undef PIECES
#undef LOGITS
#undef SLOPES
#undef ROW
#undef COLUMN
#undef STAT
#undef PROBABILITIES
#undef WIDE
