// An OpenCL loader between the program and the real one: functions fail on
// demand, and what is not given back is noticed.
//
//   STANDIN_FAIL=name:n:code   the n-th call of a function fails
//   STANDIN_LOG=file           a line for each call that failed so
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <mutex>
#include <string>

typedef int32_t cl_int;
typedef uint32_t cl_uint;
typedef uint64_t cl_ulong;
typedef void *obj;

namespace {
std::mutex lock;
std::map<std::string, long> held; // objects that are not given back

void *real(const char *name) {
  static void *library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
  void *f = library ? dlsym(library, name) : nullptr;
  if (!f) {
    fprintf(stderr, "standin: no %s in libOpenCL.so.1: %s\n", name, dlerror());
    abort();
  }
  return f;
}

cl_int failing(const char *name) {
  static std::string last;
  static long calls;
  std::lock_guard<std::mutex> l(lock);
  const char *want = getenv("STANDIN_FAIL");
  if (!want || !*want) {
    last = "";
    return 0;
  }
  if (last != want) last = want, calls = 0;
  size_t n = strlen(name);
  if (strncmp(want, name, n) || want[n] != ':') return 0;
  long at = 0;
  int code = 0;
  sscanf(want + n, ":%ld:%d", &at, &code);
  if (++calls != at) return 0;
  const char *path = getenv("STANDIN_LOG");
  if (FILE *f = path ? fopen(path, "a") : nullptr) fprintf(f, "failed %s %ld\n", name, at), fclose(f);
  return code;
}

void count(const char *what, long by) {
  std::lock_guard<std::mutex> l(lock);
  held[what] += by;
}
} // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))
// A function that answers with a status.
#define PLAIN(name, params, args)                               \
  EXPORT cl_int name params {                                   \
    if (cl_int e = failing(#name)) return e;                    \
    static auto f = (cl_int(*) params)real(#name);              \
    return f args;                                              \
  }
// A function that makes an object and puts its status behind e.
#define MAKES(what, name, params, args)                         \
  EXPORT obj name params {                                      \
    if (cl_int c = failing(#name)) return *e = c, nullptr;      \
    static auto f = (obj(*) params)real(#name);                 \
    obj o = f args;                                             \
    if (*e == 0) count(what, 1);                                \
    return o;                                                   \
  }
// A function that gives an object back, whatever it answers.
#define DROPS(what, name)                                       \
  EXPORT cl_int name(obj o) {                                   \
    cl_int c = failing(#name);                                  \
    static auto f = (cl_int(*)(obj))real(#name);                \
    cl_int e = f(o);                                            \
    count(what, -1);                                            \
    return c ? c : e;                                           \
  }

PLAIN(clGetPlatformIDs, (cl_uint a, obj *b, cl_uint *c), (a, b, c))
PLAIN(clGetDeviceIDs, (obj a, cl_ulong b, cl_uint c, obj *d, cl_uint *e), (a, b, c, d, e))
PLAIN(clGetDeviceInfo, (obj a, cl_uint b, size_t c, void *d, size_t *e), (a, b, c, d, e))
MAKES("contexts", clCreateContext, (const intptr_t *a, cl_uint b, const obj *c, void *d, void *x, cl_int *e), (a, b, c, d, x, e))
MAKES("queues", clCreateCommandQueue, (obj a, obj b, cl_ulong c, cl_int *e), (a, b, c, e))
DROPS("queues", clReleaseCommandQueue)
MAKES("buffers", clCreateBuffer, (obj a, cl_ulong b, size_t c, void *d, cl_int *e), (a, b, c, d, e))
DROPS("buffers", clReleaseMemObject)
MAKES("maps", clEnqueueMapBuffer, (obj a, obj b, cl_uint c, cl_ulong d, size_t g, size_t h, cl_uint i, const obj *j, obj *k, cl_int *e), (a, b, c, d, g, h, i, j, k, e))
MAKES("programs", clCreateProgramWithSource, (obj a, cl_uint b, const char **c, const size_t *d, cl_int *e), (a, b, c, d, e))
PLAIN(clBuildProgram, (obj a, cl_uint b, const obj *c, const char *d, void *e, void *f_), (a, b, c, d, e, f_))
PLAIN(clGetProgramBuildInfo, (obj a, obj b, cl_uint c, size_t d, void *e, size_t *g), (a, b, c, d, e, g))
DROPS("programs", clReleaseProgram)
MAKES("kernels", clCreateKernel, (obj a, const char *b, cl_int *e), (a, b, e))
DROPS("kernels", clReleaseKernel)
PLAIN(clSetKernelArg, (obj a, cl_uint b, size_t c, const void *d), (a, b, c, d))
PLAIN(clEnqueueNDRangeKernel, (obj a, obj b, cl_uint c, const size_t *d, const size_t *e, const size_t *g, cl_uint h, const obj *i, obj *j), (a, b, c, d, e, g, h, i, j))
PLAIN(clEnqueueWriteBuffer, (obj a, obj b, cl_uint c, size_t d, size_t e, const void *g, cl_uint h, const obj *i, obj *j), (a, b, c, d, e, g, h, i, j))
PLAIN(clEnqueueReadBuffer, (obj a, obj b, cl_uint c, size_t d, size_t e, void *g, cl_uint h, const obj *i, obj *j), (a, b, c, d, e, g, h, i, j))
PLAIN(clFinish, (obj a), (a))

EXPORT cl_int clEnqueueUnmapMemObject(obj a, obj b, void *c, cl_uint d, const obj *e, obj *g) {
  cl_int code = failing("clEnqueueUnmapMemObject");
  static auto f = (cl_int(*)(obj, obj, void *, cl_uint, const obj *, obj *))real("clEnqueueUnmapMemObject");
  cl_int r = f(a, b, c, d, e, g);
  count("maps", -1);
  return code ? code : r;
}

EXPORT cl_int clReleaseContext(obj o) {
  cl_int c = failing("clReleaseContext");
  static auto f = (cl_int(*)(obj))real("clReleaseContext");
  cl_int e = f(o);
  count("contexts", -1);
  std::lock_guard<std::mutex> l(lock);
  if (held["contexts"] == 0)
    for (auto &h : held)
      if (h.second) {
        fprintf(stderr, "standin: the last context is released, and %ld %s are not\n", h.second, h.first.c_str());
        abort();
      }
  return c ? c : e;
}
