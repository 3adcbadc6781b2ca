// The dataplane as a Node addon: class Native over dataplane.h, and traffic threads over it.
//
//   new Native(options)   stage  module  publish  process  age  memory  counter  traps  stats
//                         trafficStart  trafficRead  trafficStop  close
//
// Life-cycle: the dataplane lives until close(), or until the object and its ArrayBuffer are both
// collected. close() detaches the ArrayBuffer: a view of it then has length 0, never freed memory;
// the memory itself goes back to the system at the next turn of the event loop.
// Limits: calls are synchronous; a push blocks the JavaScript thread, not the traffic threads.
// Source: https://github.com/nodejs/node-addon-api
#include <napi.h>

#include <memory>
#include <string>

#include "traffic.h"

namespace {

using margay::Traffic;
using margay::TrafficCount;
using margay::TrafficFrame;
using margay::TrafficPlan;
using Info = const Napi::CallbackInfo &;
using Dataplane = std::shared_ptr<margay_dataplane>;

// ---- Arguments ------------------------------------------------------------------------------

[[noreturn]] void refuse(Napi::Env env, const std::string &message) {
  throw Napi::TypeError::New(env, message);
}

uint32_t number(const Napi::Value &value, const char *name) {
  if (!value.IsNumber()) refuse(value.Env(), std::string(name) + ": a number is wanted");
  return value.As<Napi::Number>().Uint32Value();
}

uint32_t number_or(const Napi::Object &object, const char *name, uint32_t otherwise) {
  Napi::Value value = object.Get(name);
  return value.IsUndefined() ? otherwise : number(value, name);
}

bool flag(const Napi::Object &object, const char *name, bool otherwise) {
  Napi::Value value = object.Get(name);
  return value.IsUndefined() ? otherwise : value.ToBoolean().Value();
}

Napi::Uint8Array bytes(const Napi::Value &value, const char *name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    refuse(value.Env(), std::string(name) + ": a Uint8Array is wanted");
  return value.As<Napi::Uint8Array>();
}

std::vector<uint8_t> copy(const Napi::Object &object, const char *name, size_t length) {
  Napi::Uint8Array from = bytes(object.Get(name), name);
  if (from.ByteLength() != length)
    refuse(object.Env(), std::string(name) + ": " + std::to_string(from.ByteLength()) +
                             " bytes instead of " + std::to_string(length));
  return std::vector<uint8_t>(from.Data(), from.Data() + length);
}

// ---- Errors ---------------------------------------------------------------------------------

// Error.code is the margay_error, .reason the StageError's text or "engine", .record and .detail
// what the core pointed at.
void check(Napi::Env env, int result) {
  if (result >= 0) return;
  Napi::Error error = Napi::Error::New(env, margay_last_error());
  margay_refusal refusal = {};
  if (result == MARGAY_REFUSED) refusal = margay_last_refusal();
  const char *reason = refusal.error ? margay_stage_error_text(refusal.error) : "engine";
  error.Set("code", Napi::Number::New(env, result));
  error.Set("reason", Napi::String::New(env, reason));
  error.Set("record", Napi::Number::New(env, refusal.record));
  error.Set("detail", Napi::Number::New(env, refusal.detail));
  throw error;
}

// ---- Traffic --------------------------------------------------------------------------------

TrafficFrame frame_of(const Napi::Object &object) {
  TrafficFrame frame;
  frame.count = number(object.Get("count"), "frame.count");
  if (frame.count > MARGAY_FRAME_PACKETS_MAX) refuse(object.Env(), "frame.count: over 256");
  frame.slots = copy(object, "slots", frame.count * MARGAY_SLOT_BYTES);
  frame.windows = copy(object, "windows", frame.count * MARGAY_WINDOW_BYTES);
  frame.allowed = copy(object, "allowed", frame.count);
  if (!object.Get("expected").IsUndefined())
    frame.expected = copy(object, "expected", frame.count * MARGAY_WINDOW_BYTES);
  frame.fresh = flag(object, "fresh", false);
  return frame;
}

TrafficPlan plan_of(const Napi::Object &object) {
  TrafficPlan plan;
  plan.worker = number(object.Get("worker"), "worker");
  plan.now_ms = number_or(object, "nowMs", 0);
  plan.now_seconds = number_or(object, "nowSeconds", 0);
  plan.step_ms = number_or(object, "stepMs", 0);
  plan.real_clock = flag(object, "realClock", false);
  plan.age_budget = number_or(object, "ageBudget", 0);
  plan.frames_max = number_or(object, "framesMax", 0);
  Napi::Value frames = object.Get("frames");
  if (!frames.IsArray()) refuse(object.Env(), "frames: an array is wanted");
  Napi::Array list = frames.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) {
    if (!list.Get(i).IsObject()) refuse(object.Env(), "frames: objects are wanted");
    plan.frames.push_back(frame_of(list.Get(i).As<Napi::Object>()));
  }
  return plan;
}

