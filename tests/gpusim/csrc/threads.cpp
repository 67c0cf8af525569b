// threads.cpp: run the threads of a kernel on the host CPU, for tests only.
//
// Compiled once and linked to each kernel, whose own text sees cuda_host.h only. Blocks run one at a
// time. If a kernel uses a barrier or a shuffle its threads are fibers (x86-64 stack switches),
// otherwise they are a plain loop. Faults (bad barriers, bad shuffles) end the launch with a message.
// Nothing of the C++ library is used: to link it takes three times as long as all the rest.
#include "cuda_host.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(GPUSIM_POISON)  // the ends of the section in which static shared memory lives
extern "C" char __start_gpusim_shared[] __attribute__((weak)),
    __stop_gpusim_shared[] __attribute__((weak));
#endif

namespace gpusim {
// ---------------------------------------------------------------- state of the running launch
uint3 thread_idx, block_idx;
dim3 block_dim, grid_dim;
unsigned lane, tlin;
char* dynamic_shared;
uint64_t given[MAX_THREADS][2], handed[MAX_THREADS][2];

struct Fiber {
  void* sp;
  char* stack;
  State state;
  uint32_t mask;
  int site;
  uint3 tid;
};
// Both ends of the stacks lie at odd distances: at those of pages all would fall into a few sets of
// the cache.
static const size_t STACK = (128 << 10) + 320,
                    SLACK = 1 << 20;  // slack below the stacks, so that an overflow is reported
static const uint64_t CANARY = 0x67707573696d2121ull;  // at the far end of each stack
static Fiber fibers[MAX_THREADS];
static unsigned stacks;  // the first so many fibers have one
static bool in_fiber, failed;
static char fault_text[512];
static jmp_buf plain_exit;  // way out of a kernel that runs without fibers
static void* sched_sp;
static void* sched_fake;  // the scheduler's stack as AddressSanitizer knows it
static const void* sched_bottom;
static size_t sched_size;
static void (*current)(void**);
static void** current_args;
static int mode;  // thread order: 0 forward, 1 reverse, 2 random
// The step of a warp in progress: its lanes in the order in which they run, and where it is.
static unsigned lanes[32], lanes_in_warp, turn;
static unsigned seed = 1;

static void describe(const char* what, int site) {
  if (failed) return;
  failed = true;
  snprintf(fault_text, sizeof fault_text, "%s at line %d, block (%u,%u,%u) thread (%u,%u,%u)", what,
           site % PHASE, block_idx.x, block_idx.y, block_idx.z, thread_idx.x, thread_idx.y,
           thread_idx.z);
}

// ---------------------------------------------------------------- fibers
__attribute__((naked, noinline, no_sanitize("address", "undefined"))) static void swap_stacks(
    void** /*save*/, void* /*load*/) {
  asm("push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15; mov %rsp,(%rdi); mov "
      "%rsi,%rsp;"
      "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret");
}
static void to_scheduler(bool last) {
  (void)last;
#ifdef __SANITIZE_ADDRESS__
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(last ? nullptr : &fake, sched_bottom, sched_size);
#endif
  swap_stacks(&fibers[tlin].sp, sched_sp);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake, &sched_bottom, &sched_size);
#endif
}
static void check_stack(const Fiber& f) {
  if (*(uint64_t*)f.stack != CANARY)
    describe("more than 128 KiB of local variables: fiber stack overflow", f.site);
}
static void fiber_main() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &sched_bottom, &sched_size);
#endif
  current(current_args);
  fibers[tlin].state = DONE;
  check_stack(fibers[tlin]);
  to_scheduler(true);
  abort();
}
static Fiber& enter(unsigned i) {
  Fiber& f = fibers[i];
  thread_idx = f.tid;
  tlin = i;
  lane = i & 31;
  return f;
}
static void resume(unsigned i) {
  Fiber& f = enter(i);
  in_fiber = true;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&sched_fake, f.stack, STACK);
#endif
  swap_stacks(&sched_sp, f.sp);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(sched_fake, nullptr, nullptr);
