// Stands in for CuPy's complex header when CuPy's own kernels are compiled for the host.
#pragma once
#ifdef GPUSIM_COMPLEX  // by host.py, for a kernel that names the type: <complex> brings the streams
#include <complex>
template <class T>
using complex = std::complex<T>;
namespace thrust {
template <class T>
using complex = std::complex<T>;
}
#endif
