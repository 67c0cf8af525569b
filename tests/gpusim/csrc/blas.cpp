// blas.cpp -> libcublas.so.12: the few cuBLAS calls that cupy.matmul and cupy.dot make, as plain
// loops. Every other entry point (stubs.inc, generated from the names CuPy wants) reports itself
// and returns an error.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
enum {
  SUCCESS = 0,
  INVALID_VALUE = 7,
  EXECUTION_FAILED = 13,
  NOT_SUPPORTED = 15,
  F32 = 0,
  F64 = 1
};
extern "C" int gpusim_enqueue(void*, int, bool (*)(void*), void*, void (*)(void*));
extern "C" int gpusim_inside(const void*, size_t);
struct Handle {
  void* stream = nullptr;
  int pointer_mode = 0, math_mode = 0;
};
using Work =
    std::function<bool()>;  // false: a pointer that the device only now reads leads nowhere
static int enqueue(
    Handle* h,
    Work work) {  // the work owns copies of alpha and beta, so it may run later or again (graph)
  return gpusim_enqueue(
             h->stream, 0, [](void* w) { return (*(Work*)w)(); }, new Work(std::move(work)),
             [](void* w) { delete (Work*)w; })
             ? EXECUTION_FAILED
             : SUCCESS;
}
// Column-major C[m,n] = alpha * op(A) op(B) + beta * C
template <class T>
static void gemm(bool ta, bool tb, int m, int n, int k, T alpha, const T* A, long lda, const T* B,
                 long ldb, T beta, T* C, long ldc) {
  for (int j = 0; j < n; j++) {
    T* c = C + j * ldc;
    for (int i = 0; i < m; i++) c[i] = beta == 0 ? 0 : c[i] * beta;
    if (ta) {
      for (int i = 0; i < m; i++) {
        T s = 0;
        for (int p = 0; p < k; p++) s += A[i * lda + p] * (tb ? B[j + p * ldb] : B[p + j * ldb]);
        c[i] += alpha * s;
      }
    } else {
      for (int p = 0; p < k; p++) {
        const T b = alpha * (tb ? B[j + p * ldb] : B[p + j * ldb]), *a = A + p * lda;
        for (int i = 0; i < m; i++) c[i] += a[i] * b;
      }
    }
  }
}
template <class T>
static bool inside(const void* p, long rows, long cols, long ld, long long stride, int count) {
  if (rows <= 0 || cols <= 0 || count <= 0) return true;
  return ld >= rows &&
         gpusim_inside(p, (stride * (count - 1) + ld * (cols - 1) + rows) * sizeof(T));
}
template <class T>
static bool all_inside(bool ta, bool tb, int m, int n, int k, const T* A, int lda, long long sa,
                       const T* B, int ldb, long long sb, const T* C, int ldc, long long sc,
                       int count) {
  if (inside<T>(A, ta ? k : m, ta ? m : k, lda, sa, count) &&
      inside<T>(B, tb ? n : k, tb ? k : n, ldb, sb, count) && inside<T>(C, m, n, ldc, sc, count))
    return true;
  fprintf(stderr, "gpusim: a matrix of a GEMM lies outside its device allocation\n");
  return false;
}
template <class T>
struct Scalar {  // alpha or beta: read at once from the host, or when the work runs from the device
  const T* at;
  T value;
  bool on_device;
  Scalar(const Handle* h, const T* p)
      : at(p), value(h->pointer_mode ? T(0) : *p), on_device(h->pointer_mode) {}
  operator T() const { return on_device ? *at : value; }
};
template <class T>
static int batched(Handle* h, bool ta, bool tb, int m, int n, int k, const void* alpha,
                   const void* A, int lda, long long sa, const void* B, int ldb, long long sb,
                   const void* beta, void* C, int ldc, long long sc, int count) {
  if (!all_inside<T>(ta, tb, m, n, k, (const T*)A, lda, sa, (const T*)B, ldb, sb, (const T*)C, ldc,
                     sc, count))
    return INVALID_VALUE;
  const Scalar<T> a(h, (const T*)alpha), b(h, (const T*)beta);
  return enqueue(h, [=] {
    for (int q = 0; q < count; q++)
      gemm<T>(ta, tb, m, n, k, a, (const T*)A + q * sa, lda, (const T*)B + q * sb, ldb, b,
              (T*)C + q * sc, ldc);
    return true;
  });
}
// The matrices are named by arrays of pointers in device memory, so they are checked when the work
// runs.
template <class T>
static int pointer_batched(Handle* h, bool ta, bool tb, int m, int n, int k, const T* alpha,
                           const T* const* A, int lda, const T* const* B, int ldb, const T* beta,
                           T* const* C, int ldc, int count) {
  for (const void* pointers : {(const void*)A, (const void*)B, (const void*)C})
    if (!inside<void*>(pointers, count, 1, count, 0, 1)) {
      fprintf(stderr,
              "gpusim: a list of matrices of a batched GEMM lies outside its device allocation\n");
      return INVALID_VALUE;
    }
  const Scalar<T> a(h, alpha), b(h, beta);
  return enqueue(h, [=] {
    for (int q = 0; q < count; q++) {
      if (!all_inside<T>(ta, tb, m, n, k, A[q], lda, 0, B[q], ldb, 0, C[q], ldc, 0, 1))
        return false;
      gemm<T>(ta, tb, m, n, k, a, A[q], lda, B[q], ldb, b, C[q], ldc);
    }
    return true;
  });
}
template <class T>
static int dot(Handle* h, int n, const T* x, int ix, const T* y, int iy, T* r) {
  return enqueue(h, [=] {
    double s = 0;
    for (int i = 0; i < n; i++) s += (double)x[i * ix] * y[i * iy];
    *r = s;
    return true;
  });
}
template <class T>
static int gemv(Handle* h, int t, int m, int n, const T* alpha, const T* A, int lda, const T* x,
                int ix, const T* beta, T* y, int iy) {
  const Scalar<T> a(h, alpha), b(h, beta);
  return enqueue(h, [=] {
    const int rows = t ? n : m, cols = t ? m : n;
    for (int i = 0; i < rows; i++) {
      T s = 0;
      for (int j = 0; j < cols; j++)
        s += (t ? A[j + (long)i * lda] : A[i + (long)j * lda]) * x[j * ix];
      y[i * iy] = a * s + (b == 0 ? 0 : b * y[i * iy]);
    }
    return true;
  });
}
#define API extern "C" __attribute__((visibility("default"))) int
API cublasCreate_v2(Handle** h) {
  *h = new Handle;
  return SUCCESS;
}
API cublasDestroy_v2(Handle* h) {
  delete h;
  return SUCCESS;
}
API cublasSetStream_v2(Handle* h, void* s) {
  h->stream = s;
  return SUCCESS;
}
API cublasGetStream_v2(Handle* h, void** s) {
  *s = h->stream;
  return SUCCESS;
}
API cublasSetPointerMode_v2(Handle* h, int m) {
  h->pointer_mode = m;
  return SUCCESS;
}
API cublasGetPointerMode_v2(Handle* h, int* m) {
  *m = h->pointer_mode;
  return SUCCESS;
}
API cublasSetMathMode(Handle* h, int m) {
  h->math_mode = m;
  return SUCCESS;
}
API cublasGetMathMode(Handle* h, int* m) {
  *m = h->math_mode;
  return SUCCESS;
}
API cublasGetVersion_v2(Handle*, int* v) {
  *v = 120900;
  return SUCCESS;
}
API cublasGemmStridedBatchedEx(Handle* h, int ta, int tb, int m, int n, int k, const void* alpha,
                               const void* A, int at, int lda, long long sa, const void* B, int bt,
                               int ldb, long long sb, const void* beta, void* C, int ct, int ldc,
                               long long sc, int count, int, int) {
  if (at != bt || at != ct || (at != F32 && at != F64)) return NOT_SUPPORTED;
  return (at == F32 ? batched<float> : batched<double>)(h, ta, tb, m, n, k, alpha, A, lda, sa, B,
                                                        ldb, sb, beta, C, ldc, sc, count);
}
API cublasGemmEx(Handle* h, int ta, int tb, int m, int n, int k, const void* alpha, const void* A,
                 int at, int lda, const void* B, int bt, int ldb, const void* beta, void* C, int ct,
                 int ldc, int compute, int algo) {
  return cublasGemmStridedBatchedEx(h, ta, tb, m, n, k, alpha, A, at, lda, 0, B, bt, ldb, 0, beta,
                                    C, ct, ldc, 0, 1, compute, algo);
}
API cublasSgemm_v2(Handle* h, int ta, int tb, int m, int n, int k, const float* alpha,
                   const float* A, int lda, const float* B, int ldb, const float* beta, float* C,
                   int ldc) {
  return batched<float>(h, ta, tb, m, n, k, alpha, A, lda, 0, B, ldb, 0, beta, C, ldc, 0, 1);
}
API cublasSgemmStridedBatched(Handle* h, int ta, int tb, int m, int n, int k, const float* alpha,
                              const float* A, int lda, long long sa, const float* B, int ldb,
                              long long sb, const float* beta, float* C, int ldc, long long sc,
                              int count) {
  return batched<float>(h, ta, tb, m, n, k, alpha, A, lda, sa, B, ldb, sb, beta, C, ldc, sc, count);
}
API cublasSgemmBatched(Handle* h, int ta, int tb, int m, int n, int k, const float* alpha,
                       const float* const* A, int lda, const float* const* B, int ldb,
                       const float* beta, float* const* C, int ldc, int count) {
  return pointer_batched<float>(h, ta, tb, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc, count);
}
API cublasSdot_v2(Handle* h, int n, const float* x, int ix, const float* y, int iy, float* r) {
  return dot<float>(h, n, x, ix, y, iy, r);
}
API cublasSgemv_v2(Handle* h, int t, int m, int n, const float* alpha, const float* A, int lda,
                   const float* x, int ix, const float* beta, float* y, int iy) {
  return gemv<float>(h, t, m, n, alpha, A, lda, x, ix, beta, y, iy);
}
API cublasDgemm_v2(Handle* h, int ta, int tb, int m, int n, int k, const double* alpha,
                   const double* A, int lda, const double* B, int ldb, const double* beta,
                   double* C, int ldc) {
  return batched<double>(h, ta, tb, m, n, k, alpha, A, lda, 0, B, ldb, 0, beta, C, ldc, 0, 1);
}
API cublasDgemmStridedBatched(Handle* h, int ta, int tb, int m, int n, int k, const double* alpha,
                              const double* A, int lda, long long sa, const double* B, int ldb,
                              long long sb, const double* beta, double* C, int ldc, long long sc,
                              int count) {
  return batched<double>(h, ta, tb, m, n, k, alpha, A, lda, sa, B, ldb, sb, beta, C, ldc, sc,
                         count);
}
API cublasDgemmBatched(Handle* h, int ta, int tb, int m, int n, int k, const double* alpha,
                       const double* const* A, int lda, const double* const* B, int ldb,
                       const double* beta, double* const* C, int ldc, int count) {
  return pointer_batched<double>(h, ta, tb, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc, count);
}
API cublasDdot_v2(Handle* h, int n, const double* x, int ix, const double* y, int iy, double* r) {
  return dot<double>(h, n, x, ix, y, iy, r);
}
API cublasDgemv_v2(Handle* h, int t, int m, int n, const double* alpha, const double* A, int lda,
                   const double* x, int ix, const double* beta, double* y, int iy) {
  return gemv<double>(h, t, m, n, alpha, A, lda, x, ix, beta, y, iy);
}
static int not_simulated(const char* name) {
  fprintf(stderr, "gpusim: %s is not simulated\n", name);
  return NOT_SUPPORTED;
}
#include "stubs.inc"
