/* Traffic for tests and benches: a thread for each worker that runs prepared frames round and round
 * and judges every answer, so that a swap of generations can be watched from beside it.
 *
 *   frame: slots + windows ─► copied into the worker's frame ─► margay_process ─► every slot judged
 *
 * Judged of each packet: it has a verdict; the verdict is one of those allowed; the program rewrote
 * the window to the expected bytes (where given, and where the packet passes).
 *
 * Life-cycle: start, read while it runs, stop (joins). Limits: frames of up to 256 packets. The
 * clock is a counter, `step_ms` a frame, so that runs repeat, or the real one, which all share. */
#ifndef MARGAY_TRAFFIC_H
#define MARGAY_TRAFFIC_H

#include <cstdint>
#include <memory>
#include <vector>

extern "C" {
#include "dataplane.h"
}

namespace margay {

struct TrafficFrame {
  uint32_t count = 0;
  std::vector<uint8_t> slots, windows; /* as they go in */
  std::vector<uint8_t> allowed;        /* a mask for each packet: bit v = verdict v is right */
  std::vector<uint8_t> expected;       /* windows as they should come out; empty = not judged */
  /* Every packet is a new flow each time: the low 24 bits of its IPv4 source are counted up. The
   * header checksum isn't: the slot's flags say that it has been checked. */
  bool fresh = false;
};

struct TrafficPlan {
  uint32_t worker = 0;
  uint32_t now_ms = 0, now_seconds = 0, step_ms = 0;
  bool real_clock = false;  /* now_ms and real milliseconds since the start */
  uint32_t age_budget = 0;  /* margay_age with this budget after every frame; 0 = never */
  uint64_t frames_max = 0;  /* 0 = until stopped */
  std::vector<TrafficFrame> frames;
};

struct TrafficCount {
  uint32_t worker = 0;
  uint64_t frames = 0, packets = 0, passed = 0, dropped = 0, replied = 0;
  uint64_t missing = 0;        /* packets without a verdict */
  uint64_t wrong_verdicts = 0, wrong_windows = 0;
  uint64_t core_traps = 0, refused = 0; /* frames that margay_process answered with an error */
  uint64_t aged = 0;
  uint64_t nanoseconds = 0, worst_nanoseconds = 0; /* inside margay_process */
  /* the first packet found wrong: frame in the plan, packet in it, its verdict and reason */
  bool found = false;
  uint32_t frame = 0, packet = 0, verdict = 0, reason = 0;
};

class Traffic {
 public:
  Traffic(margay_dataplane *dp, std::vector<TrafficPlan> plans);
  ~Traffic(); /* stops */
  std::vector<TrafficCount> read() const;
  bool running() const; /* some thread has frames to go */
  void stop();

 private:
  struct Runner;
  std::vector<std::unique_ptr<Runner>> runners_;
};

}  // namespace margay

#endif
