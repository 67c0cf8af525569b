// Stands in for CuPy's complex header when CuPy's own kernels are compiled for the host.
#pragma once
#include <complex>
template <class T>
using complex = std::complex<T>;
namespace thrust {
template <class T>
using complex = std::complex<T>;
}
