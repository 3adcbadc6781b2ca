// Traffic threads; what they do and judge is in traffic.h.
#include "traffic.h"

#include <atomic>
#include <cstring>
#include <ctime>
#include <mutex>
#include <thread>

namespace margay {

namespace {

uint64_t now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
}

}  // namespace

struct Traffic::Runner {
  margay_dataplane *dp;
  TrafficPlan plan;
  margay_frame at;
  std::atomic<bool> stopping{false}, done{false};
  mutable std::mutex mutex;
  TrafficCount shown; // what read() sees: a copy made after every round
  TrafficCount count;
  uint32_t flows = 0;
  uint64_t started = now();
  std::thread thread;

  Runner(margay_dataplane *dataplane, TrafficPlan wanted)
      : dp(dataplane), plan(std::move(wanted)), at(margay_worker_frame(dp, plan.worker)) {
    count.worker = shown.worker = plan.worker;
  }

  void wrong(uint32_t frame, uint32_t packet) {
    if (count.found) return;
    count.found = true;
    count.frame = frame;
    count.packet = packet;
    count.verdict = at.slots[packet].verdict;
    count.reason = at.slots[packet].reason;
  }

  void judge(const TrafficFrame &frame, uint32_t number) {
    for (uint32_t i = 0; i < frame.count; i++) {
      const margay_slot &slot = at.slots[i];
      count.passed += slot.verdict == MARGAY_VERDICT_PASS;
      count.dropped += slot.verdict == MARGAY_VERDICT_DROP;
      count.replied += slot.verdict == MARGAY_VERDICT_REPLY;
      bool missing = slot.verdict == MARGAY_VERDICT_NONE;
      bool bad = slot.verdict > 7 || !(frame.allowed[i] >> slot.verdict & 1);
      uint16_t length; /* the slot's own may say where the packet goes on to by now */
      std::memcpy(&length, &frame.slots[i * MARGAY_SLOT_BYTES + MARGAY_SLOT_WINDOW_LENGTH],
                  sizeof length);
      bool torn = !frame.expected.empty() && slot.verdict == MARGAY_VERDICT_PASS &&
                  std::memcmp(at.windows + i * MARGAY_WINDOW_BYTES,
                              &frame.expected[i * MARGAY_WINDOW_BYTES], length) != 0;
      count.missing += missing;
      count.wrong_verdicts += bad && !missing;
      count.wrong_windows += torn;
      if (missing || bad || torn) wrong(number, i);
    }
  }

  void renew(uint32_t packets) {
    for (uint32_t i = 0; i < packets; i++) {
      uint8_t *source = at.windows + i * MARGAY_WINDOW_BYTES + 12;
      uint32_t flow = flows++;
      source[1] = static_cast<uint8_t>(flow >> 16);
      source[2] = static_cast<uint8_t>(flow >> 8);
      source[3] = static_cast<uint8_t>(flow);
    }
  }

  uint32_t clock() const {
    if (!plan.real_clock) return plan.now_ms;
    return plan.now_ms + static_cast<uint32_t>((now() - started) / 1000000u);
  }

  void run_frame(const TrafficFrame &frame, uint32_t number) {
    std::memcpy(at.slots, frame.slots.data(), frame.slots.size());
    std::memcpy(at.windows, frame.windows.data(), frame.windows.size());
    for (uint32_t i = 0; i < frame.count; i++) at.slots[i].verdict = MARGAY_VERDICT_NONE;
    if (frame.fresh) renew(frame.count);
    uint32_t now_ms = clock();
    uint64_t start = now();
    int result = margay_process(dp, plan.worker, frame.count, now_ms, plan.now_seconds);
    uint64_t took = now() - start;
    count.nanoseconds += took;
    if (took > count.worst_nanoseconds) count.worst_nanoseconds = took;
    count.frames++;
    count.packets += frame.count;
    count.core_traps += result == MARGAY_CORE_TRAPPED;
    count.refused += result < 0 && result != MARGAY_CORE_TRAPPED;
    judge(frame, number);
    plan.now_ms += plan.step_ms;
    if (plan.age_budget) count.aged += margay_age(dp, plan.worker, now_ms, plan.age_budget);
  }

  void run() {
    bool going = !plan.frames.empty();
    while (going && !stopping.load(std::memory_order_relaxed)) {
      for (uint32_t i = 0; i < plan.frames.size() && going; i++) {
        run_frame(plan.frames[i], i);
        going = !plan.frames_max || count.frames < plan.frames_max;
        if (stopping.load(std::memory_order_relaxed)) break;
      }
      std::lock_guard<std::mutex> lock(mutex);
      shown = count;
    }
    done = true;
  }
};

Traffic::Traffic(margay_dataplane *dp, std::vector<TrafficPlan> plans) {
  for (auto &plan : plans) runners_.push_back(std::make_unique<Runner>(dp, std::move(plan)));
  for (auto &runner : runners_) runner->thread = std::thread(&Runner::run, runner.get());
}

Traffic::~Traffic() { stop(); }

void Traffic::stop() {
  for (auto &runner : runners_) runner->stopping = true;
  for (auto &runner : runners_)
    if (runner->thread.joinable()) runner->thread.join();
}

bool Traffic::running() const {
  for (auto &runner : runners_)
    if (!runner->done) return true;
  return false;
}

std::vector<TrafficCount> Traffic::read() const {
  std::vector<TrafficCount> counts;
  for (auto &runner : runners_) {
    std::lock_guard<std::mutex> lock(runner->mutex);
    counts.push_back(runner->shown);
  }
  return counts;
}

}  // namespace margay
