// The dialect on the host: a work-group is a ring of fibers, one a thread. A
// fiber runs until it needs the others, at a barrier or in an operation of its
// warp; so what a kernel may not rely on between two of them, that others have
// got further, it does not get.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

namespace standin {
struct fiber {
  void *sp;          // where it stands
  int index, state;  // thread in the group; what it waits for
  const char *where; // at which line
  uint32_t phase;    // operations of its warp so far
  size_t cursor;     // LOCAL memory named so far
};
struct group {
  fiber *now;
  int id[3], groups;
  char *local;
  uint32_t slots[2][32][32]; // what lanes tell their warp: phase, warp, lane
};
extern thread_local group g;
void yield(int state, const char *where);
[[noreturn]] void die(const char *what, const char *where);
enum { READY, AT_BARRIER, IN_WARP, DONE };
enum { LOCAL_BYTES = 48 << 10 };

inline void *local(size_t n) {
  void *p = g.local + g.now->cursor;
  g.now->cursor += (n + 31) / 16 * 16; // a gap of at least 16 bytes
  if (g.now->cursor > LOCAL_BYTES) die("out of LOCAL memory", "");
  return p;
}
} // namespace standin

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define HERE __FILE__ ":" STRING(__LINE__)
#define KERNEL(name, threads) static void name
#define FUNC static inline
#define GLOBAL
#define LOCAL
#define LOCAL_ARRAY(t, n, k) t *const n = (t *)standin::local(sizeof(t) * (k))
#define BARRIER() standin::yield(standin::AT_BARRIER, HERE)
#define THREAD (standin::g.now->index)
#define GROUP(i) (standin::g.id[i])
#define GROUPS (standin::g.groups)
#define FMA(a, b, c) fmaf(a, b, c)
#define SQRT(x) sqrtf(x)
#define MAXF(a, b) fmaxf(a, b)
#define HAS_WARP 1
typedef int64_t i64;
static inline int AS_INT(float x) { int u; memcpy(&u, &x, 4); return u; }
static inline float AS_FLOAT(int u) { float x; memcpy(&x, &u, 4); return x; }

static inline float __shfl_xor_sync(uint32_t, float v, int d) {
  auto *f = standin::g.now;
  auto *s = standin::g.slots[f->phase++ % 2][f->index / 32];
  memcpy(&s[f->index % 32], &v, 4);
  standin::yield(standin::IN_WARP, HERE);
  float got;
  memcpy(&got, &s[(f->index % 32) ^ d], 4);
  return got;
}
