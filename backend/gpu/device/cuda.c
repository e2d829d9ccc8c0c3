//go:build cgo && linux

// The CUDA driver: libcuda.so.1, which every NVIDIA driver and container has,
// by dlopen. No toolkit and no runtime library. Declarations are ours, from
// the driver API's reference; its ABI is frozen.
#include "device.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef void *cu_obj;
typedef unsigned long long CUdeviceptr;

#define FUNCTIONS(X)                                                                                       \
  X(cuInit, "cuInit", (unsigned))                                                                          \
  X(cuGetErrorName, "cuGetErrorName", (CUresult, const char **))                                           \
  X(cuDeviceGetCount, "cuDeviceGetCount", (int *))                                                         \
  X(cuDeviceGet, "cuDeviceGet", (int *, int))                                                              \
  X(cuDeviceGetName, "cuDeviceGetName", (char *, int, int))                                                \
  X(cuDeviceGetAttribute, "cuDeviceGetAttribute", (int *, int, int))                                       \
  X(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (cu_obj *, int))                                 \
  X(cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (int))                                      \
  X(cuCtxSetCurrent, "cuCtxSetCurrent", (cu_obj))                                                          \
  X(cuCtxGetStreamPriorityRange, "cuCtxGetStreamPriorityRange", (int *, int *))                            \
  X(cuStreamCreateWithPriority, "cuStreamCreateWithPriority", (cu_obj *, unsigned, int))                   \
  X(cuStreamDestroy, "cuStreamDestroy_v2", (cu_obj))                                                       \
  X(cuStreamSynchronize, "cuStreamSynchronize", (cu_obj))                                                  \
  X(cuMemGetInfo, "cuMemGetInfo_v2", (size_t *, size_t *))                                                 \
  X(cuMemAlloc, "cuMemAlloc_v2", (CUdeviceptr *, size_t))                                                  \
  X(cuMemFree, "cuMemFree_v2", (CUdeviceptr))                                                              \
  X(cuMemHostAlloc, "cuMemHostAlloc", (void **, size_t, unsigned))                                         \
  X(cuMemFreeHost, "cuMemFreeHost", (void *))                                                              \
  X(cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2", (CUdeviceptr, const void *, size_t, cu_obj))                \
  X(cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2", (void *, CUdeviceptr, size_t, cu_obj))                      \
  X(cuModuleLoadDataEx, "cuModuleLoadDataEx", (cu_obj *, const void *, unsigned, int *, void **))          \
  X(cuModuleUnload, "cuModuleUnload", (cu_obj))                                                            \
  X(cuModuleGetFunction, "cuModuleGetFunction", (cu_obj *, cu_obj, const char *))                          \
  X(cuLaunchKernel, "cuLaunchKernel",                                                                      \
    (cu_obj, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, cu_obj, void **, void **))

#define DECLARE(name, symbol, args) static CUresult(*name) args;
FUNCTIONS(DECLARE)

struct device {
  int dev;
  cu_obj ctx, module, *kernels;
};

struct queue {
  device *d;
  cu_obj stream;
};

static int status(char *err, const char *what, CUresult e) {
  if (e == 0) return DEVICE_OK;
  const char *name = "";
  if (cuGetErrorName) cuGetErrorName(e, &name);
  int code = DEVICE_FAILED;
  switch (e) {
  case 2: code = DEVICE_NO_MEMORY; break;
  case 100: case 101: code = DEVICE_ABSENT; break;
  case 209: case 218: case 222: code = DEVICE_UNSUPPORTED; break; // no code for this chip or by this driver
  case 46: case 201: case 214: case 700: case 702: case 709: case 710: case 714: case 715: case 716: case 717: case 718: case 719:
    code = DEVICE_LOST; // the context is of no use any more
  }
  return device_fail(err, code, "%s: CUDA error %d %s", what, e, name ? name : "");
}

static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
static void *library;

static int load(char *err) {
  pthread_mutex_lock(&once);
  int code = DEVICE_OK;
  if (!library) {
    const char *name = getenv("VITSERVE_CUDA");
    if (!name || !*name) name = "libcuda.so.1";
    void *l = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!l) code = device_fail(err, DEVICE_ABSENT, "no NVIDIA driver: %s", dlerror());
#define FIND(function, symbol, args) \
  if (l && !code && !(*(void **)&function = dlsym(l, symbol))) code = device_fail(err, DEVICE_UNSUPPORTED, "the NVIDIA driver %s is too old: it has no %s", name, symbol);
    FUNCTIONS(FIND)
    if (!code) code = status(err, "cuInit", cuInit(0));
    if (!code) library = l;
    else if (l) dlclose(l);
  }
  pthread_mutex_unlock(&once);
  return code;
}

static int cu_count(int *n, char *err) {
  int code = load(err);
  return code ? code : status(err, "cuDeviceGetCount", cuDeviceGetCount(n));
}

// Goroutines come on any thread: each call makes the context its thread's own.
static int enter(device *d, char *err) { return status(err, "cuCtxSetCurrent", cuCtxSetCurrent(d->ctx)); }