#endif
  in_fiber = false;
}
// Let the next lane of the warp run that can; where there is none, the scheduler.
static void to_next_lane() {
#ifndef __SANITIZE_ADDRESS__  // it is told of switches to and from the scheduler only
  while (!failed && ++turn < lanes_in_warp)
    if (fibers[lanes[turn]].state == RUN) {
      void** own = &fibers[tlin].sp;
      swap_stacks(own, enter(lanes[turn]).sp);
      return;
    }
#endif
  to_scheduler(false);
}
void fail(const char* what, int site) {
  describe(what, site);
  if (!in_fiber) longjmp(plain_exit, 1);
  fibers[tlin].state = DONE;
  to_scheduler(true);
  abort();
}
void wait(State state, uint32_t mask, int site) {
  if (!in_fiber) fail("a barrier or shuffle that the source scan did not see", site);
  Fiber& f = fibers[tlin];
  f.state = state;
  f.mask = mask;
  f.site = site;
  check_stack(f);
  to_next_lane();
}

}  // namespace gpusim

#ifdef GPUSIM_WATCH
#include "watch.h"
#else
namespace gpusim {
namespace watch {
static void begin_launch(const void*) {}
static void begin_block(size_t) {}
static void barrier() {}
}  // namespace watch
}  // namespace gpusim
#endif

namespace gpusim {
// ---------------------------------------------------------------- order of threads and blocks
static unsigned next_random() {
  seed = seed * 1664525u + 1013904223u;
  return seed >> 8;
}
static void make_order(unsigned* order, unsigned n) {
  for (unsigned i = 0; i < n; i++) order[i] = mode == 1 ? n - 1 - i : i;
  if (mode == 2)
    for (unsigned i = n - 1; i > 0; i--) {
      const unsigned k = next_random() % (i + 1), swapped = order[i];
      order[i] = order[k];
      order[k] = swapped;
    }
}

// Release the lanes whose whole mask has arrived at the same site.
static bool release_warp(unsigned begin, unsigned end) {
  bool any = false;
  for (unsigned i = begin; i < end; i++) {
    if (fibers[i].state != WAIT_WARP) continue;
    const uint32_t m = fibers[i].mask;
    bool all = true;
    for (unsigned j = begin; j < end && all; j++)
      if (m >> (j - begin) & 1)
        all =
            fibers[j].state == WAIT_WARP && fibers[j].mask == m && fibers[j].site == fibers[i].site;
    if (!all) continue;
    for (unsigned j = begin; j < end; j++)
      if (m >> (j - begin) & 1) {
        fibers[j].state = RUN, any = true;
        memcpy(handed[j], given[j], sizeof given[j]);
      }
  }
  return any;
}
static void fail_at(unsigned i, const char* what) {
  thread_idx = fibers[i].tid;
  describe(what, fibers[i].site);
}

static void run_block(unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    Fiber& f = fibers[i];
    f.state = RUN;
    f.site = 0;
    f.tid = {i % block_dim.x, i / block_dim.x % block_dim.y, i / block_dim.x / block_dim.y};
    void** sp = (void**)(f.stack + STACK - 64);
    *--sp = nullptr;
    *--sp = (void*)fiber_main;
    for (int k = 0; k < 6; k++) *--sp = nullptr;  // the registers that swap_stacks pops
    f.sp = sp;
  }
  const unsigned warps = (n + 31) / 32;
  unsigned order[MAX_THREADS / 32];
  while (!failed) {
    bool ran = false;
    make_order(order, warps);
    // forward: every warp takes one step in turn; else a warp runs as far ahead as it can before
    // the next one starts
    for (unsigned w = 0; w < warps; w++) {
      const unsigned begin = order[w] * 32, end = begin + 32 < n ? begin + 32 : n;
      for (bool go = true; go && !failed;) {
        go = false;
        lanes_in_warp = end - begin;
        make_order(lanes, lanes_in_warp);
        for (unsigned k = 0; k < lanes_in_warp; k++) lanes[k] += begin;
        for (turn = 0; turn < lanes_in_warp && !failed; turn++)
          if (fibers[lanes[turn]].state == RUN) {
            resume(lanes[turn]);
            go = ran = true;
          }
        ran |= release_warp(begin, end);
        if (mode == 0) break;
      }
    }
    if (failed) return;
    unsigned done = 0, at_barrier = 0, first = ~0u;
    for (unsigned i = 0; i < n; i++) {
      done += fibers[i].state == DONE;
      if (fibers[i].state == WAIT_BLOCK && !at_barrier++) first = i;
    }
    if (done == n) return;
    if (at_barrier && at_barrier + done == n) {
      if (done)
        return fail_at(first, "__syncthreads() after some threads of the block have returned");
      for (unsigned i = 0; i < n; i++)
        if (fibers[i].site != fibers[first].site)
          return fail_at(i, "threads wait at different __syncthreads()");
      for (unsigned i = 0; i < n; i++) fibers[i].state = RUN;
      watch::barrier();
    } else if (!ran) {
      for (unsigned i = 0; i < n; i++)
        if (fibers[i].state != DONE)
          return fail_at(
              i,
              "deadlock: divergent barrier, or a shuffle whose mask names a lane that never comes");
    }
  }
}
__attribute__((no_sanitize("address"))) static void poison_shared() {
#if defined(GPUSIM_POISON) && \
    defined(__SANITIZE_ADDRESS__)  // there memset would report the zones between the arrays
  for (volatile char* p = __start_gpusim_shared; p && p < __stop_gpusim_shared; p++)
    *p = (char)0xFF;
#elif defined(GPUSIM_POISON)
  if (__start_gpusim_shared)
    memset(__start_gpusim_shared, 0xFF, __stop_gpusim_shared - __start_gpusim_shared);
#endif
}

