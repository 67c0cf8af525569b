// nccl.cpp -> libnccl.so.2: ncclAllReduce between processes of one machine, each of which has a
// simulated device of its own. Every other entry point (nccl_stubs.inc, generated from the names
// CuPy wants) reports itself and returns an error.
//
// A sum is work of the stream, as on a device, also in a graph that is repeated. Each rank copies
// its numbers to its slot in memory that the ranks share, waits for the others, and adds up the
// slots in the order of the ranks: the same bits on each rank and in each run.
//
//   shared memory   | Meeting | Slot of rank 0 | Slot of rank 1 | ...
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>
enum { SUCCESS = 0, SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4, INVALID_USAGE = 5 };
enum { FLOAT32 = 7, FLOAT64 = 8, SUM = 0 };
static const size_t ROOM = (size_t)1 << 20;  // bytes of a slot; longer sums come in turns
static const int SECONDS = 120;              // until a rank that waits gives up

extern "C" int gpusim_enqueue(void*, int, bool (*)(void*), void*, void (*)(void*));
extern "C" int gpusim_inside(const void*, size_t);

struct Meeting {  // all zeros at first
  std::atomic<int> here;
  std::atomic<uint64_t> round;
};
struct Slot {
  uint64_t number;  // of the sum on this rank; number, count and type must be those of all ranks
  uint64_t count;
  int type;
  alignas(64) char bytes[ROOM];
};
struct Comm {
  int size, rank;
  Meeting* meeting;
  Slot* slots;
  uint64_t sums = 0;
};
struct Sum {
  Comm* comm;
  const void* from;
  void* to;
  size_t count;
  int type;
};

// Wait until all ranks are here.
static bool meet(const Comm& c) {
  const uint64_t round = c.meeting->round;
  if (c.meeting->here.fetch_add(1) + 1 == c.size) {
    c.meeting->here = 0;
    c.meeting->round++;
    return true;
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(SECONDS);
  for (int looks = 0; c.meeting->round == round; looks++) {
    if (looks < 1000) {
      sched_yield();
      continue;
    }
    usleep(50);
    if (std::chrono::steady_clock::now() > end) {
      fprintf(stderr, "gpusim: rank %d waited %d s for the others in an all-reduce\n", c.rank,
              SECONDS);
      return false;
    }
  }
  return true;
}
static bool agree(const Comm& c) {
  const Slot& own = c.slots[c.rank];
  for (int r = 0; r < c.size; r++) {
    const Slot& other = c.slots[r];
    if (other.number == own.number && other.count == own.count && other.type == own.type) continue;
    fprintf(stderr,
            "gpusim: sum %lu of rank %d has %lu numbers of type %d, sum %lu of rank %d has %lu of "
            "type %d\n",
            own.number, c.rank, own.count, own.type, other.number, r, other.count, other.type);
    return false;
  }
  return true;
}
template <class T>
static bool sum(const Sum& s) {
  Comm& c = *s.comm;
  Slot& own = c.slots[c.rank];
  own.number = ++c.sums;
  own.count = s.count;
  own.type = s.type;
  for (size_t first = 0; first < s.count; first += ROOM / sizeof(T)) {
    const size_t left = s.count - first, n = left < ROOM / sizeof(T) ? left : ROOM / sizeof(T);
    memcpy(own.bytes, (const T*)s.from + first, n * sizeof(T));
    if (!meet(c) || !agree(c)) return false;
    T* out = (T*)s.to + first;
    memcpy(out, c.slots[0].bytes, n * sizeof(T));
    for (int r = 1; r < c.size; r++) {
      const T* other = (const T*)c.slots[r].bytes;
      for (size_t i = 0; i < n; i++) out[i] += other[i];
    }
    if (!meet(c)) return false;  // no slot is overwritten before all have read it
  }
  return true;
}

struct UniqueId {
  char name[128];
};
#define API extern "C" __attribute__((visibility("default"))) int
API ncclGetVersion(int* version) {
  *version = 22304;  // 2.23.4
  return SUCCESS;
}
API ncclGetUniqueId(UniqueId* id) {
  uint64_t random;
  if (getrandom(&random, sizeof random, 0) != sizeof random) return SYSTEM_ERROR;
  snprintf(id->name, sizeof id->name, "/gpusim-%d-%016lx", getpid(), random);
  return SUCCESS;
}
API ncclCommInitRankConfig(Comm** comm, int size, UniqueId id, int rank, void*) {
  const size_t bytes = sizeof(Slot) * (size + 1);  // the first one's room is the meeting's
  const int file = shm_open(id.name, O_CREAT | O_RDWR, 0600);
  if (file < 0 || ftruncate(file, bytes)) return SYSTEM_ERROR;
  void* shared = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (shared == MAP_FAILED) return SYSTEM_ERROR;
  *comm = new Comm{size, rank, (Meeting*)shared, (Slot*)shared + 1};
  const bool complete = meet(**comm);
  shm_unlink(id.name);  // by the first one; the memory stays for as long as it is mapped
  return complete ? SUCCESS : SYSTEM_ERROR;
}
API ncclCommDestroy(Comm*) {
  return SUCCESS;  // graphs may hold it: its memory goes with the process
}
API ncclAllReduce(const void* from, void* to, size_t count, int type, int op, Comm* comm,
                  void* stream) {
  const size_t bytes = count * (type == FLOAT64 ? 8 : 4);
  if (op != SUM || (type != FLOAT32 && type != FLOAT64)) return INVALID_USAGE;
  if (!gpusim_inside(from, bytes) || !gpusim_inside(to, bytes)) return INVALID_ARGUMENT;
  return gpusim_enqueue(
             stream, 1,
             [](void* s) {
               const Sum& work = *(Sum*)s;
               return work.type == FLOAT64 ? sum<double>(work) : sum<float>(work);
             },
             new Sum{comm, from, to, count, type}, [](void* s) { delete (Sum*)s; })
             ? SYSTEM_ERROR
             : SUCCESS;
}
extern "C" __attribute__((visibility("default"))) const char* ncclGetErrorString(int) {
  return "the simulated NCCL failed";
}
static int not_simulated(const char* name) {
  fprintf(stderr, "gpusim: %s is not simulated\n", name);
  return INVALID_USAGE;
}
#include "nccl_stubs.inc"