Napi::Object count_to(Napi::Env env, const TrafficCount &c) {
  Napi::Object object = Napi::Object::New(env);
  auto set = [&](const char *name, uint64_t value) {
    object.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  };
  set("worker", c.worker), set("frames", c.frames), set("packets", c.packets);
  set("passed", c.passed), set("dropped", c.dropped), set("replied", c.replied);
  set("missing", c.missing), set("wrongVerdicts", c.wrong_verdicts);
  set("wrongWindows", c.wrong_windows), set("coreTraps", c.core_traps), set("refused", c.refused);
  set("aged", c.aged), set("nanoseconds", c.nanoseconds);
  set("worstNanoseconds", c.worst_nanoseconds);
  if (c.found) {
    Napi::Object first = Napi::Object::New(env);
    first.Set("frame", c.frame), first.Set("packet", c.packet);
    first.Set("verdict", margay_verdict_text(c.verdict));
    first.Set("reason", margay_reason_text(c.reason));
    object.Set("first", first);
  }
  return object;
}

// ---- The class ------------------------------------------------------------------------------

class Native : public Napi::ObjectWrap<Native> {
 public:
  static Napi::Function Class(Napi::Env env) {
    return DefineClass(
        env, "Native",
        {InstanceMethod<&Native::Stage>("stage"), InstanceMethod<&Native::Module>("module"),
         InstanceMethod<&Native::Publish>("publish"), InstanceMethod<&Native::Process>("process"),
         InstanceMethod<&Native::Age>("age"),
         InstanceMethod<&Native::Restore>("restore"), InstanceMethod<&Native::Memory>("memory"),
         InstanceMethod<&Native::Counter>("counter"), InstanceMethod<&Native::Traps>("traps"),
         InstanceMethod<&Native::Stats>("stats"), InstanceMethod<&Native::Generation>("generation"),
         InstanceMethod<&Native::TrafficStart>("trafficStart"),
         InstanceMethod<&Native::TrafficRead>("trafficRead"),
         InstanceMethod<&Native::TrafficStop>("trafficStop"),
         InstanceMethod<&Native::Close>("close")});
  }

  explicit Native(Info info) : Napi::ObjectWrap<Native>(info) {
    if (!info[0].IsObject()) refuse(info.Env(), "Native: options are wanted");
    Napi::Object wanted = info[0].As<Napi::Object>();
    Napi::Uint8Array core = bytes(wanted.Get("core"), "core");
    margay_options options = {};
    options.core = core.Data();
    options.core_length = core.ByteLength();
    options.memory_pages = number_or(wanted, "memoryPages", 0);
    options.workers = number_or(wanted, "workers", 1);
    options.prefetch = flag(wanted, "prefetch", true);
    options.huge_pages = flag(wanted, "hugePages", false);
    options.private_memory = flag(wanted, "privateMemory", false);
    char error[512];
    margay_dataplane *dp = margay_open(&options, error, sizeof error);
    if (!dp) throw Napi::Error::New(info.Env(), error);
    workers_ = options.workers;
    dp_ = Dataplane(dp, margay_close);
  }

 private:
  margay_dataplane *open(Napi::Env env) {
    if (!dp_) throw Napi::Error::New(env, "the native dataplane is closed");
    return dp_.get();
  }

  void Stage(Info info) {
    Napi::Uint8Array records = bytes(info[0], "records");
    check(info.Env(), margay_stage(open(info.Env()), records.Data(), records.ByteLength()));
  }

  void Module(Info info) {
    uint32_t slot = number(info[0], "slot"), kind = number(info[1], "kind");
    Napi::Uint8Array wasm = bytes(info[2], "wasm");
    check(info.Env(), margay_module(open(info.Env()), slot, kind, wasm.Data(), wasm.ByteLength()));
  }

  void Publish(Info info) {
    check(info.Env(), margay_publish(open(info.Env()), number(info[0], "generation")));
  }

  // 0, or MARGAY_CORE_TRAPPED: then every slot says drop.
  Napi::Value Process(Info info) {
    margay_dataplane *dp = open(info.Env());
    idle(info.Env(), number(info[0], "worker"));
    int result = margay_process(dp, number(info[0], "worker"), number(info[1], "count"),
                                number(info[2], "nowMs"), number(info[3], "nowSeconds"));
    if (result != MARGAY_CORE_TRAPPED) check(info.Env(), result);
    return Napi::Number::New(info.Env(), result);
  }

  Napi::Value Age(Info info) {
    margay_dataplane *dp = open(info.Env());
    idle(info.Env(), number(info[0], "worker"));
    return Napi::Number::New(info.Env(), margay_age(dp, number(info[0], "worker"),
                                                    number(info[1], "nowMs"),
                                                    number(info[2], "budget")));
  }

