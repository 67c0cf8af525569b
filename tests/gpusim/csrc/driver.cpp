// driver.cpp -> libgpusim_driver.so: the CUDA driver calls that CuPy makes, without a GPU, for
// tests only. "Device" memory is host memory; a "cubin" is a host shared object built by host.py
// from the same CUDA C source.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>
#include <vector>
typedef int Result;
typedef uintptr_t Ptr;
enum {
  OK = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  NOT_FOUND = 500,
  NOT_READY = 600,
  ILLEGAL_ADDRESS = 700,
  LAUNCH_FAILED = 719,
  NOT_SUPPORTED = 801,
  CAPTURE_UNSUPPORTED = 900,
  CAPTURE_INVALIDATED = 901,
  CAPTURE_IMPLICIT = 906,
  CAPTURED_EVENT = 907
};
static const size_t TOTAL_MEMORY = (size_t)8 << 30;
static const int STATIC_SHARED_LIMIT = 49152, DYNAMIC_SHARED_LIMIT = 232448, DRIVER_VERSION = 12090;

struct Entry {  // the same layout as gpusim::Entry in cuda_host.h
  const char* name;
  void (*invoke)(void**);
  void (*signature)(char*);
  int fibers, max_threads;
  const char* (*launch)(void (*)(void**), bool, const unsigned*, const unsigned*, void**, size_t,
                        int, unsigned);
};
struct Function {
  Entry entry;
  std::vector<std::string> params;
  int shared_limit = STATIC_SHARED_LIMIT;
};
struct Module {
  void* handle;
  std::map<std::string, Function*> functions;
};
using Op = std::function<Result()>;
enum Counter {
  LAUNCHES,
  GEMMS,
  GRAPH_LAUNCHES,
  CAPTURED,
  SYNCS,
  ALLOCATIONS,
  FREES,
  H2D,
  D2H,
  D2D,
  MEMSETS,
  H2D_BYTES,
  D2H_BYTES,
  COLLECTIVES,
  COUNTERS
};
struct Node {
  Counter kind;
  Op run;
  size_t bytes = 0;  // of a copy
};
struct Graph {
  std::vector<Node> nodes;
};
enum { RELAXED = 2 };  // a capture's mode in which cudaMalloc and its like are allowed
struct Stream {
  bool capturing = false, bad = false;
  Graph* graph = nullptr;
  unsigned flags = 0;
  int mode = RELAXED;
};
struct Event {
  bool captured = false;  // last recorded in a capture
};
static uint64_t counters[COUNTERS];
static std::recursive_mutex mutex_;
#define LOCK std::lock_guard<std::recursive_mutex> lock_(mutex_)
static std::map<Ptr, size_t> memory, pinned;  // of the device, and page-locked of the host
static size_t used;
static std::vector<Op> pending;
static Stream legacy;
static std::set<Stream*> capturing;
static bool lazy, no_exec, trace, fill = true;
static int order_mode;
static unsigned order_seed = 1, launch_number;
static std::string last_fault = "no fault";
static char context[64];
static void* current_context;
// Each device of this process has a number, and all have one memory: a process uses only one.
static int devices = 1;
static thread_local int device;

static Stream* stream_of(void* s) {
  return (Ptr)s <= 2 ? &legacy : (Stream*)s;
}
static Result flush() {
  auto work = std::move(pending);
  pending.clear();
  for (auto& op : work)
    if (Result r = op()) return r;
  return OK;
}
// What stream capture forbids (CUDA C++ programming guide, "Prohibited and unhandled operations";
// cudaThreadExchangeStreamCaptureMode): the call fails, and so does the end of the capture.
static Result spoil(Result r) {
  for (Stream* s : capturing) s->bad = true;
  return r;
}
static Result unsafe() {  // a call that is not seen by a capture: allowed only in relaxed mode
  for (Stream* s : capturing)
    if (s->mode != RELAXED) return spoil(CAPTURE_UNSUPPORTED);
  return OK;
}
static Result put(Stream* s, Counter kind, Op op) {
  if (s->capturing) {
    counters[CAPTURED]++;
    s->graph->nodes.push_back({kind, std::move(op)});
    return OK;
  }
  if (s == &legacy)
    for (Stream* c : capturing)
      if (!(c->flags & 1)) return spoil(CAPTURE_IMPLICIT);  // a blocking stream is recording
  counters[kind]++;
  if (lazy) {
    pending.push_back(std::move(op));
    return OK;
  }
  return op();
}
static bool on_device(Ptr p) {
  auto i = memory.upper_bound(p);
  return i != memory.begin() && (--i, p < i->first + i->second);
}
static bool inside(Ptr p, size_t n, const std::map<Ptr, size_t>& where = memory) {
  auto i = where.upper_bound(p);  // n bytes at p lie in one allocation
  return !n || (i != where.begin() && (--i, p + n <= i->first + i->second));
}
static Result synchronize() {
  LOCK;
  if (!capturing.empty()) return spoil(CAPTURE_UNSUPPORTED);
  counters[SYNCS]++;
  return flush();
}

