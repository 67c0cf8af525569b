// cuda_host.h: run unmodified CUDA C kernels on the host CPU, for tests only.
//
// g++ gets this file by `-include`; host.py appends a table with one GPUSIM_KERNEL row per kernel.
// Blocks run one at a time. If a kernel uses a barrier or a shuffle its threads are fibers (x86-64
// stack switches), otherwise they are a plain loop. Faults (bad barriers, bad shuffles) end the
// launch with a message; memory faults are left to AddressSanitizer and UndefinedBehaviorSanitizer.
#pragma once
#include <cassert>
#include <cfloat>
#include <climits>
#include <cmath>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>
#include <sys/mman.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// ---------------------------------------------------------------- types and keywords
struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
// clang-format off
#define GPUSIM_VECTOR(N, T)                                                          \
  struct alignas(2 * sizeof(T)) N##2 { T x, y; };                                    \
  struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) N##4 { T x, y, z, w; };    \
  static inline N##2 make_##N##2(T x, T y) { return {x, y}; }                        \
  static inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
#define GPUSIM_VECTOR3(N, T)                                                         \
  struct N##3 { T x, y, z; };                                                        \
  static inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }
GPUSIM_VECTOR(float, float)
GPUSIM_VECTOR(int, int)
GPUSIM_VECTOR(uint, unsigned)
GPUSIM_VECTOR(double, double)
GPUSIM_VECTOR(uchar, unsigned char)
GPUSIM_VECTOR3(float, float)
GPUSIM_VECTOR3(int, int)
GPUSIM_VECTOR3(double, double)
GPUSIM_VECTOR3(uchar, unsigned char)
static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
// clang-format on

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __managed__
#define __launch_bounds__(...)
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#ifdef GPUSIM_POISON  // static shared memory lives in one section, which is filled with NaN before
                      // each block
#define __shared__ static __attribute__((section("gpusim_shared")))
extern "C" char __start_gpusim_shared[] __attribute__((weak)),
    __stop_gpusim_shared[] __attribute__((weak));
#else
#define __shared__ static
#endif
#define GPUSIM_DYNAMIC_SHARED(T, name) T* name = (T*)gpusim::dynamic_shared
#define __CUDA_ARCH__ 900

namespace gpusim {
// ---------------------------------------------------------------- state of the running launch
enum State : uint8_t { RUN, WAIT_BLOCK, WAIT_WARP, DONE };
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
static uint3 thread_idx, block_idx;
static dim3 block_dim, grid_dim;
static unsigned lane, tlin;  // lane in the warp, linear thread number in the block
static char* dynamic_shared;
static std::vector<Fiber> fibers;
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
static unsigned seed = 1;
// What a thread gives to a shuffle, and what the shuffle hands out when all have given: a lane that
// has read may give its next value while others have still to read.
static uint64_t given[32 * 32][2], handed[32 * 32][2];

// A site is a source line; barriers with several phases add multiples of PHASE.
static const int PHASE = 1000000;
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
static void fiber_main() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &sched_bottom, &sched_size);
#endif
  current(current_args);
  fibers[tlin].state = DONE;
  to_scheduler(true);
  abort();
}
static void resume(unsigned i) {
  Fiber& f = fibers[i];
  thread_idx = f.tid;
  tlin = i;
  lane = i & 31;
  in_fiber = true;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&sched_fake, f.stack, STACK);
#endif
  swap_stacks(&sched_sp, f.sp);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(sched_fake, nullptr, nullptr);
#endif
  in_fiber = false;
  if (*(uint64_t*)f.stack != CANARY)
    describe("more than 128 KiB of local variables: fiber stack overflow", f.site);
}
[[noreturn]] static void fail(const char* what, int site) {  // called by a thread of the kernel
  describe(what, site);
  if (!in_fiber) longjmp(plain_exit, 1);
  fibers[tlin].state = DONE;
  to_scheduler(true);
  abort();
}
static void wait(State state, uint32_t mask, int site) {
  if (!in_fiber) fail("a barrier or shuffle that the source scan did not see", site);
  Fiber& f = fibers[tlin];
  f.state = state;
  f.mask = mask;
  f.site = site;
  to_scheduler(false);
}

