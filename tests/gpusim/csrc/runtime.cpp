// runtime.cpp -> _gpusim_runtime.so: C functions that take the place of CuPy's thin wrappers over
// the CUDA runtime (the capsules in cupy_backends.cuda.api.runtime.__pyx_capi__), on top of the
// simulated driver in driver.cpp.
#include <Python.h>
#include <cstdint>
#include <cstring>
#include <string>
typedef int Result;
typedef intptr_t Int;
typedef uintptr_t Ptr;
extern "C" {
Result cuMemAlloc_v2(Ptr*, size_t), cuMemFree_v2(Ptr), cuMemHostAlloc(void**, size_t, unsigned),
    cuMemFreeHost(void*);
Result cuMemGetInfo_v2(size_t*, size_t*), cuMemcpy(Ptr, Ptr, size_t),
    cuMemcpyAsync(Ptr, Ptr, size_t, void*);
Result cuMemcpyHtoD_v2(Ptr, const void*, size_t),
    cuMemcpyHtoDAsync_v2(Ptr, const void*, size_t, void*);
Result cuMemcpyDtoH_v2(void*, Ptr, size_t), cuMemcpyDtoHAsync_v2(void*, Ptr, size_t, void*);
Result cuMemsetD8Async(Ptr, unsigned char, size_t, void*), cuPointerGetAttribute(void*, int, Ptr);
Result cuDeviceGetAttribute(int*, int, int), cuDeviceTotalMem_v2(size_t*, int),
    cuDriverGetVersion(int*), cuCtxSynchronize(), cuDeviceGetCount(int*), cuCtxGetDevice(int*),
    gpusim_use_device(int);
Result cuStreamCreate(void**, unsigned), cuStreamDestroy_v2(void*), cuStreamSynchronize(void*),
    cuStreamGetFlags(void*, unsigned*);
Result cuStreamBeginCapture_v2(void*, int), cuStreamEndCapture(void*, void**),
    cuStreamIsCapturing(void*, int*);
Result cuGraphInstantiateWithFlags(void**, void*, unsigned long long), cuGraphLaunch(void*, void*);
Result cuGraphDestroy(void*), cuGraphExecDestroy(void*);
Result cuEventCreate(void**, unsigned), cuEventDestroy_v2(void*), cuEventSynchronize(void*),
    cuEventRecord(void*, void*), cuEventQuery(void*), cuStreamQuery(void*);
}
static PyObject* runtime_error;  // CuPy's CUDARuntimeError
static void set_error(Result r) {
  PyObject* x = PyObject_CallFunction(runtime_error, "i", r);
  if (x) {
    PyErr_SetObject(runtime_error, x);
    Py_DECREF(x);
  }
}
static PyObject* none(Result r) {
  if (r) {
    set_error(r);
    return nullptr;
  }
  Py_RETURN_NONE;
}
static Int handle(Result r, void* p) {
  if (r) {
    set_error(r);
    return 0;
  }
  return (Int)p;
}
#define P(x) ((void*)(x))

