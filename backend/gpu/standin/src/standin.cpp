// A stand-in for NVIDIA's libcuda.so.1: the driver's functions that vitserve
// calls, and its kernels compiled for the host. Tests open it in the driver's
// place; nothing of it is in the program. Work that is put into a stream is
// done when somebody waits for it, as late as a driver may do it. Device memory
// is not a number until it is written, and behind each piece of it is a page
// that nobody may touch.
//
//   STANDIN_ORDER=reverse       threads and groups run from the last to the first
//   STANDIN_MEMORY=bytes        how much memory the device has
//   STANDIN_DEVICES=n           how many devices there are
//   STANDIN_UNITS=n             how many multiprocessors it says it has
//   STANDIN_FAIL=name:n:code    the n-th call of a function fails
//   STANDIN_LOG=file            a line for each call that failed so, and for what is left at the end
#include "standin.h"
#include "fibers.h"
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <utility>
#include <vector>

namespace standin {
struct kernel { body f; int threads; std::vector<size_t> sizes; };
static std::map<std::string, kernel> &kernels() {
  static std::map<std::string, kernel> k;
  return k;
}

template <auto F> struct call;
template <class... A, void (*F)(A...)> struct call<F> {
  template <size_t... I> static void with(void **a, std::index_sequence<I...>) { F(*(A *)a[I]...); }
  static void body(void **a) { with(a, std::index_sequence_for<A...>()); }
  static void add(const char *name, int threads) { kernels()[name] = {body, threads, {sizeof(A)...}}; }
};

// What the process holds of the device. lock guards all of it.
static std::mutex lock;
static std::map<char *, size_t> blocks, pinned;
static size_t used;
static std::set<void *> modules;
static int contexts;
static bool lost;
static std::atomic<long> epoch{1};   // of contexts: the last that goes ends it
static thread_local long current;    // the epoch of this thread's context

struct stream { std::vector<std::function<int()>> work; };
static std::set<stream *> streams;

static void say(const char *what, const char *name, long n) {
  const char *path = getenv("STANDIN_LOG");
  FILE *f = path ? fopen(path, "a") : nullptr;
  if (!f) return;
  fprintf(f, "%s %s %ld\n", what, name, n);
  fclose(f);
}

// failing returns how this call is to fail, if it is.
static int failing(const char *name) {
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
  say("failed", name, at);
  if (code == 700 && contexts) lost = true;
  return code;
}
// A device that is lost answers nothing any more.
#define MAY_FAIL()                         \
  if (int e = failing(__func__)) return e; \
  if (lost) return 700
// What gives something back does it, whatever it answers.
#define GIVES_BACK() int e = failing(__func__); std::lock_guard<std::mutex> l(lock); if (!e && lost) e = 700
// Most functions work in the context that the thread has made its own.
#define IN_CONTEXT() if (current != epoch) return 201

// A piece of device memory ends where a page begins that nobody may touch, to
// 16 bytes, and another lies before it.
enum { PAGE = 4096 };
static size_t pages(size_t n) { return (n + PAGE - 1) / PAGE * PAGE; }

static char *guarded(size_t n) {
  char *m = (char *)mmap(nullptr, pages(n) + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m == MAP_FAILED) return nullptr;
  mprotect(m, PAGE, PROT_NONE), mprotect(m + PAGE + pages(n), PAGE, PROT_NONE);
  m += PAGE + (pages(n) - n) / 16 * 16;
  memset(m, 0xff, n);
  return m;
}

static void unguard(char *m, size_t n) { munmap((char *)((uintptr_t)m / PAGE * PAGE) - PAGE, pages(n) + 2 * PAGE); }

// inside returns whether n bytes at p are in one block of device memory.
static bool inside(const char *p, size_t n) {
  std::lock_guard<std::mutex> l(lock);
  auto it = blocks.upper_bound((char *)p);
  if (it == blocks.begin()) return false;
  --it;
  return p + n <= it->first + it->second;
}

static int later(void *s, std::function<int()> f) {
  std::lock_guard<std::mutex> l(lock);
  if (!streams.count((stream *)s)) return 400;
  ((stream *)s)->work.push_back(std::move(f));
  return 0;
}

static int launch(kernel *k, const unsigned *grid, std::vector<char> &values) {
  const char *order = getenv("STANDIN_ORDER");
  bool reverse = order && !strcmp(order, "reverse");
  std::vector<void *> args;
  size_t at = 0;
  for (size_t s : k->sizes) args.push_back(&values[at]), at += (s + 15) / 16 * 16;
  long n = (long)grid[0] * grid[1] * grid[2];
  std::atomic<long> next{0};
  auto work = [&] {
    for (long i; (i = next++) < n;) {
      long j = reverse ? n - 1 - i : i;
      g.id[0] = j % grid[0], g.id[1] = j / grid[0] % grid[1], g.id[2] = j / grid[0] / grid[1];
      g.groups = grid[0];
      run(k->f, args.data(), k->threads, reverse);
    }
  };
  if (n < 4) {
    work();
    return 0;
  }
  std::thread other(work);
  work();
  other.join();
  return 0;
}
} // namespace standin

