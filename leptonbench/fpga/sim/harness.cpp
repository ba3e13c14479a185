// One core, one process, many jobs: a job comes over standard input, its result goes over standard output, and DRAM is a
// file that both sides have mapped. Records are little-endian and have no padding; simulator.py writes and reads the same.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "Vcore.h"
#include "dram.hpp"
#include "verilated.h"

namespace {

constexpr uint32_t kJob = 0x31424a4c, kResult = 0x31424c52;
constexpr int kCounters = LB_COUNTERS;
enum Status : uint32_t { kDone = 0, kHang = 1, kFault = 2, kTooLong = 3, kOutside = 4 };

struct Job {
  uint32_t magic, program;
  DramSettings dram;
  uint64_t watchdog_cycles, max_cycles;
};
struct Stamp { uint64_t number, cycle; };
struct Result {
  uint32_t magic, status;
  uint64_t cycles, state, waiting, cpu_ns, counters[kCounters], stamps;
};
static_assert(sizeof(Job) == 48 && sizeof(Result) == 48 + 8 * kCounters, "no padding");

bool read_all(void* to, size_t size) { return std::fread(to, 1, size, stdin) == size; }

class Bench {
 public:
  Bench(uint8_t* memory, uint64_t size) : dram_(memory, size, LB_BUS_BYTES) {}

  Result run(const Job& job, std::vector<Stamp>& stamps) {
    timespec begin, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    dram_.start(job.dram);
    reset(job.program);
    Result result{};
    result.magic = kResult;
    result.status = loop(job, stamps, result);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    result.cpu_ns = (end.tv_sec - begin.tv_sec) * 1000000000ull + end.tv_nsec - begin.tv_nsec;
    for (int i = 0; i < kCounters; i++) {
      top_.counter_index = i;
      top_.eval();
      result.counters[i] = top_.counter;
    }
    result.state = top_.state;
    result.waiting = dram_.idle() ? 0 : 1;
    result.stamps = stamps.size();
    return result;
  }

 private:
  void edge() {
    top_.clk = 1;
    top_.eval();
    top_.clk = 0;
  }

  void reset(uint32_t program) {
    top_.clk = 0;
    top_.start = top_.ar_ready = top_.r_valid = top_.aw_ready = top_.w_ready = top_.b_valid = 0;
    top_.reset = 1;
    for (int i = 0; i < 2; i++) {
      top_.eval();
      edge();
    }
    top_.reset = 0;
    top_.start = 1;
    top_.program_address = program;
    top_.eval();
    edge();
    top_.start = 0;
  }

  Status loop(const Job& job, std::vector<Stamp>& stamps, Result& result) {
    uint64_t moved = 0;
    for (uint64_t now = 0;; now++) {
      result.cycles = now;
      dram_.tick(now);
      top_.r_valid = dram_.data_ready(now);
      if (top_.r_valid) std::memcpy(&top_.r_data[0], dram_.take_data(), LB_BUS_BYTES);
      top_.b_valid = dram_.take_acknowledgement(now);
      top_.ar_ready = dram_.can_read();
      top_.aw_ready = dram_.can_write_address();
      top_.w_ready = dram_.can_write_data();
      top_.eval();
      if (top_.done) return kDone;
      if (top_.fault) return kFault;
      if (top_.progress) moved = now;
      if (top_.stamp_valid) stamps.push_back({top_.stamp, now});
      if (top_.ar_valid && top_.ar_ready) dram_.read(top_.ar_address, top_.ar_beats);
      if (top_.aw_valid && top_.aw_ready) dram_.write_address(top_.aw_address, top_.aw_beats);
      if (top_.w_valid && top_.w_ready) dram_.write_data(&top_.w_data[0], top_.w_mask, LB_ROWS);
      if (dram_.outside()) return kOutside;
      if (now - moved > job.watchdog_cycles) return kHang;
      if (now >= job.max_cycles) return kTooLong;
      edge();
    }
  }

  VerilatedContext context_;
  Vcore top_{&context_};
  Dram dram_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  const uint64_t size = std::strtoull(argv[2], nullptr, 10);
  const int file = open(argv[1], O_RDWR);
  if (file < 0) return 66;
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) return 71;
  Bench bench(static_cast<uint8_t*>(memory), size);
  Job job;
  while (read_all(&job, sizeof job)) {
    if (job.magic != kJob) return 65;
    std::vector<Stamp> stamps;
    const Result result = bench.run(job, stamps);
    std::fwrite(&result, sizeof result, 1, stdout);
    std::fwrite(stamps.data(), sizeof(Stamp), stamps.size(), stdout);
    std::fflush(stdout);
  }
  return 0;
}