const char* launch(void (*invoke)(void**), bool use_fibers, const unsigned* grid,
                   const unsigned* block, void** args, size_t shared_bytes, int order,
                   unsigned first_seed) {
  const unsigned n = block[0] * block[1] * block[2];
  const size_t blocks = (size_t)grid[0] * grid[1] * grid[2];
  grid_dim = dim3(grid[0], grid[1], grid[2]);
  block_dim = dim3(block[0], block[1], block[2]);
  current = invoke;
  current_args = args;
  mode = order;
  seed = first_seed;
  failed = false;
  in_fiber = false;
  if (use_fibers && stacks < n) {
    const size_t more = n - stacks;
    char* base = (char*)mmap(nullptr, SLACK + more * STACK, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return "no memory for fiber stacks";
    for (size_t i = 0; i < more; i++) {
      char* stack = base + SLACK + i * STACK;
      *(uint64_t*)stack = CANARY;
      fibers[stacks++].stack = stack;
    }
  }
  static unsigned thread_order[MAX_THREADS];
  make_order(thread_order, n);
  void* shared = nullptr;
  if (shared_bytes && posix_memalign(&shared, 16, shared_bytes))
    return "no memory for dynamic shared memory";
  unsigned* block_order = mode ? (unsigned*)malloc(blocks * sizeof(unsigned)) : nullptr;
  if (mode) make_order(block_order, blocks);
  dynamic_shared = (char*)shared;
  watch::begin_launch(__builtin_frame_address(0));
  for (size_t q = 0; q < blocks && !failed; q++) {
    const size_t b = mode ? block_order[q] : q;
    block_idx = {unsigned(b % grid[0]), unsigned(b / grid[0] % grid[1]),
                 unsigned(b / grid[0] / grid[1])};
    poison_shared();
    if (shared) memset(shared, 0xFF, shared_bytes);
    watch::begin_block(shared_bytes);
    if (use_fibers) {
      run_block(n);
      continue;
    }
    if (setjmp(plain_exit)) break;
    for (unsigned k = 0; k < n; k++) {
      const unsigned i = thread_order[k];
      thread_idx = {i % block[0], i / block[0] % block[1], i / block[0] / block[1]};
      tlin = i;
      lane = i & 31;
      invoke(args);
    }
  }
  free(block_order);
  free(shared);
  dynamic_shared = nullptr;
  return failed ? fault_text : nullptr;
}
}  // namespace gpusim