// ---------------------------------------------------------------- order of threads and blocks
static unsigned next_random() {
  seed = seed * 1664525u + 1013904223u;
  return seed >> 8;
}
static void make_order(unsigned* order, unsigned n) {
  for (unsigned i = 0; i < n; i++) order[i] = mode == 1 ? n - 1 - i : i;
  if (mode == 2)
    for (unsigned i = n - 1; i > 0; i--) std::swap(order[i], order[next_random() % (i + 1)]);
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
  std::vector<unsigned> order(warps);
  while (!failed) {
    bool ran = false;
    make_order(order.data(), warps);
    // forward: every warp takes one step in turn; else a warp runs as far ahead as it can before
    // the next one starts
    for (unsigned w : order) {
      const unsigned begin = w * 32, end = begin + 32 < n ? begin + 32 : n;
      for (bool go = true; go && !failed;) {
        go = false;
        unsigned lanes[32];
        make_order(lanes, end - begin);
        for (unsigned k = 0; k < end - begin && !failed; k++)
          if (fibers[begin + lanes[k]].state == RUN) {
            resume(begin + lanes[k]);
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

// Runs one launch; null on success, else the text of the fault.
static const char* launch(void (*invoke)(void**), bool use_fibers, const unsigned* grid,
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
  if (use_fibers && fibers.size() < n) {
    const size_t more = n - fibers.size();
    char* base = (char*)mmap(nullptr, SLACK + more * STACK, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return "no memory for fiber stacks";
    for (size_t i = 0; i < more; i++) {
      char* stack = base + SLACK + i * STACK;
      *(uint64_t*)stack = CANARY;
      fibers.push_back(Fiber{nullptr, stack, DONE, 0, 0, {0, 0, 0}});
    }
  }
  static unsigned thread_order[1024];
  make_order(thread_order, n);
  std::vector<unsigned> block_order(mode ? blocks : 0);
  if (mode) make_order(block_order.data(), blocks);
  void* shared = nullptr;
  if (shared_bytes && posix_memalign(&shared, 16, shared_bytes))
    return "no memory for dynamic shared memory";
  dynamic_shared = (char*)shared;
  for (size_t q = 0; q < blocks && !failed; q++) {
    const size_t b = mode ? block_order[q] : q;
    block_idx = {unsigned(b % grid[0]), unsigned(b / grid[0] % grid[1]),
                 unsigned(b / grid[0] / grid[1])};
    poison_shared();
    if (shared) memset(shared, 0xFF, shared_bytes);
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
  free(shared);
  dynamic_shared = nullptr;
  return failed ? fault_text : nullptr;
}

// ---------------------------------------------------------------- warp operations
template <class T>
static T shuffle(uint32_t mask, T value, int source, int site) {  // source: absolute lane
  static_assert(sizeof(T) <= 16, "shuffle type");
  if (!(mask >> lane & 1)) fail("shuffle by a lane that is not in its own mask", site);
  memcpy(given[tlin], &value, sizeof value);
  wait(WAIT_WARP, mask, site);
  if (!(mask >> (source & 31) & 1)) fail("shuffle reads from a lane outside the mask", site);
  T r;
  memcpy(&r, handed[(tlin & ~31u) + (source & 31)], sizeof r);
  return r;
}
static inline uint32_t ballot(uint32_t mask, int predicate, int site) {
  uint32_t r = 0;
  given[tlin][0] = !!predicate;
  wait(WAIT_WARP, mask, site);
  for (int i = 0; i < 32; i++)
    if (mask >> i & 1) r |= uint32_t(handed[(tlin & ~31u) + i][0]) << i;
  return r;
}
enum Vote { COUNT, AND, OR };
static inline int block_vote(int predicate, Vote vote, int site) {
  static int result;  // one block runs at a time
  wait(WAIT_BLOCK, 0, site);
  result = vote == AND;
  wait(WAIT_BLOCK, 0, site + PHASE);
  if (vote == COUNT)
    result += !!predicate;
  else if (vote == AND)
    result &= !!predicate;
  else
    result |= !!predicate;
  wait(WAIT_BLOCK, 0, site + 2 * PHASE);
  return result;
}
static inline uint32_t mask_or_all(uint32_t m = 0xffffffffu) {
  return m;
}
static inline int lane_down(int d, int w = 32) {
  int l = lane, s = l + d;
  return (l & ~(w - 1)) == (s & ~(w - 1)) ? s : l;
}
static inline int lane_up(int d, int w = 32) {
  int l = lane, s = l - d;
  return s >= (l & ~(w - 1)) ? s : l;
}
static inline int lane_xor(int m, int w = 32) {
  int l = lane, s = l ^ m;
  return (s & ~(w - 1)) <= (l & ~(w - 1)) ? s : l;
}
static inline int lane_index(int i, int w = 32) {
  int l = lane;
  return (l & ~(w - 1)) + (i & (w - 1));
}

// ---------------------------------------------------------------- the kernel table
// Parameter codes: f4, i4, u8 ..., *f4 (pointer), *cf4 (pointer to const), s16 (struct of 16
// bytes), *v (void pointer).
template <class T>
static void code(char*& o) {
  if constexpr (std::is_pointer_v<T>) {
    *o++ = '*';
    if (std::is_const_v<std::remove_pointer_t<T>>) *o++ = 'c';
    code<std::remove_cv_t<std::remove_pointer_t<T>>>(o);
  } else if constexpr (std::is_void_v<T>) {
    *o++ = 'v';
  } else {
    const char c = std::is_same_v<T, bool>       ? 'b'
                   : std::is_floating_point_v<T> ? 'f'
                   : std::is_integral_v<T>       ? (std::is_unsigned_v<T> ? 'u' : 'i')
                                                 : 's';
    o += sprintf(o, "%c%zu", c, sizeof(T));
  }
}
template <auto F>
struct KernelOf;
template <class... A, void (*F)(A...)>
struct KernelOf<F> {
  template <size_t... I>
  static void call(void** p, std::index_sequence<I...>) {
    F(*(std::remove_reference_t<A>*)p[I]...);
  }
  static void invoke(void** p) { call(p, std::index_sequence_for<A...>{}); }
  static void signature(char* o) {
    ((code<std::remove_cv_t<A>>(o), *o++ = ','), ...);
    *o = 0;
  }
};
struct Entry {
  const char* name;
  void (*invoke)(void**);
  void (*signature)(char*);
  int fibers, max_threads;
  const char* (*launch)(void (*)(void**), bool, const unsigned*, const unsigned*, void**, size_t,
                        int, unsigned);
};
}  // namespace gpusim
#define GPUSIM_TABLE_BEGIN \
  extern "C" __attribute__((visibility("default"))) const gpusim::Entry gpusim_table[] = {
#define GPUSIM_KERNEL(name, fibers, max_threads, ...) \
  {name,                                              \
   &gpusim::KernelOf<(__VA_ARGS__)>::invoke,          \
   &gpusim::KernelOf<(__VA_ARGS__)>::signature,       \
   fibers,                                            \
   (int)(max_threads),                                \
   &gpusim::launch},
#define GPUSIM_TABLE_END                     \
  {                                          \
    nullptr, nullptr, nullptr, 0, 0, nullptr \
  }                                          \
  }                                          \
  ;

// ---------------------------------------------------------------- CUDA's built-in names
#define threadIdx (gpusim::thread_idx)
#define blockIdx (gpusim::block_idx)
#define blockDim (gpusim::block_dim)
#define gridDim (gpusim::grid_dim)
#define warpSize 32
#define __syncthreads() gpusim::wait(gpusim::WAIT_BLOCK, 0, __LINE__)
#define __syncthreads_count(p) gpusim::block_vote((p), gpusim::COUNT, __LINE__)
#define __syncthreads_and(p) gpusim::block_vote((p), gpusim::AND, __LINE__)
#define __syncthreads_or(p) gpusim::block_vote((p), gpusim::OR, __LINE__)
#define __syncwarp(...) gpusim::wait(gpusim::WAIT_WARP, gpusim::mask_or_all(__VA_ARGS__), __LINE__)
#define __shfl_down_sync(m, v, ...) \
  gpusim::shuffle((m), (v), gpusim::lane_down(__VA_ARGS__), __LINE__)
#define __shfl_up_sync(m, v, ...) gpusim::shuffle((m), (v), gpusim::lane_up(__VA_ARGS__), __LINE__)
#define __shfl_xor_sync(m, v, ...) \
  gpusim::shuffle((m), (v), gpusim::lane_xor(__VA_ARGS__), __LINE__)
#define __shfl_sync(m, v, ...) gpusim::shuffle((m), (v), gpusim::lane_index(__VA_ARGS__), __LINE__)
#define __ballot_sync(m, p) gpusim::ballot((m), (p), __LINE__)
#define __any_sync(m, p) (gpusim::ballot((m), (p), __LINE__) != 0)
#define __all_sync(m, p) (gpusim::ballot((m), (p), __LINE__) == (m))
#define __threadfence() ((void)0)
#define __threadfence_block() ((void)0)

// Atomics: one fiber runs at a time and never yields inside.
template <class T, class U>
static inline T atomicAdd(T* p, U v) {
  T o = *p;
  *p = T(o + T(v));
  return o;
}
template <class T, class U>
static inline T atomicSub(T* p, U v) {
  T o = *p;
  *p = T(o - T(v));
  return o;
}
template <class T, class U>
static inline T atomicExch(T* p, U v) {
  T o = *p;
  *p = T(v);
  return o;
}
template <class T, class U>
static inline T atomicMax(T* p, U v) {
  T o = *p;
  if (T(v) > o) *p = T(v);
  return o;
}
template <class T, class U>
static inline T atomicMin(T* p, U v) {
  T o = *p;
  if (T(v) < o) *p = T(v);
  return o;
}
template <class T, class U>
static inline T atomicOr(T* p, U v) {
  T o = *p;
  *p = o | T(v);
  return o;
}
template <class T, class U>
static inline T atomicAnd(T* p, U v) {
  T o = *p;
  *p = o & T(v);
  return o;
}
template <class T, class U, class V>
static inline T atomicCAS(T* p, U c, V v) {
  T o = *p;
  if (o == T(c)) *p = T(v);
  return o;
}

// Fast-math names map to the exact functions: their reduced accuracy is not modelled.
using std::isfinite;
using std::isinf;
using std::isnan;
using std::signbit;
template <class T>
static inline T __ldg(const T* p) {
  return *p;
}
template <class T>
static inline T __ldcs(const T* p) {
  return *p;
}
template <class T>
static inline T __ldcg(const T* p) {
  return *p;
}
#define __expf expf
#define __logf logf
#define __log2f log2f
#define __exp10f exp10f
#define __powf powf
#define __sinf sinf
#define __cosf cosf
#define __tanf tanf
#define __sincosf gpusim_sincosf
static inline void gpusim_sincosf(float x, float* s, float* c) {
  *s = sinf(x);
  *c = cosf(x);
}
static inline void sincospif(float x, float* s, float* c) {
  *s = sin(M_PI * x);
  *c = cos(M_PI * x);
}
static inline float __fdividef(float a, float b) {
  return a / b;
}
static inline float __fdiv_rn(float a, float b) {
  return a / b;
}
static inline float __fmul_rn(float a, float b) {
  return a * b;
}
static inline float __fadd_rn(float a, float b) {
  return a + b;
}
static inline float __fmaf_rn(float a, float b, float c) {
  return fmaf(a, b, c);
}
static inline float __frcp_rn(float a) {
  return 1.0f / a;
}
static inline float __fsqrt_rn(float a) {
  return sqrtf(a);
}
static inline float __saturatef(float a) {
  return a > 1 ? 1 : a > 0 ? a : 0;
}
static inline float rsqrtf(float a) {
  return 1.0f / sqrtf(a);
}
static inline double rsqrt(double a) {
  return 1.0 / sqrt(a);
}
static inline int __float2int_rn(float x) {
  return (int)rintf(x);
}
static inline int __float2int_rz(float x) {
  return (int)x;
}
static inline int __float2int_rd(float x) {
  return (int)floorf(x);
}
static inline float __int2float_rn(int x) {
  return (float)x;
}
static inline float __uint2float_rn(unsigned x) {
  return (float)x;
}
static inline unsigned __umulhi(unsigned a, unsigned b) {
  return uint64_t(a) * b >> 32;
}
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned __int128)a * b >> 64;
}
static inline int __mulhi(int a, int b) {
  return int64_t(a) * b >> 32;
}
static inline int __popc(unsigned x) {
  return __builtin_popcount(x);
}
static inline int __popcll(unsigned long long x) {
  return __builtin_popcountll(x);
}
static inline int __clz(int x) {
  return x ? __builtin_clz(x) : 32;
}
static inline int __clzll(long long x) {
  return x ? __builtin_clzll(x) : 64;
}
static inline int __ffs(int x) {
  return __builtin_ffs(x);
}
template <class A, class B>
static inline A gpusim_bits(B b) {
  A a;
  memcpy(&a, &b, sizeof a);
  return a;
}
static inline int __float_as_int(float f) {
  return gpusim_bits<int>(f);
}
static inline unsigned __float_as_uint(float f) {
  return gpusim_bits<unsigned>(f);
}
static inline float __int_as_float(int i) {
  return gpusim_bits<float>(i);
}
static inline float __uint_as_float(unsigned i) {
  return gpusim_bits<float>(i);
}
#define GPUSIM_MINMAX(T)          \
  static inline T min(T a, T b) { \
    return b < a ? b : a;         \
  }                               \
  static inline T max(T a, T b) { \
    return a < b ? b : a;         \
  }
GPUSIM_MINMAX(int)
GPUSIM_MINMAX(unsigned) GPUSIM_MINMAX(long) GPUSIM_MINMAX(unsigned long) GPUSIM_MINMAX(long long)
    GPUSIM_MINMAX(unsigned long long) static inline float min(float a, float b) {
  return fminf(a, b);
}
static inline float max(float a, float b) {
  return fmaxf(a, b);
}
static inline double min(double a, double b) {
  return fmin(a, b);
}
static inline double max(double a, double b) {
  return fmax(a, b);
}
