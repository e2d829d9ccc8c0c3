// One dialect for every compiler that the kernels meet: OpenCL C 1.2 of any
// vendor, CUDA by NVRTC, and plain C++ on the host, for the stand-in driver of
// the tests. Kernels are written in C, with these words for what the languages
// call differently.
//
//   KERNEL(name, threads)  a kernel of work-groups of so many threads, RESIDENT of which share a multiprocessor
//   FUNC                   a function of kernels
//   GLOBAL, LOCAL          address spaces of pointers
//   LOCAL_ARRAY(t, n, k)   an array that a work-group shares, at the top of a kernel
//   BARRIER()              all threads of the group get here; LOCAL memory is seen
//   THREAD, GROUP(i)       index in the work-group, of the work-group
//   UNROLL                 before a loop over an array that must stay in registers
//   UNROLL_4, ROLLED       before other loops: four turns at once, or one, so that code stays small
//   FMA, SQRT, MAXF        float32 functions, correctly rounded
//   AS_INT, AS_FLOAT       the bits of a number
//   HAS_WARP               threads come in warps of 32 that run together
//
// LOCAL memory passes from thread to thread over a BARRIER and in no other way.
#if defined(__OPENCL_VERSION__)

#define KERNEL(name, threads) __kernel __attribute__((reqd_work_group_size(threads, 1, 1))) void name
#define FUNC static inline
#define GLOBAL __global
#define LOCAL __local
#define LOCAL_ARRAY(t, n, k) __local t n[k]
#define BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#define THREAD ((int)get_local_id(0))
#define GROUP(i) ((int)get_group_id(i))
#define GROUPS ((int)get_num_groups(0))
#define FMA(a, b, c) fma(a, b, c)
#define SQRT(x) sqrt(x)
#define MAXF(a, b) fmax(a, b)
#define AS_INT(x) as_int(x)
#define AS_FLOAT(x) as_float(x)
#pragma OPENCL FP_CONTRACT OFF
typedef long i64;

#elif defined(__CUDACC_RTC__)

#define KERNEL(name, threads) extern "C" __global__ void __launch_bounds__(threads, RESIDENT) name
#define FUNC static __device__ __forceinline__
#define GLOBAL
#define LOCAL
#define LOCAL_ARRAY(t, n, k) __shared__ t n[k]
#define BARRIER() __syncthreads()
#define THREAD ((int)threadIdx.x)
#define GROUP(i) ((int)((i) == 0 ? blockIdx.x : (i) == 1 ? blockIdx.y : blockIdx.z))
#define GROUPS ((int)gridDim.x)
#define FMA(a, b, c) fmaf(a, b, c)
#define SQRT(x) sqrtf(x)
#define MAXF(a, b) fmaxf(a, b)
#define AS_INT(x) __float_as_int(x)
#define AS_FLOAT(x) __int_as_float(x)
#define HAS_WARP 1
typedef long long i64;

#else // the host: see standin.h

#include "standin.h"

#endif

#define INF AS_FLOAT(0x7f800000)
#define UNROLL _Pragma("unroll")
#define UNROLL_4 _Pragma("unroll 4")
#define ROLLED _Pragma("unroll 1")
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

// view is where a tensor (B, N, C) lies, in float32 values: element (b, n, c)
// is at off + b·batch + n·row + c.
typedef struct { i64 off, batch, row; } view;

// head_view is where a tensor of heads lies: element (b, h, n, c) is at
// off + b·batch + h·head + n·row + c.
typedef struct { i64 off, batch, head, row; } head_view;

FUNC i64 row_of(view v, int b, int n) { return v.off + b * v.batch + n * v.row; }
FUNC i64 head_of(head_view v, int b, int h) { return v.off + b * v.batch + h * v.head; }
