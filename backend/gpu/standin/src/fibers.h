// How a group of threads runs on one thread of the host: each is a fiber of its
// own stack, warps go one after the other, and what waits at a barrier goes on
// when all have come. LOCAL memory is not a number at first.
#pragma once
#include "standin.h"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>

#ifndef __x86_64__
#error the switch of fibers is written for x86-64
#endif
// switch_to(&from, to): callee-saved registers go on the stack of the one and
// come from that of the other.
extern "C" void standin_switch(void **from, void *to);
asm(".text\n.globl standin_switch\n.hidden standin_switch\nstandin_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");

namespace standin {
thread_local group g;
static thread_local void *scheduler;

void die(const char *what, const char *where) {
  fprintf(stderr, "standin: %s, thread %d of group (%d, %d, %d), %s\n", what, g.now ? g.now->index : -1, g.id[0], g.id[1], g.id[2], where);
  abort();
}

void yield(int state, const char *where) {
  g.now->state = state, g.now->where = where;
  standin_switch(&g.now->sp, scheduler);
}

using body = void (*)(void **args);
static thread_local body entry;
static thread_local void **entry_args;

static void start() {
  entry(entry_args);
  yield(DONE, "its end");
  abort();
}

enum { STACK = 32 << 10, MOST = 256 };

// run runs one group of n threads.
static void run(body f, void **args, int n, bool reverse) {
  static thread_local struct room {
    char *stacks = (char *)mmap(nullptr, (size_t)STACK * MOST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *memory = (char *)aligned_alloc(1024, LOCAL_BYTES);
    fiber *fibers = new fiber[MOST];
    ~room() { munmap(stacks, (size_t)STACK * MOST), free(memory), delete[] fibers; }
  } r;
  fiber *fibers = r.fibers;
  memset(r.memory, 0xff, LOCAL_BYTES); // not a number
  g.local = r.memory, entry = f, entry_args = args;
  for (int i = 0; i < n; i++) {
    void **top = (void **)(r.stacks + (size_t)STACK * (i + 1)) - 2;
    top[0] = (void *)start;
    fibers[i] = {top - 6, i, READY, "", 0, 0};
  }
  auto resume = [&](int i) {
    g.now = &fibers[i];
    standin_switch(&scheduler, fibers[i].sp);
  };
  auto fail = [&](int i, const char *what) { g.now = &fibers[i], die(what, fibers[i].where); };
  int warps = (n + 31) / 32;
  // step runs the lanes of a warp until each waits for somebody outside of it.
  auto step = [&](int w) {
    int lo = w * 32, hi = std::min(lo + 32, n);
    for (;;) {
      for (int j = lo; j < hi; j++) {
        int i = reverse ? hi - 1 - (j - lo) : j;
        if (fibers[i].state == READY) resume(i);
      }
      int together = 0, one = -1;
      for (int i = lo; i < hi; i++)
        if (fibers[i].state == IN_WARP) together++, one = one < 0 ? i : one;
      if (!together) return;
      for (int i = lo; i < hi; i++) {
        if (fibers[i].state != IN_WARP || fibers[i].where != fibers[one].where) fail(i, "a warp parts: not all lanes come to an operation of the warp");
        fibers[i].state = READY;
      }
    }
  };
  for (;;) {
    for (int k = 0; k < warps; k++) step(reverse ? warps - 1 - k : k);
    int there = 0, done = 0, one = -1;
    for (int i = 0; i < n; i++) {
      if (fibers[i].state == AT_BARRIER) there++, one = one < 0 ? i : one;
      if (fibers[i].state == DONE) done++;
    }
    if (done == n) return;
    for (int i = 0; i < n; i++) {
      if (fibers[i].state != AT_BARRIER || fibers[i].where != fibers[one].where) fail(i, "a barrier that not all threads come to");
      fibers[i].state = READY;
    }
  }
}
} // namespace standin
