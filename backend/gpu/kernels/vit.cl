// The operations of a Vision Transformer in float32, forward and backward:
// what every device runs.
#define RESIDENT 2 // with 128 registers a thread
#include "dialect.h"
#include "functions.h"
#include "rows.h"

typedef struct {
  view y, x, residual, pre;
  int rows, n, k, out, act;
  int ph, pw, cols, height, pad; // of patches: height and width, how many a row; height of a channel in rows
} gemm_params;

#define GEMM linear_64
#define TILE 64
#include "gemm.h"

#undef RESIDENT
#define RESIDENT 1
#define GEMM linear_128
#define TILE 128
#include "gemm.h"
#undef RESIDENT
#define RESIDENT 2

#define PATCH
#define GEMM patch_embed_64
#define TILE 64
#include "gemm.h"
#undef PATCH

#define GRAD
#define GEMM linear_grad_64
#define TILE 64
#include "gemm.h"

#define PIXELS
#define GEMM patch_embed_grad_64
#define TILE 64
#include "gemm.h"
#undef PIXELS
#undef GRAD

#include "heads.h"

#define WIDE 64
#include "attention.h"

#define WIDE 128
#include "attention.h"