  Napi::Value Restore(Info info) {
    margay_dataplane *dp = open(info.Env());
    idle(info.Env(), number(info[0], "worker"));
    Napi::Uint8Array records = bytes(info[2], "records");
    int taken = margay_restore(dp, number(info[0], "worker"), number(info[1], "family"),
                               records.Data(), records.ByteLength());
    check(info.Env(), taken);
    return Napi::Number::New(info.Env(), taken);
  }

  Napi::Value Memory(Info info) {
    margay_dataplane *dp = open(info.Env());
    if (!memory_.IsEmpty()) return memory_.Value();
    size_t length;
    uint8_t *data = const_cast<uint8_t *>(margay_memory(dp, &length));
    auto buffer = Napi::ArrayBuffer::New(
        info.Env(), data, length, [](Napi::Env, void *, Dataplane *held) { delete held; },
        new Dataplane(dp_));
    memory_ = Napi::Reference<Napi::ArrayBuffer>::New(buffer, 1);
    return buffer;
  }

  Napi::Value Counter(Info info) {
    uint64_t packets = margay_counter(open(info.Env()), number(info[0], "reason"));
    return Napi::BigInt::New(info.Env(), packets);
  }

  Napi::Value Traps(Info info) {
    margay_dataplane *dp = open(info.Env());
    Napi::Array list = Napi::Array::New(info.Env());
    for (margay_trap trap; margay_traps(dp, &trap);) {
      Napi::Object object = Napi::Object::New(info.Env());
      object.Set("worker", trap.worker), object.Set("policySlot", trap.policy_slot);
      object.Set("message", std::string(trap.message));
      list.Set(list.Length(), object);
    }
    return list;
  }

  Napi::Value Stats(Info info) {
    margay_statistics s = margay_stats(open(info.Env()));
    Napi::Object object = Napi::Object::New(info.Env());
    auto set = [&](const char *name, uint64_t value) {
      object.Set(name, Napi::Number::New(info.Env(), static_cast<double>(value)));
    };
    set("pushes", s.pushes), set("rebuilds", s.rebuilds), set("frames", s.frames);
    set("policyTraps", s.policy_traps), set("coreTraps", s.core_traps);
    set("trapsLost", s.traps_lost), set("instancesAdded", s.instances_added);
    object.Set("hugePages", Napi::Boolean::New(info.Env(), s.huge_pages != 0));
    return object;
  }

  Napi::Value Generation(Info info) {
    return Napi::Number::New(info.Env(), margay_generation(open(info.Env())));
  }

  void TrafficStart(Info info) {
    margay_dataplane *dp = open(info.Env());
    if (traffic_) throw Napi::Error::New(info.Env(), "trafficStart: traffic is running");
    if (!info[0].IsArray()) refuse(info.Env(), "trafficStart: an array of plans is wanted");
    Napi::Array list = info[0].As<Napi::Array>();
    std::vector<TrafficPlan> plans;
    busy_ = 0;
    for (uint32_t i = 0; i < list.Length(); i++) {
      if (!list.Get(i).IsObject()) refuse(info.Env(), "trafficStart: a plan is an object");
      plans.push_back(plan_of(list.Get(i).As<Napi::Object>()));
      uint32_t worker = plans.back().worker;
      if (worker >= workers_ || busy_ >> worker & 1)
        refuse(info.Env(), "trafficStart: worker " + std::to_string(worker) + " is not free");
      busy_ |= 1u << worker;
    }
    traffic_ = std::make_unique<Traffic>(dp, std::move(plans));
  }

  Napi::Value TrafficRead(Info info) {
    Napi::Array list = Napi::Array::New(info.Env());
    if (!traffic_) return list;
    for (const TrafficCount &count : traffic_->read())
      list.Set(list.Length(), count_to(info.Env(), count));
    return list;
  }

  Napi::Value TrafficStop(Info info) {
    if (traffic_) traffic_->stop();
    Napi::Value list = TrafficRead(info);
    traffic_.reset();
    return list;
  }

  void Close(Info info) {
    traffic_.reset();
    if (!memory_.IsEmpty()) {
      memory_.Value().Detach();
      memory_.Reset();
    }
    dp_.reset();
    (void)info;
  }

  // A worker belongs to one thread at a time.
  void idle(Napi::Env env, uint32_t worker) {
    if (traffic_ && worker < 32 && busy_ >> worker & 1)
      throw Napi::Error::New(env, "worker " + std::to_string(worker) + " is running traffic");
  }

  uint32_t workers_ = 0, busy_ = 0;
  Dataplane dp_;
  Napi::Reference<Napi::ArrayBuffer> memory_;
  std::unique_ptr<Traffic> traffic_;
};

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("Native", Native::Class(env));
  return exports;
}

NODE_API_MODULE(margay, Init)

}  // namespace