// Each function takes the arguments of CuPy's wrapper; the last int of most is Cython's "skip
// dispatch" flag.
static PyObject* ensure_context() {
  Py_RETURN_NONE;
}
static int get_device(int) {
  int d = 0;
  cuCtxGetDevice(&d);
  return d;
}
static int get_device_count(int) {
  int n = 0;
  cuDeviceGetCount(&n);
  return n;
}
static PyObject* set_device(int d, int) {
  return none(gpusim_use_device(d));
}
static int device_attribute(int a, int, int) {
  int v = 0;
  cuDeviceGetAttribute(&v, a, 0);
  return v;
}
static PyObject* device_properties(int, int) {
  size_t n = 0;
  cuDeviceTotalMem_v2(&n, 0);
  const auto get = [](int a) { return device_attribute(a, 0, 0); };
  return Py_BuildValue("{s:y,s:i,s:i,s:i,s:i,s:n,s:i,s:i,s:i}", "name", "gpusim", "major", get(75),
                       "minor", get(76), "multiProcessorCount", get(16), "warpSize", get(10),
                       "totalGlobalMem", (Py_ssize_t)n, "maxThreadsPerBlock", get(1),
                       "sharedMemPerBlock", get(8), "regsPerBlock", get(12));
}
static PyObject* device_synchronize(int) {
  return none(cuCtxSynchronize());
}
static int can_access_peer(int, int, int) {
  return 0;
}
static int driver_version(int) {
  int v;
  cuDriverGetVersion(&v);
  return v;
}
static Int allocate(size_t n, int) {
  Ptr p = 0;
  const Result r = n ? cuMemAlloc_v2(&p, n) : 0;
  return handle(r, P(p));
}
static Int allocate_async(size_t n, Int, int) {
  return allocate(n, 0);
}
static Int allocate_managed(size_t n, int, void*) {
  return allocate(n, 0);
}
static PyObject* release(Int p, int) {
  return none(cuMemFree_v2(p));
}
static PyObject* release_async(Int p, Int, int) {
  return none(cuMemFree_v2(p));
}
static Int host_alloc(size_t n, unsigned f, int) {
  void* p = nullptr;
  Result r = cuMemHostAlloc(&p, n, f);
  return handle(r, p);
}
static PyObject* host_free(Int p, int) {
  return none(cuMemFreeHost(P(p)));
}
static PyObject* host_register(Int, size_t, unsigned, int) {
  Py_RETURN_NONE;
}
static PyObject* host_unregister(Int, int) {
  Py_RETURN_NONE;
}
static PyObject* memory_info(int) {
  size_t f, t;
  cuMemGetInfo_v2(&f, &t);
  return Py_BuildValue("(nn)", (Py_ssize_t)f, (Py_ssize_t)t);
}
static Result copy(Int d, Int s, size_t n, int kind, void* st,
                   bool async) {  // 0 HtoH, 1 HtoD, 2 DtoH, 3 DtoD, 4 default
  if (kind == 1) return async ? cuMemcpyHtoDAsync_v2(d, P(s), n, st) : cuMemcpyHtoD_v2(d, P(s), n);
  if (kind == 2) return async ? cuMemcpyDtoHAsync_v2(P(d), s, n, st) : cuMemcpyDtoH_v2(P(d), s, n);
  return async ? cuMemcpyAsync(d, s, n, st) : cuMemcpy(d, s, n);
}
static PyObject* copy_sync(Int d, Int s, size_t n, int kind, int) {
  return none(copy(d, s, n, kind, nullptr, false));
}
static PyObject* copy_async(Int d, Int s, size_t n, int kind, Int st, int) {
  return none(copy(d, s, n, kind, P(st), true));
}
static PyObject* set_sync(Int p, int v, size_t n, int) {
  return none(cuMemsetD8Async(p, v, n, nullptr));
}
static PyObject* set_async(Int p, int v, size_t n, Int st, int) {
  return none(cuMemsetD8Async(p, v, n, P(st)));
}
static int memory_type(Int p, int) {
  int v = 0;
  cuPointerGetAttribute(&v, 2, p);
  return v;
}
static Int stream_with_flags(unsigned f, int) {
  void* s = nullptr;
  Result r = cuStreamCreate(&s, f);
  return handle(r, s);
}
static Int stream_create(int) {
  return stream_with_flags(0, 0);
}
static Int stream_with_priority(unsigned f, int, int) {
  return stream_with_flags(f, 0);
}
static PyObject* stream_destroy(Int s, int) {
  return none(cuStreamDestroy_v2(P(s)));
}
static PyObject* stream_synchronize(Int s, int) {
  return none(cuStreamSynchronize(P(s)));
}
static PyObject* stream_wait_event(Int, Int, int, void*) {
  Py_RETURN_NONE;
}
static int stream_is_capturing(Int s, int) {
  int v = 0;
  cuStreamIsCapturing(P(s), &v);
  return v;
}
static PyObject* stream_query(Int s, int) {  // CuPy's returns the result and raises nothing
  return PyLong_FromLong(cuStreamQuery(P(s)));
}
struct CaptureMode {  // Cython's optional arguments: how many are given, and the first
  int given, mode;
};
static PyObject* stream_begin_capture(Int s, int, CaptureMode* optional) {
  const bool given = optional && optional->given > 0;
  return none(cuStreamBeginCapture_v2(P(s), given ? optional->mode : 2));  // CuPy's is relaxed
}
static Int stream_end_capture(Int s, int) {
  void* g = nullptr;
  Result r = cuStreamEndCapture(P(s), &g);
  return handle(r, g);
}
static unsigned stream_flags(Int s, int) {
  unsigned f = 0;
  cuStreamGetFlags(P(s), &f);
  return f;
}
static Int event_with_flags(unsigned f, int) {
  void* e = nullptr;
  Result r = cuEventCreate(&e, f);
  return handle(r, e);
}
static Int event_create(int) {
  return event_with_flags(0, 0);
}
static PyObject* event_destroy(Int e, int) {
  return none(cuEventDestroy_v2(P(e)));
}
static float event_elapsed(Int, Int, int) {
  return 0.001f;
}  // no time is simulated
static PyObject* event_query(Int e, int) {
  return PyLong_FromLong(cuEventQuery(P(e)));
}
static PyObject* event_record(Int e, Int s, int) {
  return none(cuEventRecord(P(e), P(s)));
}
static PyObject* event_synchronize(Int e, int) {
  return none(cuEventSynchronize(P(e)));
}
static Int graph_instantiate(Int g, int) {
  void* e = nullptr;
  Result r = cuGraphInstantiateWithFlags(&e, P(g), 0);
  return handle(r, e);
}
static PyObject* graph_launch(Int e, Int s, int) {
  Result r;
  Py_BEGIN_ALLOW_THREADS  // a sum in it waits for the other ranks
  r = cuGraphLaunch(P(e), P(s));
  Py_END_ALLOW_THREADS
  return none(r);
}
static PyObject* graph_upload(Int, Int, int) {
  Py_RETURN_NONE;
}
static PyObject* graph_destroy(Int g, int) {
  return none(cuGraphDestroy(P(g)));
}
static PyObject* graph_exec_destroy(Int g, int) {
  return none(cuGraphExecDestroy(P(g)));
}
static PyObject* profiler(int) {
  Py_RETURN_NONE;
}