static int cu_open(int ordinal, device **out, device_info *info, char *err) {
  int n = 0, code = cu_count(&n, err);
  if (code) return code;
  if (ordinal >= n) return device_fail(err, DEVICE_ABSENT, "CUDA has %d devices, numbered from 0: no number %d", n, ordinal);
  device *d = calloc(1, sizeof *d);
  if (!d) return device_fail(err, DEVICE_NO_MEMORY, "no memory");
  if ((code = status(err, "cuDeviceGet", cuDeviceGet(&d->dev, ordinal))) ||
      (code = status(err, "cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain(&d->ctx, d->dev)))) {
    free(d);
    return code;
  }
  size_t unused = 0, memory = 0;
  if ((code = enter(d, err)) || (code = status(err, "cuDeviceGetName", cuDeviceGetName(info->name, DEVICE_NAME, d->dev))) ||
      (code = status(err, "cuDeviceGetAttribute", cuDeviceGetAttribute(&info->units, 16, d->dev))) ||
      (code = status(err, "cuMemGetInfo", cuMemGetInfo(&unused, &memory)))) {
    cuDevicePrimaryCtxRelease(d->dev);
    free(d);
    return code;
  }
  info->memory = info->largest = memory;
  *out = d;
  return DEVICE_OK;
}

static int cu_close(device *d, char *err) {
  int code = enter(d, err);
  if (d->module) {
    int e = status(err, "cuModuleUnload", cuModuleUnload(d->module));
    if (!code) code = e;
  }
  int e = status(err, "cuDevicePrimaryCtxRelease", cuDevicePrimaryCtxRelease(d->dev));
  free(d->kernels);
  free(d);
  return code ? code : e;
}

static int cu_alloc(device *d, size_t bytes, uint64_t *mem, char *err) {
  int code = enter(d, err);
  CUdeviceptr p = 0;
  if (!code && (code = status(err, "cuMemAlloc", cuMemAlloc(&p, bytes))) == DEVICE_NO_MEMORY) {
    size_t unused = 0, memory = 0;
    if (!cuMemGetInfo(&unused, &memory)) device_fail(err, code, "%zu bytes are wanted, %zu of %zu are free", bytes, unused, memory);
  }
  *mem = p;
  return code;
}

static int cu_free(device *d, uint64_t mem, char *err) {
  int code = enter(d, err), e = status(err, "cuMemFree", cuMemFree(mem));
  return code ? code : e;
}

static int cu_pin(device *d, size_t bytes, void **host, uint64_t *handle, char *err) {
  int code = enter(d, err);
  *handle = 0;
  return code ? code : status(err, "cuMemHostAlloc", cuMemHostAlloc(host, bytes, 1)); // of all contexts
}

static int cu_unpin(device *d, void *host, uint64_t handle, char *err) {
  (void)handle;
  int code = enter(d, err), e = status(err, "cuMemFreeHost", cuMemFreeHost(host));
  return code ? code : e;
}

// build loads PTX, which is compiled before the program is.
static int cu_build(device *d, const char *image, size_t n, const char **kernels, int count, char *err) {
  (void)n; // it ends in a zero
  char log[2048] = "";
  int names[] = {5, 6}; // the JIT's log and its size
  void *values[] = {log, (void *)(sizeof log)};
  int code = enter(d, err);
  if (code) return code;
  if ((code = status(err, "cuModuleLoadDataEx", cuModuleLoadDataEx(&d->module, image, 2, names, values)))) {
    size_t at = strlen(err);
    if (*log) snprintf(err + at, DEVICE_ERR - at, ": %s", log);
    d->module = NULL;
    return code;
  }
  if (!(d->kernels = calloc(count, sizeof *d->kernels))) return device_fail(err, DEVICE_NO_MEMORY, "no memory");
  for (int i = 0; i < count && !code; i++) code = status(err, kernels[i], cuModuleGetFunction(&d->kernels[i], d->module, kernels[i]));
  return code;
}

static int cu_queue(device *d, int priority, queue **out, char *err) {
  int least = 0, greatest = 0, code = enter(d, err);
  if (code || (code = status(err, "cuCtxGetStreamPriorityRange", cuCtxGetStreamPriorityRange(&least, &greatest)))) return code;
  queue *q = calloc(1, sizeof *q);
  if (!q) return device_fail(err, DEVICE_NO_MEMORY, "no memory");
  q->d = d;
  int urgency = least - (priority > 0 ? priority : 0); // a smaller number is more urgent
  if ((code = status(err, "cuStreamCreate", cuStreamCreateWithPriority(&q->stream, 1, urgency < greatest ? greatest : urgency)))) {
    free(q);
    return code;
  }
  *out = q;
  return DEVICE_OK;
}

static int cu_unqueue(queue *q, char *err) {
  int code = enter(q->d, err), e = status(err, "cuStreamDestroy", cuStreamDestroy(q->stream));
  free(q);
  return code ? code : e;
}

static int cu_run(queue *q, const device_op *ops, int n, char *err) {
  int code = enter(q->d, err);
  for (const device_op *o = ops; o < ops + n && !code; o++) {
    if (o->kind == DEVICE_WRITE) {
      code = status(err, "cuMemcpyHtoDAsync", cuMemcpyHtoDAsync(o->mem[0] + o->at, (void *)o->host, o->size, q->stream));
    } else if (o->kind == DEVICE_READ) {
      code = status(err, "cuMemcpyDtoHAsync", cuMemcpyDtoHAsync((void *)o->host, o->mem[0] + o->at, o->size, q->stream));
    } else {
      void *args[DEVICE_MEMS + 1];
      for (uint32_t i = 0; i < o->mems; i++) args[i] = (void *)&o->mem[i];
      args[o->mems] = (void *)o->params;
      code = status(err, "cuLaunchKernel",
                    cuLaunchKernel(q->d->kernels[o->kernel], o->grid[0], o->grid[1], o->grid[2], o->threads, 1, 1, 0, q->stream, args, NULL));
    }
  }
  // Whatever has failed, nothing of the queue is under way afterwards.
  char other[DEVICE_ERR];
  int e = status(code ? other : err, "cuStreamSynchronize", cuStreamSynchronize(q->stream));
  return code ? code : e;
}

const driver cuda_driver = {cu_count, cu_open, cu_close, cu_alloc, cu_free, cu_pin, cu_unpin, cu_build, cu_queue, cu_unqueue, cu_run};