using namespace standin;
extern "C" {
int cuInit(unsigned) { MAY_FAIL(); return 0; }
int cuGetErrorName(int e, const char **s) {
  *s = e == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : e == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : e == 100 ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_OTHER";
  return 0;
}
int cuDeviceGetCount(int *n) {
  MAY_FAIL();
  const char *devices = getenv("STANDIN_DEVICES");
  *n = devices ? atoi(devices) : 2;
  return 0;
}
int cuDeviceGet(int *d, int i) { MAY_FAIL(); *d = i; return 0; }
int cuDeviceGetName(char *s, int n, int d) { MAY_FAIL(); snprintf(s, n, d ? "another stand-in" : "stand-in on the host"); return 0; }
int cuDeviceGetAttribute(int *v, int what, int) {
  MAY_FAIL();
  const char *units = getenv("STANDIN_UNITS");
  *v = what == 16 ? (units ? atoi(units) : 4) : what == 75 ? 8 : 0;
  return 0;
}
int cuDevicePrimaryCtxRetain(void **c, int) {
  MAY_FAIL();
  std::lock_guard<std::mutex> l(lock);
  contexts++, *c = (void *)1;
  return 0;
}
int cuDevicePrimaryCtxRelease_v2(int) {
  GIVES_BACK();
  if (--contexts) return e;
  lost = false, epoch++; // a new context is a new beginning
  long left = used + blocks.size() + pinned.size() + streams.size() + modules.size();
  if (left) {
    say("left", "memory", used), say("left", "blocks", blocks.size()), say("left", "pinned", pinned.size());
    say("left", "streams", streams.size()), say("left", "modules", modules.size());
    fprintf(stderr, "standin: the last context is released, and %zu bytes in %zu blocks, %zu pinned blocks, %zu streams and %zu modules are not\n",
            used, blocks.size(), pinned.size(), streams.size(), modules.size());
    abort();
  }
  return e;
}
int cuCtxSetCurrent(void *c) {
  MAY_FAIL();
  if (c && !contexts) return 201;
  current = c ? epoch.load() : 0;
  return 0;
}
int cuCtxGetStreamPriorityRange(int *least, int *greatest) { MAY_FAIL(); IN_CONTEXT(); *least = 0, *greatest = -5; return 0; }
int cuStreamCreateWithPriority(void **s, unsigned, int priority) {
  MAY_FAIL();
  IN_CONTEXT();
  if (priority < -5 || priority > 0) return 1;
  std::lock_guard<std::mutex> l(lock);
  *s = *streams.insert(new stream).first;
  return 0;
}
int cuStreamDestroy_v2(void *s) {
  GIVES_BACK();
  if (!streams.erase((stream *)s)) return 400;
  if (!((stream *)s)->work.empty()) {
    fprintf(stderr, "standin: a stream goes with work that nobody has waited for\n");
    abort();
  }
  delete (stream *)s;
  return e;
}
int cuStreamSynchronize(void *s) {
  std::vector<std::function<int()>> work;
  {
    std::lock_guard<std::mutex> l(lock);
    if (!streams.count((stream *)s)) return 400;
    work.swap(((stream *)s)->work);
  }
  MAY_FAIL();
  IN_CONTEXT();
  for (auto &f : work)
    if (int e = f()) return e;
  return 0;
}
int cuMemGetInfo_v2(size_t *unused, size_t *total) {
  MAY_FAIL();
  IN_CONTEXT();
  std::lock_guard<std::mutex> l(lock);
  const char *most = getenv("STANDIN_MEMORY");
  *total = most ? strtoull(most, nullptr, 10) : 8ull << 30;
  *unused = *total > used ? *total - used : 0;
  return 0;
}
int cuMemAlloc_v2(unsigned long long *p, size_t n) {
  MAY_FAIL();
  IN_CONTEXT();
  std::lock_guard<std::mutex> l(lock);
  const char *most = getenv("STANDIN_MEMORY");
  size_t total = most ? strtoull(most, nullptr, 10) : 8ull << 30;
  if (used > total || n > total - used) return 2;
  char *m = guarded(n);
  if (!m) return 2;
  blocks[m] = n, used += n;
  *p = (unsigned long long)m;
  return 0;
}
int cuMemFree_v2(unsigned long long p) {
  GIVES_BACK();
  auto it = blocks.find((char *)p);
  if (it == blocks.end()) return 1;
  used -= it->second;
  unguard(it->first, it->second);
  blocks.erase(it);
  return e;
}
int cuMemHostAlloc(void **p, size_t n, unsigned) {
  MAY_FAIL();
  IN_CONTEXT();
  std::lock_guard<std::mutex> l(lock);
  *p = malloc(n);
  memset(*p, 0xff, n);
  pinned[(char *)*p] = n;
  return 0;
}
int cuMemFreeHost(void *p) {
  GIVES_BACK();
  if (!pinned.erase((char *)p)) return 1;
  free(p);
  return e;
}
int cuMemcpyHtoDAsync_v2(unsigned long long d, const void *s, size_t n, void *q) {
  MAY_FAIL();
  IN_CONTEXT();
  return later(q, [=] {
    if (!inside((char *)d, n)) return 700;
    memcpy((void *)d, s, n);
    return 0;
  });
}
int cuMemcpyDtoHAsync_v2(void *d, unsigned long long s, size_t n, void *q) {
  MAY_FAIL();
  IN_CONTEXT();
  return later(q, [=] {
    if (!inside((char *)s, n)) return 700;
    memcpy(d, (void *)s, n);
    return 0;
  });
}
int cuModuleLoadDataEx(void **m, const void *image, unsigned, int *, void **) {
  MAY_FAIL();
  IN_CONTEXT();
  if (!strstr((const char *)image, ".version")) return 218;
  std::lock_guard<std::mutex> l(lock);
  modules.insert(*m = malloc(1));
  return 0;
}
int cuModuleUnload(void *m) {
  GIVES_BACK();
  if (!modules.erase(m)) return 1;
  free(m);
  return e;
}
int cuModuleGetFunction(void **f, void *, const char *name) {
  MAY_FAIL();
  auto it = kernels().find(name);
  if (it == kernels().end()) return 500;
  *f = &it->second;
  return 0;
}
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned, void *q, void **args, void **) {
  MAY_FAIL();
  IN_CONTEXT();
  kernel *k = (kernel *)f;
  if (!gx || !gy || !gz || gx > 0x7fffffff || gy > 65535 || gz > 65535 || by != 1 || bz != 1 || (int)bx != k->threads) return 1;
  std::vector<char> values;
  for (size_t i = 0, at = 0; i < k->sizes.size(); i++) {
    size_t s = k->sizes[i];
    values.resize(at + (s + 15) / 16 * 16);
    memcpy(&values[at], args[i], s);
    at = values.size();
  }
  unsigned grid[3] = {gx, gy, gz};
  return later(q, [k, grid, values = std::move(values)]() mutable { return launch(k, grid, values); });
}
}

namespace vit {
#include "vit.cl"
}
#define ADD(name) call<vit::name>::add(#name, 256)
#define ADD_WIDE(n) \
  ADD(attention_##n), ADD(attention_probs_##n), ADD(attention_stats_##n), ADD(attention_grad_q_##n), ADD(attention_grad_kv_##n), ADD(attention_captures_##n)
__attribute__((constructor)) static void add() {
  ADD(linear_64), ADD(linear_128), ADD(patch_embed_64), ADD(linear_grad_64), ADD(patch_embed_grad_64);
  ADD(layernorm), ADD(layernorm_grad), ADD(copy_rows), ADD(gather_grad), ADD(pool), ADD(pool_grad), ADD(relative_bias), ADD(turn_grad), ADD(peak), ADD(words);
  ADD_WIDE(64), ADD_WIDE(128);
}
