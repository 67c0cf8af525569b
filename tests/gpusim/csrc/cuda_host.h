// cuda_host.h: run unmodified CUDA C kernels on the host CPU, for tests only.
//
// g++ gets this file by `-include`; host.py appends a table with one GPUSIM_KERNEL row per kernel.
// threads.cpp runs the threads. Memory faults are left to AddressSanitizer and
// UndefinedBehaviorSanitizer.
#pragma once
#include <cassert>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

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
#else
#define __shared__ static
#endif
#define GPUSIM_DYNAMIC_SHARED(T, name) T* name = (T*)gpusim::dynamic_shared
#define __CUDA_ARCH__ 900
#define GPUSIM_UNWATCHED __attribute__((no_sanitize("thread")))  // see watch.h

// Of threads.cpp, which runs the threads. Hidden: each kernel's library has its own.
#pragma GCC visibility push(hidden)
namespace gpusim {
static const unsigned MAX_THREADS = 1024;  // of a block
enum State : uint8_t { RUN, WAIT_BLOCK, WAIT_WARP, DONE };
extern uint3 thread_idx, block_idx;
extern dim3 block_dim, grid_dim;
extern unsigned lane, tlin;  // lane in the warp, linear thread number in the block
extern char* dynamic_shared;
// What a thread gives to a shuffle, and what the shuffle hands out when all have given: a lane that
// has read may give its next value while others have still to read.
extern uint64_t given[MAX_THREADS][2], handed[MAX_THREADS][2];
// A site is a source line; barriers with several phases add multiples of PHASE.
static const int PHASE = 1000000;
[[noreturn]] void fail(const char* what, int site);  // called by a thread of the kernel
void wait(State state, uint32_t mask, int site);
// Runs one launch; null on success, else the text of the fault.
const char* launch(void (*invoke)(void**), bool use_fibers, const unsigned* grid,
                   const unsigned* block, void** args, size_t shared_bytes, int order,
                   unsigned first_seed);
}  // namespace gpusim
#pragma GCC visibility pop

namespace gpusim {
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
GPUSIM_UNWATCHED static inline int block_vote(int predicate, Vote vote, int site) {
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
GPUSIM_UNWATCHED static inline T atomicAdd(T* p, U v) {
  T o = *p;
  *p = T(o + T(v));
  return o;
}
template <class T, class U>
GPUSIM_UNWATCHED static inline T atomicSub(T* p, U v) {
  T o = *p;
  *p = T(o - T(v));
  return o;
}
template <class T, class U>
GPUSIM_UNWATCHED static inline T atomicExch(T* p, U v) {
  T o = *p;
  *p = T(v);
  return o;
}
template <class T, class U>
GPUSIM_UNWATCHED static inline T atomicMax(T* p, U v) {
  T o = *p;
  if (T(v) > o) *p = T(v);
  return o;
}
template <class T, class U>
GPUSIM_UNWATCHED static inline T atomicMin(T* p, U v) {
  T o = *p;
  if (T(v) < o) *p = T(v);
  return o;
}
template <class T, class U>
GPUSIM_UNWATCHED static inline T atomicOr(T* p, U v) {
  T o = *p;
  *p = o | T(v);
  return o;
}
template <class T, class U>
GPUSIM_UNWATCHED static inline T atomicAnd(T* p, U v) {
  T o = *p;
  *p = o & T(v);
  return o;
}
template <class T, class U, class V>
GPUSIM_UNWATCHED static inline T atomicCAS(T* p, U c, V v) {
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
static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
  for (int shift = 0; shift < 32; shift += 8) c += (a >> shift & 255) * (b >> shift & 255);
  return c;
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return unsigned(((uint64_t(high) << 32) | low) >> (shift & 31));
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
