//go:build cgo && linux

// The OpenCL driver: libOpenCL.so.1, the vendors' loader, by dlopen. The
// declarations are ours, from the specification; OpenCL's ABI is frozen.
#include "device.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef int32_t cl_int;
typedef uint32_t cl_uint;
typedef uint64_t cl_ulong;
typedef void *cl_obj;

#define FUNCTIONS(X)                                                                                                    \
  X(cl_int, clGetPlatformIDs, (cl_uint, cl_obj *, cl_uint *))                                                           \
  X(cl_int, clGetDeviceIDs, (cl_obj, cl_ulong, cl_uint, cl_obj *, cl_uint *))                                           \
  X(cl_int, clGetDeviceInfo, (cl_obj, cl_uint, size_t, void *, size_t *))                                               \
  X(cl_obj, clCreateContext, (const intptr_t *, cl_uint, const cl_obj *, void *, void *, cl_int *))                     \
  X(cl_int, clReleaseContext, (cl_obj))                                                                                 \
  X(cl_obj, clCreateCommandQueue, (cl_obj, cl_obj, cl_ulong, cl_int *))                                                 \
  X(cl_int, clReleaseCommandQueue, (cl_obj))                                                                            \
  X(cl_obj, clCreateBuffer, (cl_obj, cl_ulong, size_t, void *, cl_int *))                                               \
  X(cl_int, clReleaseMemObject, (cl_obj))                                                                               \
  X(void *, clEnqueueMapBuffer,                                                                                         \
    (cl_obj, cl_obj, cl_uint, cl_ulong, size_t, size_t, cl_uint, const cl_obj *, cl_obj *, cl_int *))                   \
  X(cl_int, clEnqueueUnmapMemObject, (cl_obj, cl_obj, void *, cl_uint, const cl_obj *, cl_obj *))                       \
  X(cl_obj, clCreateProgramWithSource, (cl_obj, cl_uint, const char **, const size_t *, cl_int *))                      \
  X(cl_int, clBuildProgram, (cl_obj, cl_uint, const cl_obj *, const char *, void *, void *))                            \
  X(cl_int, clGetProgramBuildInfo, (cl_obj, cl_obj, cl_uint, size_t, void *, size_t *))                                 \
  X(cl_int, clReleaseProgram, (cl_obj))                                                                                 \
  X(cl_obj, clCreateKernel, (cl_obj, const char *, cl_int *))                                                           \
  X(cl_int, clReleaseKernel, (cl_obj))                                                                                  \
  X(cl_int, clSetKernelArg, (cl_obj, cl_uint, size_t, const void *))                                                    \
  X(cl_int, clEnqueueNDRangeKernel,                                                                                     \
    (cl_obj, cl_obj, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint, const cl_obj *, cl_obj *))       \
  X(cl_int, clEnqueueWriteBuffer, (cl_obj, cl_obj, cl_uint, size_t, size_t, const void *, cl_uint, const cl_obj *, cl_obj *)) \
  X(cl_int, clEnqueueReadBuffer, (cl_obj, cl_obj, cl_uint, size_t, size_t, void *, cl_uint, const cl_obj *, cl_obj *))  \
  X(cl_int, clFinish, (cl_obj))

#define DECLARE(ret, name, args) static ret(*name) args;
FUNCTIONS(DECLARE)

struct device {
  cl_obj dev, ctx, program, own; // own: the queue that maps pinned memory
  char **names;
  int count;
};

// A queue has kernels of its own: their arguments are state.
struct queue {
  device *d;
  cl_obj queue, *kernels;
};

// status turns an error of OpenCL into one of ours.
static int status(char *err, const char *what, cl_int e) {
  if (e == 0) return DEVICE_OK;
  int code = DEVICE_FAILED;
  switch (e) {
  case -1: case -1001: code = DEVICE_ABSENT; break;             // no device; no platform
  case -4: case -5: case -6: case -61: code = DEVICE_NO_MEMORY; break;
  case -2: case -14: case -36: code = DEVICE_LOST;              // not available; failed in between; no queue any more
  }
  return device_fail(err, code, "%s: OpenCL error %d", what, e);
}

static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
static void *library;