static Result query() {  // a host that asks again and again gets there: the device works meanwhile
  if (pending.empty()) return OK;
  Result r = flush();
  return r == OK ? NOT_READY : r;
}

#define API extern "C" __attribute__((visibility("default"))) Result
// ---------------------------------------------------------------- control, called by Python,
// blas.cpp and nccl.cpp
API gpusim_enqueue(void* s, int collective, bool (*run)(void*), void* data, void (*drop)(void*)) {
  LOCK;
  std::shared_ptr<void> keep(data, drop);
  return put(stream_of(s), collective ? COLLECTIVES : GEMMS,
             [=]() -> Result { return no_exec || run(keep.get()) ? OK : ILLEGAL_ADDRESS; });
}
API gpusim_inside(const void* p, size_t n) {
  LOCK;
  return inside((Ptr)p, n);
}
API gpusim_counters(uint64_t* out) {
  LOCK;
  memcpy(out, counters, sizeof counters);
  return COUNTERS;
}
API gpusim_reset_counters() {
  LOCK;
  memset(counters, 0, sizeof counters);
  return OK;
}
API gpusim_set_order(int mode, unsigned seed) {
  LOCK;
  order_mode = mode;
  order_seed = seed;
  launch_number = 0;
  return OK;
}
API gpusim_set_devices(int n) {
  devices = n;
  return OK;
}
API gpusim_set_options(int lazy_, int no_exec_, int trace_, int fill_) {
  LOCK;
  lazy = lazy_;
  no_exec = no_exec_;
  trace = trace_;
  fill = fill_;
  return OK;
}

