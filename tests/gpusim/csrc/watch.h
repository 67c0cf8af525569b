// watch.h: find two accesses to one place that no barrier orders, for tests only.
//
// With -fsanitize=thread g++ calls a function at each access to memory. Its library is not linked:
// the functions are these. Of each byte they keep who wrote and who read it last, and in which
// interval: a new one begins with each block and each __syncthreads(). A race is
//
//   two threads of a block in one interval, one of which writes;
//   two blocks of a launch, one of which writes global memory.
//
// So a race is found in any order of the threads, also where it changes no result. __syncwarp and
// shuffles order nothing here, as shuffles do on a device; atomics are not watched.
#pragma once
#include <dlfcn.h>

extern "C" char __ehdr_start[] __attribute__((visibility("hidden"))),
    _end[] __attribute__((visibility("hidden")));  // of this library, where static shared memory is

namespace gpusim {
namespace watch {
struct Cell {                           // of a byte
  uint32_t wrote, read, first_read;     // intervals; of reads the last, and the launch's first
  uint32_t write_code, read_code;       // where in the library
  uint16_t writer, reader;
};
static const uint16_t SEVERAL = 0xFFFF;  // threads of one interval
static const size_t PAGE = 4096, PAGES = 1 << 18;
static struct {
  uintptr_t number;
  Cell* cells;
} pages[PAGES];
static uint32_t now, launch_began, block_began;
static const char *launch_frame, *shared_begin, *shared_end;

static void begin_launch(const void* frame) {
  launch_frame = (const char*)frame;
  launch_began = now + 1;
}
static void begin_block(size_t shared_bytes) {
  shared_begin = dynamic_shared;
  shared_end = dynamic_shared + shared_bytes;
  block_began = ++now;
}
static void barrier() {
  ++now;
}

static Cell& cell(uintptr_t address) {
  const uintptr_t number = address / PAGE;
  size_t i = number * 0x9E3779B97F4A7C15ull >> 46;
  while (pages[i].cells && pages[i].number != number) i = (i + 1) % PAGES;
  if (!pages[i].cells) {
    void* made = mmap(nullptr, PAGE * sizeof(Cell), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (made == MAP_FAILED) abort();
    pages[i] = {number, (Cell*)made};
  }
  return pages[i].cells[address % PAGE];
}

// Return the source line of a place in this library, 0 where that cannot be found out.
static int line_of(uint32_t code) {
  Dl_info info;
  char command[4200], text[4200];
  int line = 0;
  if (!dladdr(__ehdr_start, &info)) return 0;
  snprintf(command, sizeof command, "addr2line -e '%s' 0x%x", info.dli_fname, code - 1);
  FILE* lines = popen(command, "r");
  if (!lines) return 0;
  if (fgets(text, sizeof text, lines) && strrchr(text, ':')) line = atoi(strrchr(text, ':') + 1);
  pclose(lines);
  return line;
}

static void report(const char* does, const char* did, int other, uint32_t then, uint32_t code) {
  char who[32] = "another block", text[256];
  if (other == SEVERAL) snprintf(who, sizeof who, "several threads");
  else if (other >= 0) snprintf(who, sizeof who, "thread %d of the block", other);
  snprintf(text, sizeof text, "race: %s what %s %s at line %d, with no barrier between,", does,
           who, did, line_of(then));
  fail(text, line_of(code));
}

static void check(const void* place, size_t size, bool writes, const void* from) {
  const char* p = (const char*)place;
  const char* stack = in_fiber ? fibers[tlin].stack : (const char*)__builtin_frame_address(0);
  if (p >= stack && p < (in_fiber ? stack + STACK : launch_frame)) return;
  const bool shared = (p >= __ehdr_start && p < _end) || (p >= shared_begin && p < shared_end);
  const uint32_t code = uint32_t((const char*)from - __ehdr_start);
  const char* does = writes ? "writes" : "reads";
  const auto by_another_block = [&](uint32_t then) {
    return !shared && then >= launch_began && then < block_began;
  };
  for (size_t i = 0; i < size; i++) {
    Cell& c = cell((uintptr_t)p + i);
    if (c.wrote == now && c.writer != tlin) report(does, "wrote", c.writer, c.write_code, code);
    if (by_another_block(c.wrote)) report(does, "wrote", -1, c.write_code, code);
    if (writes) {
      if (c.read == now && c.reader != tlin) report(does, "read", c.reader, c.read_code, code);
      if (by_another_block(c.first_read)) report(does, "read", -1, c.read_code, code);
      c.wrote = now;
      c.writer = tlin;
      c.write_code = code;
    } else {
      c.reader = c.read == now && c.reader != tlin ? SEVERAL : tlin;
      c.read = now;
      if (c.first_read < launch_began) c.first_read = now;
      c.read_code = code;
    }
  }
}
}  // namespace watch
}  // namespace gpusim

#define GPUSIM_ACCESS(name, size, writes)     \
  extern "C" void __tsan_##name(void* place) { \
    gpusim::watch::check(place, size, writes, __builtin_return_address(0)); \
  }
#define GPUSIM_ACCESSES(size)                \
  GPUSIM_ACCESS(read##size, size, false)     \
  GPUSIM_ACCESS(write##size, size, true)
#define GPUSIM_UNALIGNED(size)                       \
  GPUSIM_ACCESS(unaligned_read##size, size, false)   \
  GPUSIM_ACCESS(unaligned_write##size, size, true)
#pragma GCC visibility push(hidden)
GPUSIM_ACCESSES(1)
GPUSIM_ACCESSES(2)
GPUSIM_ACCESSES(4)
GPUSIM_ACCESSES(8)
GPUSIM_ACCESSES(16)
GPUSIM_UNALIGNED(2)
GPUSIM_UNALIGNED(4)
GPUSIM_UNALIGNED(8)
GPUSIM_UNALIGNED(16)
extern "C" void __tsan_read_range(void* place, size_t size) {
  gpusim::watch::check(place, size, false, __builtin_return_address(0));
}
extern "C" void __tsan_write_range(void* place, size_t size) {
  gpusim::watch::check(place, size, true, __builtin_return_address(0));
}
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
#pragma GCC visibility pop