static int load(char *err) {
  pthread_mutex_lock(&once);
  int code = DEVICE_OK;
  if (!library) {
    const char *name = getenv("VITSERVE_OPENCL");
    void *l = dlopen(name && *name ? name : "libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!l) code = device_fail(err, DEVICE_ABSENT, "no OpenCL loader: %s", dlerror());
#define FIND(ret, function, args) \
  if (l && !code && !(*(void **)&function = dlsym(l, #function))) code = device_fail(err, DEVICE_UNSUPPORTED, "the OpenCL loader lacks %s", #function);
    FUNCTIONS(FIND)
    if (!code) library = l;
    else if (l) dlclose(l);
  }
  pthread_mutex_unlock(&once);
  return code;
}

enum { MOST = 64, GPU = 1 << 2 };

// devices lists those of all platforms, GPUs first.
static int devices(cl_obj *all, int *n, char *err) {
  cl_obj platforms[16];
  cl_uint np = 0;
  int code = load(err);
  *n = 0;
  if (code) return code;
  cl_int e = clGetPlatformIDs(16, platforms, &np);
  if (e == -1001) return DEVICE_OK; // no driver is installed
  if (e) return status(err, "clGetPlatformIDs", e);
  for (int gpu = 1; gpu >= 0; gpu--)
    for (cl_uint p = 0; p < np && p < 16; p++) {
      cl_obj d[16];
      cl_uint nd = 0;
      e = clGetDeviceIDs(platforms[p], 0xFFFFFFFF, 16, d, &nd);
      if (e == -1) continue; // a platform without devices
      if (e) return status(err, "clGetDeviceIDs", e);
      for (cl_uint i = 0; i < nd && i < 16 && *n < MOST; i++) {
        cl_ulong type = 0;
        if ((e = clGetDeviceInfo(d[i], 0x1000, sizeof type, &type, NULL))) return status(err, "clGetDeviceInfo", e);
        if (!!(type & GPU) == gpu) all[(*n)++] = d[i];
      }
    }
  return DEVICE_OK;
}

static int cl_count(int *n, char *err) {
  cl_obj all[MOST];
  return devices(all, n, err);
}

static int cl_close(device *d, char *err) {
  cl_int e = 0, f = 0;
  if (d->program) f = clReleaseProgram(d->program), e = e ? e : f;
  if (d->own) f = clReleaseCommandQueue(d->own), e = e ? e : f;
  f = clReleaseContext(d->ctx), e = e ? e : f;
  for (int i = 0; i < d->count; i++) free(d->names[i]);
  free(d->names);
  free(d);
  return status(err, "close", e);
}

static int cl_open(int ordinal, device **out, device_info *info, char *err) {
  cl_obj all[MOST];
  int n = 0, code = devices(all, &n, err);
  if (code) return code;
  if (ordinal >= n) return device_fail(err, DEVICE_ABSENT, "OpenCL has %d devices, numbered from 0: no number %d", n, ordinal);
  cl_int e;
  device *d = calloc(1, sizeof *d);
  if (!d) return device_fail(err, DEVICE_NO_MEMORY, "no memory");
  d->dev = all[ordinal];
  d->ctx = clCreateContext(NULL, 1, &d->dev, NULL, NULL, &e);
  if (e) {
    free(d);
    return status(err, "clCreateContext", e);
  }
  cl_uint units = 0;
  d->own = clCreateCommandQueue(d->ctx, d->dev, 0, &e);
  if (e) d->own = NULL;
  if (!e) e = clGetDeviceInfo(d->dev, 0x102B, DEVICE_NAME, info->name, NULL);
  if (!e) e = clGetDeviceInfo(d->dev, 0x1002, sizeof units, &units, NULL);
  if (!e) e = clGetDeviceInfo(d->dev, 0x101F, sizeof info->memory, &info->memory, NULL);
  if (!e) e = clGetDeviceInfo(d->dev, 0x1010, sizeof info->largest, &info->largest, NULL);
  if (e) {
    char other[DEVICE_ERR];
    cl_close(d, other);
    return status(err, "open", e);
  }
  info->units = (int32_t)units;
  *out = d;
  return DEVICE_OK;
}

static int cl_alloc(device *d, size_t bytes, uint64_t *mem, char *err) {
  cl_int e;
  cl_obj m = clCreateBuffer(d->ctx, 1, bytes, NULL, &e);
  *mem = e ? 0 : (uintptr_t)m;
  int code = status(err, "clCreateBuffer", e);
  return code == DEVICE_NO_MEMORY ? device_fail(err, code, "%zu bytes are wanted: OpenCL error %d", bytes, e) : code;
}

static int cl_free(device *d, uint64_t mem, char *err) {
  (void)d;
  return status(err, "clReleaseMemObject", clReleaseMemObject((cl_obj)mem));
}

static int cl_pin(device *d, size_t bytes, void **host, uint64_t *handle, char *err) {
  cl_int e;
  cl_obj m = clCreateBuffer(d->ctx, 1 | 1 << 4, bytes, NULL, &e); // in memory of the host that devices reach
  if (e) return status(err, "clCreateBuffer", e);
  *host = clEnqueueMapBuffer(d->own, m, 1, 3, 0, bytes, 0, NULL, NULL, &e);
  if (e) {
    clReleaseMemObject(m);
    return status(err, "clEnqueueMapBuffer", e);
  }
  *handle = (uintptr_t)m;
  return DEVICE_OK;
}

static int cl_unpin(device *d, void *host, uint64_t handle, char *err) {
  cl_int e = clEnqueueUnmapMemObject(d->own, (cl_obj)handle, host, 0, NULL, NULL), f = clFinish(d->own);
  e = e ? e : f, f = clReleaseMemObject((cl_obj)handle);
  return status(err, "unpin", e ? e : f);
}

static int cl_build(device *d, const char *source, size_t n, const char **kernels, int count, char *err) {
  cl_int e;
  d->program = clCreateProgramWithSource(d->ctx, 1, &source, &n, &e);
  if (e) {
    d->program = NULL;
    return status(err, "clCreateProgramWithSource", e);
  }
  // Division and square root are correctly rounded where a device can do it.
  cl_ulong can = 0;
  if ((e = clGetDeviceInfo(d->dev, 0x101B, sizeof can, &can, NULL))) return status(err, "clGetDeviceInfo", e);
  const char *options = can & 1 << 7 ? "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt" : "-cl-std=CL1.2";
  if ((e = clBuildProgram(d->program, 1, &d->dev, options, NULL, NULL))) {
    int at = snprintf(err, DEVICE_ERR, "clBuildProgram: OpenCL error %d: ", e);
    clGetProgramBuildInfo(d->program, d->dev, 0x1183, DEVICE_ERR - at - 1, err + at, NULL);
    return DEVICE_UNSUPPORTED;
  }
  if (!(d->names = calloc(count, sizeof *d->names))) return device_fail(err, DEVICE_NO_MEMORY, "no memory");
  d->count = count;
  for (int i = 0; i < count; i++) {
    int size = snprintf(NULL, 0, "%s", kernels[i]) + 1;
    if (!(d->names[i] = malloc(size))) return device_fail(err, DEVICE_NO_MEMORY, "no memory");
    snprintf(d->names[i], size, "%s", kernels[i]);
  }
  return DEVICE_OK;
}

static int cl_unqueue(queue *q, char *err) {
  cl_int e = 0, f = 0;
  for (int i = 0; q->kernels && i < q->d->count; i++)
    if (q->kernels[i]) f = clReleaseKernel(q->kernels[i]), e = e ? e : f;
  if (q->queue) f = clReleaseCommandQueue(q->queue), e = e ? e : f;
  free(q->kernels);
  free(q);
  return status(err, "unqueue", e);
}

// OpenCL 1.2 knows no priorities.
static int cl_queue(device *d, int priority, queue **out, char *err) {
  (void)priority;
  cl_int e = 0;
  queue *q = calloc(1, sizeof *q);
  if (!q) return device_fail(err, DEVICE_NO_MEMORY, "no memory");
  q->d = d;
  if (!(q->kernels = calloc(d->count ? d->count : 1, sizeof *q->kernels))) e = -6;
  if (!e) q->queue = clCreateCommandQueue(d->ctx, d->dev, 0, &e);
  if (e) q->queue = NULL;
  for (int i = 0; i < d->count && !e; i++) {
    q->kernels[i] = clCreateKernel(d->program, d->names[i], &e);
    if (e) q->kernels[i] = NULL;
  }
  if (e) {
    char other[DEVICE_ERR];
    cl_unqueue(q, other);
    return status(err, "queue", e);
  }
  *out = q;
  return DEVICE_OK;
}

static int launch(queue *q, const device_op *o, char *err) {
  cl_obj k = q->kernels[o->kernel];
  for (uint32_t i = 0; i < o->mems; i++) {
    cl_obj m = (cl_obj)o->mem[i];
    int code = status(err, "clSetKernelArg", clSetKernelArg(k, i, sizeof m, m ? &m : NULL));
    if (code) return code;
  }
  int code = o->bytes ? status(err, "clSetKernelArg", clSetKernelArg(k, o->mems, o->bytes, o->params)) : DEVICE_OK;
  size_t local[3] = {o->threads, 1, 1}, global[3] = {(size_t)o->grid[0] * o->threads, o->grid[1], o->grid[2]};
  return code ? code : status(err, "clEnqueueNDRangeKernel", clEnqueueNDRangeKernel(q->queue, k, 3, NULL, global, local, 0, NULL, NULL));
}

static int cl_run(queue *q, const device_op *ops, int n, char *err) {
  int code = DEVICE_OK;
  for (const device_op *o = ops; o < ops + n && !code; o++) {
    if (o->kind == DEVICE_WRITE)
      code = status(err, "clEnqueueWriteBuffer", clEnqueueWriteBuffer(q->queue, (cl_obj)o->mem[0], 0, o->at, o->size, (void *)o->host, 0, NULL, NULL));
    else if (o->kind == DEVICE_READ)
      code = status(err, "clEnqueueReadBuffer", clEnqueueReadBuffer(q->queue, (cl_obj)o->mem[0], 0, o->at, o->size, (void *)o->host, 0, NULL, NULL));
    else
      code = launch(q, o, err);
  }
  // Whatever has failed, nothing of the queue is under way afterwards.
  char other[DEVICE_ERR];
  int e = status(code ? other : err, "clFinish", clFinish(q->queue));
  return code ? code : e;
}

const driver opencl_driver = {cl_count, cl_open, cl_close, cl_alloc, cl_free, cl_pin, cl_unpin, cl_build, cl_queue, cl_unqueue, cl_run};