// ---------------------------------------------------------------- device and context
API cuInit(unsigned) {
  return OK;
}
API cuDriverGetVersion(int* v) {
  *v = DRIVER_VERSION;
  return OK;
}
API cuDeviceGetCount(int* n) {
  *n = devices;
  return OK;
}
API cuDeviceGet(int* d, int number) {
  *d = number;
  return number < devices ? OK : INVALID_DEVICE;
}
API cuDeviceGetName(char* b, int n, int) {
  snprintf(b, n, "gpusim");
  return OK;
}
API cuDeviceGetUuid(char* u, int) {
  memset(u, 7, 16);
  return OK;
}
API cuDeviceGetUuid_v2(char* u, int) {
  memset(u, 7, 16);
  return OK;
}
API cuDeviceTotalMem_v2(size_t* n, int) {
  *n = TOTAL_MEMORY;
  return OK;
}
API cuDeviceGetAttribute(int* v, int a, int) {  // roughly an H100
  static const std::map<int, int> values = {
      {1, 1024},
      {2, 1024},
      {3, 1024},
      {4, 64},  // threads a block, block x y z
      {5, 2147483647},
      {6, 65535},
      {7, 65535},  // grid x y z
      {8, STATIC_SHARED_LIMIT},
      {9, 65536},
      {10, 32},  // shared memory a block, constant memory, warp
      {12, 65536},
      {13, 1980000},
      {14, 512},
      {15, 1},  // registers, clock, texture alignment, overlap
      {16, 132},
      {31, 1},
      {39, 2048},
      {41, 1},  // multiprocessors, concurrent kernels, threads of one, unified addresses
      {75, 9},
      {76, 0},
      {81, 233472},
      {82, 65536},
      {97, DYNAMIC_SHARED_LIMIT}};
  auto i = values.find(a);
  *v = i == values.end() ? 0 : i->second;
  return OK;
}
API cuDevicePrimaryCtxRetain(void** c, int) {
  *c = context;
  return OK;
}
API cuDevicePrimaryCtxRelease_v2(int) {
  return OK;
}
API cuDevicePrimaryCtxGetState(int, unsigned* f, int* active) {
  *f = 0;
  *active = 1;
  return OK;
}
API cuDevicePrimaryCtxSetFlags_v2(int, unsigned) {
  return OK;
}
API cuCtxGetCurrent(void** c) {
  *c = current_context;
  return OK;
}
API cuCtxSetCurrent(void* c) {
  current_context = c;
  return OK;
}
API cuCtxPushCurrent_v2(void* c) {
  current_context = c;
  return OK;
}
API cuCtxPopCurrent_v2(void** c) {
  if (c) *c = current_context;
  return OK;
}
API cuCtxGetDevice(int* d) {
  *d = device;
  return OK;
}
API gpusim_use_device(int d) {
  if (d < 0 || d >= devices) return INVALID_DEVICE;
  device = d;
  return OK;
}
API cuCtxGetFlags(unsigned* f) {
  *f = 0;
  return OK;
}
API cuCtxGetApiVersion(void*, unsigned* v) {
  *v = DRIVER_VERSION;
  return OK;
}
API cuCtxGetId(void*, unsigned long long* v) {
  *v = 1;
  return OK;
}
API cuCtxSynchronize() {
  return synchronize();
}
API cuModuleGetLoadingMode(int* m) {
  *m = 2;
  return OK;
}
API cuGetErrorName(int e, const char** s) {
  static std::map<int, std::string> names = {
      {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
      {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
      {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"},
      {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
      {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"},
      {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
      {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
      {CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT"},
      {CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT"}};
  LOCK;
  std::string& name = names[e];
  if (name.empty()) name = "CUDA_ERROR_" + std::to_string(e);
  *s = name.c_str();
  return OK;
}
API cuGetErrorString(int e, const char** s) {
  *s = e == LAUNCH_FAILED || e == ILLEGAL_ADDRESS ? last_fault.c_str() : "simulated device";
  return OK;
}

// ---------------------------------------------------------------- memory
API cuMemAlloc_v2(Ptr* p, size_t n) {
  LOCK;
  void* q = nullptr;
  if (!n) return INVALID_VALUE;
  if (Result r = unsafe()) return r;
  if (n > TOTAL_MEMORY - used || posix_memalign(&q, 512, n)) return OUT_OF_MEMORY;
  if (fill) memset(q, 0xFF, n);  // NaN: a read of memory that nobody wrote shows
  counters[ALLOCATIONS]++;
  memory[(Ptr)q] = n;
  used += n;
  *p = (Ptr)q;
  return OK;
}
API cuMemFree_v2(Ptr p) {
  LOCK;
  if (!p) return OK;
  auto i = memory.find(p);
  if (i == memory.end()) return INVALID_VALUE;
  if (Result r = unsafe()) return r;
  flush();
  counters[FREES]++;
  used -= i->second;
  memory.erase(i);
  free((void*)p);
  return OK;
}
API cuMemHostAlloc(void** p, size_t n, unsigned) {
  LOCK;
  if (Result r = unsafe()) return r;
  if (posix_memalign(p, 512, n ? n : 1)) return OUT_OF_MEMORY;
  pinned[(Ptr)*p] = n;
  return OK;
}
API cuMemFreeHost(void* p) {
  LOCK;
  if (Result r = unsafe()) return r;
  flush();
  pinned.erase((Ptr)p);
  free(p);
  return OK;
}
API cuMemGetInfo_v2(size_t* f, size_t* t) {
  LOCK;
  *t = TOTAL_MEMORY;
  *f = TOTAL_MEMORY - used;
  return OK;
}
static Result copy(Ptr d, Ptr s, size_t n, bool async, void* st) {
  LOCK;
  const bool to = on_device(d), from = on_device(s);
  const Counter kind = to && !from ? H2D : from && !to ? D2H : D2D;
  if (!n) return OK;
  if ((to && !inside(d, n)) || (from && !inside(s, n))) return INVALID_VALUE;
  Stream* stream = stream_of(st);
  if (!async) {  // waits for the device
    if (!capturing.empty()) return spoil(CAPTURE_IMPLICIT);
    counters[SYNCS]++;
    if (Result r = flush()) return r;
    stream = &legacy;
  }
  if (stream->capturing) {
    // Each replay reads or writes the host's memory again. A copy of pageable memory goes through a
    // buffer of the driver and may wait, which PyTorch refuses as well; pinned memory must stay.
    if (kind != D2D && !inside(kind == H2D ? s : d, n, pinned)) return spoil(CAPTURE_UNSUPPORTED);
  } else if (kind != D2D)
    counters[kind == H2D ? H2D_BYTES : D2H_BYTES] += n;
  if (kind == H2D && lazy && !stream->capturing && async) {  // pageable memory is read at the call
    auto bytes = std::make_shared<std::vector<char>>((char*)s, (char*)s + n);
    return put(stream, kind, [=]() -> Result {
      memcpy((void*)d, bytes->data(), n);
      return OK;
    });
  }
  Result r = put(stream, kind, [=]() -> Result {
    memmove((void*)d, (void*)s, n);
    return OK;
  });
  if (stream->capturing) stream->graph->nodes.back().bytes = n;
  return r ? r : async ? OK : flush();
}
API cuMemcpy(Ptr d, Ptr s, size_t n) {
  return copy(d, s, n, false, nullptr);
}
API cuMemcpyAsync(Ptr d, Ptr s, size_t n, void* st) {
  return copy(d, s, n, true, st);
}
API cuMemcpyHtoD_v2(Ptr d, const void* s, size_t n) {
  LOCK;
  return inside(d, n) ? copy(d, (Ptr)s, n, false, nullptr) : INVALID_VALUE;
}
API cuMemcpyHtoDAsync_v2(Ptr d, const void* s, size_t n, void* st) {
  LOCK;
  return inside(d, n) ? copy(d, (Ptr)s, n, true, st) : INVALID_VALUE;
}
API cuMemcpyDtoH_v2(void* d, Ptr s, size_t n) {
  LOCK;
  return inside(s, n) ? copy((Ptr)d, s, n, false, nullptr) : INVALID_VALUE;
}
API cuMemcpyDtoHAsync_v2(void* d, Ptr s, size_t n, void* st) {
  LOCK;
  return inside(s, n) ? copy((Ptr)d, s, n, true, st) : INVALID_VALUE;
}
API cuMemsetD8Async(Ptr d, unsigned char v, size_t n, void* st) {
  LOCK;
  if (!inside(d, n)) return INVALID_VALUE;
  return put(stream_of(st), MEMSETS, [=]() -> Result {
    memset((void*)d, v, n);
    return OK;
  });
}
API cuPointerGetAttribute(void* out, int a, Ptr p) {
  LOCK;
  if (a == 2) {
    *(int*)out = on_device(p) ? 2 : 1;
    return OK;
  }  // memory type
  if (a == 9) {
    *(int*)out = device;
    return OK;
  }  // device number
  return NOT_SUPPORTED;
}

// ---------------------------------------------------------------- modules and launches
API cuModuleLoadData(void** out, const void* image) {
  LOCK;
  if (!capturing.empty()) return spoil(CAPTURE_UNSUPPORTED);  // it may wait
  const unsigned char* b = (const unsigned char*)image;
  if (memcmp(b, "\177ELF", 4) || *(const uint16_t*)(b + 18) != 62)
    return INVALID_IMAGE;  // only x86-64 host objects
  const size_t n =
      *(const uint64_t*)(b + 40) + (size_t)*(const uint16_t*)(b + 58) * *(const uint16_t*)(b + 60);
  const int fd = memfd_create("gpusim", 0);
  if (fd < 0) return OUT_OF_MEMORY;
  for (size_t done = 0; done < n;) {
    const ssize_t w = write(fd, b + done, n - done);
    if (w <= 0) {
      close(fd);
      return OUT_OF_MEMORY;
    }
    done += w;
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  void* handle = dlopen(
      path, RTLD_NOW | RTLD_LOCAL);  // fd stays open: a second file must not get the same path
  if (!handle) {
    fprintf(stderr, "gpusim: %s\n", dlerror());
    return INVALID_IMAGE;
  }
  auto* module = new Module{handle, {}};
  for (Entry* e = (Entry*)dlsym(handle, "gpusim_table"); e && e->name; e++) {
    auto* f = new Function;
    f->entry = *e;
    char text[8192];
    e->signature(text);
    std::string param;
    for (char* c = text; *c; c++)
      if (*c == ',') {
        f->params.push_back(param);
        param.clear();
      } else
        param += *c;
    module->functions[e->name] = f;
  }
  *out = module;
  return OK;
}
API cuModuleLoadDataEx(void** m, const void* i, unsigned, void*, void*) {
  return cuModuleLoadData(m, i);
}
API cuModuleUnload(void*) {
  return OK;
}
API cuModuleGetFunction(void** f, void* m, const char* name) {
  auto& t = ((Module*)m)->functions;
  auto i = t.find(name);
  if (i == t.end()) return NOT_FOUND;
  *f = i->second;
  return OK;
}
API cuModuleGetGlobal_v2(Ptr* p, size_t* n, void* m, const char* name) {
  void* q = dlsym(((Module*)m)->handle, name);
  if (!q) return NOT_FOUND;
  *p = (Ptr)q;
  if (n) *n = 0;
  return OK;
}
API cuFuncGetAttribute(int* v, int a, void* f) {
  auto* F = (Function*)f;
  *v = a == 0             ? F->entry.max_threads
       : a == 4           ? 32
       : a == 5 || a == 6 ? 90
       : a == 8           ? F->shared_limit
                          : 0;
  return OK;
}
API cuFuncSetAttribute(void* f, int a, int v) {
  if (a == 8) {
    if (v > DYNAMIC_SHARED_LIMIT) return INVALID_VALUE;
    ((Function*)f)->shared_limit = v;
  }
  return OK;
}
API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, void*, int b, size_t) {
  *n = 2048 / (b ? b : 1);
  return OK;
}
API cuOccupancyMaxPotentialBlockSize(int* grid, int* b, void*, void*, size_t, int) {
  *grid = 264;
  *b = 1024;
  return OK;
}
static size_t param_size(const std::string& s) {
  return s[0] == '*' ? 8 : strtoul(s.c_str() + 1, nullptr, 10);
}
static Result fault(Result r, const std::string& text) {
  last_fault = text;
  fprintf(stderr, "gpusim: %s\n", text.c_str());
  return r;
}
API cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void* st, void** args, void**) {
  LOCK;
  auto* F = (Function*)f;
  if (!gx || !gy || !gz || !bx || !by || !bz ||
      (uint64_t)bx * by * bz > (unsigned)F->entry.max_threads || bz > 64 || gy > 65535 ||
      gz > 65535 || gx > 2147483647u || (int)shared > F->shared_limit)
    return INVALID_VALUE;
  struct Args {
    std::vector<std::vector<char>> values;
    std::vector<void*> at;
  };
  auto a = std::make_shared<Args>();  // arguments are copied at the launch, as the driver does
  for (size_t i = 0; i < F->params.size(); i++) {
    const char* p = (const char*)args[i];
    a->values.emplace_back(p, p + param_size(F->params[i]));
    a->at.push_back(a->values.back().data());  // operator new aligns to 16
    Ptr address = F->params[i][0] == '*' ? *(const Ptr*)p : 0;
    if (address && !on_device(address))
      return fault(ILLEGAL_ADDRESS, std::string(F->entry.name) + ": parameter " +
                                        std::to_string(i) + " (" + F->params[i] +
                                        ") is no device pointer");
  }
  Stream* stream = stream_of(st);
  if (trace)
    fprintf(stderr, "gpusim: launch %s grid %u,%u,%u block %u,%u,%u%s\n", F->entry.name, gx, gy, gz,
            bx, by, bz, stream->capturing ? " (captured)" : "");
  return put(stream, LAUNCHES, [=]() -> Result {
    if (no_exec) return OK;
    const unsigned g[3] = {gx, gy, gz}, b[3] = {bx, by, bz},
                   seed = order_seed * 2654435761u + ++launch_number;
    const char* text = F->entry.launch(F->entry.invoke, F->entry.fibers, g, b, a->at.data(), shared,
                                       order_mode, seed);
    return text ? fault(LAUNCH_FAILED, std::string(F->entry.name) + ": " + text) : OK;
  });
}

// ---------------------------------------------------------------- streams, capture, graphs, events
API cuStreamCreate(void** s, unsigned flags) {
  auto* q = new Stream;
  q->flags = flags;
  *s = q;
  return OK;
}
API cuStreamDestroy_v2(void* s) {
  LOCK;
  flush();
  capturing.erase((Stream*)s);
  delete (Stream*)s;
  return OK;
}
API cuStreamSynchronize(void*) {
  return synchronize();
}
API cuStreamGetFlags(void* s, unsigned* f) {
  *f = stream_of(s)->flags;
  return OK;
}
API cuStreamQuery(void* s) {
  LOCK;
  if (stream_of(s)->capturing) return spoil(CAPTURE_UNSUPPORTED);
  if (Result r = unsafe()) return r;
  return query();
}
API cuStreamBeginCapture_v2(void* s, int mode) {
  LOCK;
  Stream* q = stream_of(s);
  if (q == &legacy) return CAPTURE_UNSUPPORTED;
  if (q->capturing) return INVALID_VALUE;
  q->capturing = true;
  q->bad = false;
  q->mode = mode;
  q->graph = new Graph;
  capturing.insert(q);
  return OK;
}
API cuStreamEndCapture(void* s, void** g) {
  LOCK;
  Stream* q = stream_of(s);
  if (!q->capturing) return INVALID_VALUE;
  q->capturing = false;
  capturing.erase(q);
  *g = std::exchange(q->graph, nullptr);
  if (q->bad) {
    delete (Graph*)*g;
    *g = nullptr;
    return CAPTURE_INVALIDATED;
  }
  return OK;
}
API cuStreamIsCapturing(void* s, int* st) {
  LOCK;
  Stream* q = stream_of(s);
  *st = q->capturing ? (q->bad ? 2 : 1) : 0;
  return OK;
}
API cuGraphInstantiateWithFlags(void** e, void* g, unsigned long long) {
  *e = new Graph(*(Graph*)g);
  return OK;
}
API cuGraphLaunch(void* e, void* s) {
  LOCK;
  auto* graph = (Graph*)e;
  if (!stream_of(s)->capturing)
    for (auto& node : graph->nodes)  // what passes between host and device counts at each replay
      if (node.kind == H2D || node.kind == D2H) {
        counters[node.kind]++;
        counters[node.kind == H2D ? H2D_BYTES : D2H_BYTES] += node.bytes;
      }
  return put(stream_of(s), GRAPH_LAUNCHES, [nodes = graph->nodes]() -> Result {
    for (auto& node : nodes)
      if (Result r = node.run()) return r;
    return OK;
  });
}
API cuGraphDestroy(void* g) {
  delete (Graph*)g;
  return OK;
}
API cuGraphExecDestroy(void* g) {
  LOCK;
  flush();
  delete (Graph*)g;
  return OK;
}
API cuEventCreate(void** e, unsigned) {
  *e = new Event;
  return OK;
}
API cuEventDestroy_v2(void* e) {
  delete (Event*)e;
  return OK;
}
API cuEventRecord(void* e, void* s) {
  LOCK;
  ((Event*)e)->captured = stream_of(s)->capturing;
  return OK;
}
API cuEventQuery(void* e) {
  LOCK;
  if (((Event*)e)->captured) return spoil(CAPTURED_EVENT);
  if (Result r = unsafe()) return r;
  return query();
}
API cuEventSynchronize(void* e) {
  LOCK;
  if (((Event*)e)->captured) return spoil(CAPTURED_EVENT);
  return synchronize();
}