// CuPy's name, our function, and the C signature it must have (Cython's own decorations removed).
static const struct {
  const char* name;
  void* function;
  const char* signature;
} TABLE[] = {
    {"_ensure_context", (void*)ensure_context, "PyObject *(void)"},
    {"getDevice", (void*)get_device, "int (int )"},
    {"getDeviceCount", (void*)get_device_count, "int (int )"},
    {"setDevice", (void*)set_device, "PyObject *(int, int )"},
    {"deviceGetAttribute", (void*)device_attribute, "int (int, int, int )"},
    {"getDeviceProperties", (void*)device_properties, "PyObject *(int, int )"},
    {"deviceSynchronize", (void*)device_synchronize, "PyObject *(int )"},
    {"deviceCanAccessPeer", (void*)can_access_peer, "int (int, int, int )"},
    {"driverGetVersion", (void*)driver_version, "int (int )"},
    {"malloc", (void*)allocate, "intptr_t (size_t, int )"},
    {"mallocAsync", (void*)allocate_async, "intptr_t (size_t, intptr_t, int )"},
    {"mallocManaged", (void*)allocate_managed,
     "intptr_t (size_t, int , mallocManaged *__pyx_optional_args)"},
    {"free", (void*)release, "PyObject *(intptr_t, int )"},
    {"freeAsync", (void*)release_async, "PyObject *(intptr_t, intptr_t, int )"},
    {"hostAlloc", (void*)host_alloc, "intptr_t (size_t, unsigned int, int )"},
    {"freeHost", (void*)host_free, "PyObject *(intptr_t, int )"},
    {"hostRegister", (void*)host_register, "PyObject *(intptr_t, size_t, unsigned int, int )"},
    {"hostUnregister", (void*)host_unregister, "PyObject *(intptr_t, int )"},
    {"memGetInfo", (void*)memory_info, "PyObject *(int )"},
    {"memcpy", (void*)copy_sync, "PyObject *(intptr_t, intptr_t, size_t, int, int )"},
    {"memcpyAsync", (void*)copy_async,
     "PyObject *(intptr_t, intptr_t, size_t, int, intptr_t, int )"},
    {"memset", (void*)set_sync, "PyObject *(intptr_t, int, size_t, int )"},
    {"memsetAsync", (void*)set_async, "PyObject *(intptr_t, int, size_t, intptr_t, int )"},
    {"pointerGetMemoryType", (void*)memory_type, "int (intptr_t, int )"},
    {"streamCreate", (void*)stream_create, "intptr_t (int )"},
    {"streamCreateWithFlags", (void*)stream_with_flags, "intptr_t (unsigned int, int )"},
    {"streamCreateWithPriority", (void*)stream_with_priority, "intptr_t (unsigned int, int, int )"},
    {"streamDestroy", (void*)stream_destroy, "PyObject *(intptr_t, int )"},
    {"streamSynchronize", (void*)stream_synchronize, "PyObject *(intptr_t, int )"},
    {"streamQuery", (void*)stream_query, "PyObject *(intptr_t, int )"},
    {"streamWaitEvent", (void*)stream_wait_event,
     "PyObject *(intptr_t, intptr_t, int , streamWaitEvent *__pyx_optional_args)"},
    {"streamIsCapturing", (void*)stream_is_capturing, "int (intptr_t, int )"},
    {"streamBeginCapture", (void*)stream_begin_capture,
     "PyObject *(intptr_t, int , streamBeginCapture *__pyx_optional_args)"},
    {"streamEndCapture", (void*)stream_end_capture, "intptr_t (intptr_t, int )"},
    {"streamGetFlags", (void*)stream_flags, "unsigned int (intptr_t, int )"},
    {"eventCreate", (void*)event_create, "intptr_t (int )"},
    {"eventCreateWithFlags", (void*)event_with_flags, "intptr_t (unsigned int, int )"},
    {"eventDestroy", (void*)event_destroy, "PyObject *(intptr_t, int )"},
    {"eventElapsedTime", (void*)event_elapsed, "float (intptr_t, intptr_t, int )"},
    {"eventQuery", (void*)event_query, "PyObject *(intptr_t, int )"},
    {"eventRecord", (void*)event_record, "PyObject *(intptr_t, intptr_t, int )"},
    {"eventSynchronize", (void*)event_synchronize, "PyObject *(intptr_t, int )"},
    {"graphInstantiate", (void*)graph_instantiate, "intptr_t (intptr_t, int )"},
    {"graphLaunch", (void*)graph_launch, "PyObject *(intptr_t, intptr_t, int )"},
    {"graphUpload", (void*)graph_upload, "PyObject *(intptr_t, intptr_t, int )"},
    {"graphDestroy", (void*)graph_destroy, "PyObject *(intptr_t, int )"},
    {"graphExecDestroy", (void*)graph_exec_destroy, "PyObject *(intptr_t, int )"},
    {"profilerStart", (void*)profiler, "PyObject *(int )"},
    {"profilerStop", (void*)profiler, "PyObject *(int )"},
};
static std::string plain(std::string s) {
  for (const char* cut :
       {"__pyx_skip_dispatch", "struct __pyx_opt_args_13cupy_backends_4cuda_3api_7runtime_"})
    for (size_t i; (i = s.find(cut)) != std::string::npos;) s.erase(i, strlen(cut));
  return s;
}
// install(runtime module): checks every signature first, then swaps the capsules; returns how many.
static PyObject* install(PyObject*, PyObject* module) {
  runtime_error = PyObject_GetAttrString(module, "CUDARuntimeError");
  PyObject* capi = runtime_error ? PyObject_GetAttrString(module, "__pyx_capi__") : nullptr;
  if (!capi) return nullptr;
  long swapped = 0;
  for (int pass = 0; pass < 2; pass++)
    for (auto& t : TABLE) {
      PyObject* old = PyDict_GetItemString(capi, t.name);
      if (!old)
        return PyErr_Format(PyExc_RuntimeError, "gpusim: this CuPy has no %s in its runtime module",
                            t.name);
      const char* name = PyCapsule_GetName(old);
      if (!name) return nullptr;
      if (plain(name) != t.signature)
        return PyErr_Format(PyExc_RuntimeError,
                            "gpusim: CuPy changed the signature of %s: '%s', expected '%s'", t.name,
                            plain(name).c_str(), t.signature);
      if (!pass) continue;
      PyObject* capsule = PyCapsule_New(t.function, strdup(name), nullptr);
      if (!capsule || PyDict_SetItemString(capi, t.name, capsule)) return nullptr;
      Py_DECREF(capsule);
      swapped++;
    }
  return PyLong_FromLong(swapped);
}
static PyObject* properties(PyObject*, PyObject*) {
  return device_properties(0, 0);
}
static PyMethodDef methods[] = {
    {"device_properties", properties, METH_O,
     "The simulated device's properties, whatever its number."},
    {"install", install, METH_O, "Swap CuPy's runtime capsules for the simulated ones."},
    {nullptr, nullptr, 0, nullptr}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                                 "_gpusim_runtime",
                                 nullptr,
                                 -1,
                                 methods,
                                 nullptr,
                                 nullptr,
                                 nullptr,
                                 nullptr};
PyMODINIT_FUNC PyInit__gpusim_runtime() {
  return PyModule_Create(&definition);
}
