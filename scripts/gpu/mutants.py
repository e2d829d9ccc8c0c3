"""The faults that mutate.py plants, one at a time.

Each is a file of backend/gpu, what stands there, what stands there instead, why it is a fault, and the tests that are asked:
parts of backendtest.Run, or whole tests, whose names begin with Test, several with a blank between.
"""
GEMM, HEADS, ATTENTION, ROWS, FUNCTIONS = (f"kernels/{name}.h" for name in ["gemm", "heads", "attention", "rows", "functions"])
LINEAR = "Linear/(2×17×50_to_70|1×197×64_to_192|views)"
ATTEND = "Attention/(2×17×2×80|1×50×1×100|3×16×12×16)"
GRADS = "Gradients/AttentionGrad/(2×17×2×80|1×50×1×100)"
CUDA, DEVICE = "device/cuda.c", "device/device.go"

# file, what stands there, what stands there instead, why, tests
MUTANTS = [
    # Barriers: what a thread reads that another has not written yet, or has written again.
    (GEMM, "    BARRIER();\n    UNROLL_4 for (int d", "    UNROLL_4 for (int d", "barrier: inputs are multiplied before they are there", LINEAR),
    (GEMM, "    BARRIER();\n    if ((k0", "    if ((k0", "barrier: inputs are written over while others multiply", LINEAR),
    (GEMM, "= sum[i][j];\n    BARRIER();", "= sum[i][j];", "barrier: outputs are written before they are there", LINEAR),
    (GEMM, "    }\n    BARRIER();\n  }\n}", "    }\n  }\n}", "barrier: outputs are written over while others write", LINEAR),
    (ATTENTION, "p, b, h);                               \\\n    BARRIER();", "p, b, h);                               \\\n", "barrier: queries and keys are multiplied before they are there", ATTEND),
    (ATTENTION, "products)(s, qs, ks);                                                                             \\\n    BARRIER();", "products)(s, qs, ks);                                                                             \\\n", "barrier: keys become values while others multiply", ATTEND),
    (ATTENTION, "piece, p.d);\n    BARRIER();\n    if (t < 32) {\n      float m = ms[t];", "piece, p.d);\n    if (t < 32) {\n      float m = ms[t];", "barrier: a maximum of logits that are not there", ATTEND),
    (ATTENTION, "      ms[t] = m;\n    }\n    BARRIER();", "      ms[t] = m;\n    }", "barrier: exponentials below another maximum", ATTEND),
    (ATTENTION, "ms[ROW(i)]);\n    BARRIER();", "ms[ROW(i)]);", "barrier: values are weighed before the weights are there", ATTEND),
    (ATTENTION, "      ls[t] = FMA(ls[t], cs[t], sum);\n    }\n    BARRIER();", "      ls[t] = FMA(ls[t], cs[t], sum);\n    }", "barrier: the next keys come while others weigh", ATTEND),
    (ATTENTION, "products)(g, qs, ks);                                                                             \\\n    BARRIER();", "products)(g, qs, ks);                                                                             \\\n", "barrier: slopes' inputs are written over", GRADS),
    (ATTENTION, "piece, cosines, sines, &p, b, h);\n    BARRIER();\n    UNROLL_4", "piece, cosines, sines, &p, b, h);\n    UNROLL_4", "barrier: queries' gradient from keys that are not there", GRADS),
    (ATTENTION, "p.rows, piece, p.d);\n    BARRIER();\n    ROLLED", "p.rows, piece, p.d);\n    ROLLED", "barrier: keys' gradient from queries that are not there", GRADS),
    # Masks: what lies outside.
    (GEMM, "if (r >= p.rows || o >= p.out) continue;", "if (o >= p.out) continue;", "mask: rows behind the last are written", LINEAR),
    (GEMM, "if (r >= p.rows || o >= p.out) continue;", "if (r >= p.rows) continue;", "mask: columns behind the last are written", LINEAR),
    (GEMM, "if (m0 + ty + 16 * i < p.rows && k < p.k) {", "if (k < p.k) {", "mask: rows behind the last are read", "TestTiles"),
    (ROWS, "if (!live) r = 0; // all", "// all", "mask: a norm reads rows behind the last", "LayerNorm/(2×5×50|3×17×192|constant_row)"),
    (HEADS, "j >= p->n || (p->causal && j > r)", "j >= p->n || (p->causal && j >= r)", "mask: a token does not see itself", "Places/causal/.*"),
    (HEADS, "r >= p->rows || j >= p->n ||", "r >= p->rows ||", "mask: keys behind the last have a share", ATTEND),
    (HEADS, "return s == -INF ? 0.0f : expn(s - most);", "return expn(s - most);", "mask: rows that see nothing yet are not a number", "TestFirstHidden"),
    (ATTENTION, "      if (r >= p.rows || j >= p.n) continue;\n      float x", "      if (j >= p.n) continue;\n      float x", "mask: captured rows behind the last", GRADS),
    # Indices.
    (GEMM, "if (bias) value += bias[o + 1];", "if (bias) value += bias[o];", "index: the value half's bias is the gate's", "Activations"),
    (GEMM, "k / p.pw % p.ph)", "k / p.pw % p.pw)", "index: patches that are not square", "PatchEmbed"),
    (GEMM, "as[d * PITCH + ty * EDGE + i]", "as[d * PITCH + ty + 16 * i]", "index: rows of a tile are exchanged", LINEAR),
    (ATTENTION, "k0 > 0 && p.d <= WIDE)\n    UNROLL for (int i = 0; i < 4; i++) ps", "k0 > 0)\n    UNROLL for (int i = 0; i < 4; i++) ps", "index: a wide head keeps the queries of its last piece", "TestWide"),
    (ATTENTION, "p.rows + r) * 4;\n      probs", "p.rows + at) * 4;\n      probs", "index: another row's maximum and sum", ATTEND),
    (ATTENTION, "acc[1][c] *= cs[ty + 16];", "acc[1][c] *= cs[ty];", "index: sums are scaled as another row's", ATTEND),
    (HEADS, "*sign = first ? -1.0f : 1.0f;", "*sign = first ? 1.0f : -1.0f;", "index: rotary positions turn the other way", ATTEND),
    (ROWS, "d = 16; d > 0; d /= 2) v += __shfl", "d = 8; d > 0; d /= 2) v += __shfl", "index: sums of half a row", "LayerNorm/(2×5×50|3×17×192|constant_row)"),
    (ROWS, "(p.each ? b * p.rows : 0) + j] == i", "j] == i", "index: the first image's list for all", "Gradients/GatherGrad"),
    (ROWS, "from / p.w - to / p.w", "to / p.w - from / p.w", "index: relative positions upside down", "RelativeBias"),
    ("kernels/rows.h", "s[255 - t]; // over", "s[t ^ 255 ^ 32]; // over", "index: another warp's memory", "TestWords"),
    # Parities: pairs that take turns.
    (GEMM, "k % 2 ? swiglu_value", "k % 2 == 0 ? swiglu_value", "parity: gate and value exchanged in the gradient", "Gradients/MLPGrad/2×17.*"),
    (HEADS, "interleaved ? j % 2 == 0", "interleaved ? j % 2 == 1", "parity: partners of interleaved pairs", ATTEND),
    ("gpu.go", "row/2 + row%2*l.out/2", "row/2 + (1-row%2)*l.out/2", "parity: gate and value exchanged on the way to the device", "Activations"),
    # Order: the same photo, the same bits; and what has to come before what.
    (GEMM, "(k0 + DEPTH) % 256 == 0", "(k0 + DEPTH) % (4 * TILE) == 0", "order: sums are cut by the tile's size", "TestTiles"),
    (ROWS, "(i64)GROUPS * 256)", "(i64)GROUPS * 512)", "index: outputs behind the grid are left out", "TestOutputs"),
    (ATTENTION, "ls[t] = FMA(ls[t], cs[t], sum);", "ls[t] += sum;", "order: a sum below a maximum that has changed", ATTEND),
    ("stream.go", "\tfor _, m := range s.unset {\n\t\tp.zero(m)\n\t}\n", "", "order: memory is read before it is zero", "Stream"),
    ("program.go", "if m.in != p {", "if m.in == nil {", "order: a temp keeps the place of an earlier Sync", "TestTempPlaces"),
    # Numbers.
    (ROWS, "rest = p.rms ? 0 : row_sum(rest, s) / p.c;", "rest = 0;", "numbers: a mean of thirty in one number", "LayerNorm/mean_of_thirty"),
    (FUNCTIONS, "x < 0 ? tail : 1.0f - tail", "x < 0 ? 1.0f - tail : tail", "numbers: the slope of GELU on the other side", "Gradients/MLPGrad/2×17.*"),
    # Waits.
    (CUDA, "cuStreamSynchronize(q->stream));", "0);", "wait: nobody waits for the stream", f"{LINEAR} TestShortLife"),
    (CUDA, "  char other[DEVICE_ERR];\n  int e = status(code ?", "  if (code) return code;\n  char other[DEVICE_ERR];\n  int e = status(code ?", "wait: a failure leaves work under way", "TestFaultsCUDA/cuLaunchKernel"),
    # The driver: memory, contexts, copies.
    (CUDA, "return status(err, \"cuCtxSetCurrent\", cuCtxSetCurrent(d->ctx)); }", "(void)d, (void)err; return 0; }", "driver: a thread without a context", "TestThreads"),
    (CUDA, "e = status(err, \"cuMemFree\", cuMemFree(mem));", "e = 0; (void)mem;", "memory: nothing is given back", "TestShortLife"),
    (CUDA, "    int e = status(err, \"cuModuleUnload\", cuModuleUnload(d->module));\n    if (!code) code = e;\n", "", "memory: the kernels stay on the device", "TestShortLife"),
    (CUDA, "(void *)o->host, o->mem[0] + o->at", "(void *)o->host, o->mem[0]", "index: a copy from the beginning of the memory", "Reads Stream"),
    (CUDA, "case 2: code = DEVICE_NO_MEMORY; break;", "", "driver: out of memory is another failure", "TestNoMemory"),
    (CUDA, "int urgency = least - (", "int urgency = least + (", "driver: priorities the other way round", "TestShortLife"),
    (DEVICE, "d.used.Add(-int64(m.Bytes))", "", "memory: counted and never given back", "TestShortLife"),
    ("gpu.go", "At: uint64(4 * at), Size: uint64(4 * n)", "Size: uint64(4 * n)", "index: large weights lie over each other", "TestPieces"),
    ("staging.go", "\tg.used += bytes\n", "", "memory: what comes from the host lies over each other", "Stream TestShortLife"),
    ("program.go", "\tp.scratch += (n + line - 1) / line * line\n", "", "memory: temps and lists lie over each other", "MLP/2×17×50×33 Temps"),
    ("stream.go", "} else if 4*p.scratch > s.room.Bytes {", "} else if p.scratch > s.room.Bytes {", "memory: too little room for temps", "TestTempPlaces"),
    ("stream.go", "if m.floats > most/n {", "if most < 0 {", "memory: absurd sizes come to the driver", "TestAbsurd"),
]
