// Stands in for CuPy's half type when CuPy's own kernels are compiled for the host: storage and
// conversion only.
#pragma once
class float16 {
  _Float16 v;

 public:
  float16() {}
  template <class T>
  float16(T x) : v((_Float16)(float)x) {}
  operator float() const { return (float)v; }
  int isnan() const { return v != v; }
  float16 operator-() const { return float16(-(float)v); }
};
