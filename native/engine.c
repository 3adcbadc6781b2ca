/* The Wasm engine on Wasmtime's C API; the contract is in engine.h.
 *
 *   store: table[4096] ◄─ evaluate of each policy instance
 *            ▲ call_indirect
 *          core instance ──► env.memory (shared by every store), host.prefetch
 *            └ member ─────► margay.member of users' policy instances
 *
 * Imports are resolved by name, once a module: a module can ask for nothing but what `kinds` lists;
 * only the core is given the table and prefetch, only policies the core's member. Calls are
 * unchecked: the checked call (type look-up, boxing of values) costs 180 ns instead of 12. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <wasm.h>
#include <wasmtime.h>

#include "layout.h"
#include "sentence.h"

#if !defined(WASMTIME_FEATURE_THREADS) || !defined(WASMTIME_FEATURE_GC)
#error "Wasmtime's C API must be built with the features threads and gc (function tables)"
#endif

#define PAGE 65536u
#define WASM_STACK_BYTES (64u << 10)
#define RESERVATION_BYTES (4ull << 30) /* with it, bounds checks vanish */
#define IMPORTS_MAX 4

typedef enum { IMPORT_TABLE, IMPORT_PREFETCH, IMPORT_MEMORY, IMPORT_MEMBER, IMPORT_KINDS }
    import_kind; /* the core may have all but the last, a policy the last two */
static const struct { const char *module, *name; } kinds[IMPORT_KINDS] = {
    {"env", "table"}, {"host", "prefetch"}, {"env", "memory"}, {"margay", "member"}};

static const struct { const char *name; uint32_t arguments; } calls[MARGAY_CALLS] = {
    {"stage", 1}, {"publish", 1}, {"process", 5}, {"age", 3}, {"recover", 1},
    {"restore", 3}};

struct margay_engine {
  wasm_engine_t *engine;
  wasmtime_sharedmemory_t *shared; /* NULL = private */
  uint8_t *memory;
  size_t memory_bytes;
  margay_engine_options options;
  bool huge_pages;
};

struct margay_code {
  wasmtime_module_t *module;
  uint32_t imports;
  import_kind import[IMPORTS_MAX];
};

struct margay_store {
  wasmtime_store_t *store;
  wasmtime_context_t *context;
  margay_engine *engine;
  wasmtime_extern_t import[IMPORT_KINDS];
  wasmtime_func_t call[MARGAY_CALLS];
};

/* ---- Sentences ------------------------------------------------------------------------------ */

/* True when there is an error, which is then spent. */
static bool failed(wasmtime_error_t *error, const char *what, margay_message *out) {
  if (!error) return false;
  wasm_name_t text;
  wasmtime_error_message(error, &text);
  margay_sentence(out, what, text.data, text.size);
  wasm_byte_vec_delete(&text);
  wasmtime_error_delete(error);
  return true;
}

/* The trap's cause and the function it happened in; the trap is spent. */
static void trap_sentence(wasm_trap_t *trap, margay_message *out) {
  wasm_message_t text;
  wasm_trap_message(trap, &text);
  static const char mark[] = "Caused by:";
  const char *cause = memmem(text.data, text.size, mark, sizeof mark - 1);
  const char *start = cause ? cause + sizeof mark - 1 : text.data;
  margay_sentence(out, "", start, text.size - (size_t)(start - text.data));
  wasm_byte_vec_delete(&text);
  wasm_frame_t *frame = wasm_trap_origin(trap);
  if (frame) {
    const wasm_name_t *name = wasmtime_frame_func_name(frame);
    size_t n = strlen(out->text);
    snprintf(out->text + n, sizeof out->text - n, " in function %u%s%.*s",
             wasm_frame_func_index(frame), name ? " " : "", name ? (int)name->size : 0,
             name ? name->data : "");
    wasm_frame_delete(frame);
  }
  wasm_trap_delete(trap);
}

/* ---- Engine and memory ---------------------------------------------------------------------- */

static wasm_config_t *configure(void) {
  wasm_config_t *config = wasm_config_new();
  wasmtime_config_wasm_threads_set(config, true);
  wasmtime_config_shared_memory_set(config, true); /* simd and bulk memory are on by themselves */
  /* What Node 20 lacks or the program must not use is off, so that no engine takes more. */
  wasmtime_config_wasm_relaxed_simd_set(config, false);
  wasmtime_config_wasm_memory64_set(config, false);
  wasmtime_config_wasm_multi_memory_set(config, false);
  wasmtime_config_wasm_tail_call_set(config, false);
  wasmtime_config_wasm_gc_set(config, false);
  wasmtime_config_wasm_function_references_set(config, false);
  wasmtime_config_max_wasm_stack_set(config, WASM_STACK_BYTES);
  wasmtime_config_memory_reservation_set(config, RESERVATION_BYTES);
  wasmtime_config_memory_may_move_set(config, false);
  wasmtime_config_signals_based_traps_set(config, true);
  wasmtime_config_cranelift_opt_level_set(config, WASMTIME_OPT_LEVEL_SPEED);
#ifdef WASMTIME_FEATURE_PARALLEL_COMPILATION
  /* Its threads would inherit the caller's CPU, and there outlive the dataplane. */
  wasmtime_config_parallel_compilation_set(config, false);
#endif
  /* Nobody unwinds through Wasm frames; registering each module would cost more than it. */
  wasmtime_config_native_unwind_info_set(config, false);
  return config;
}

static wasm_memorytype_t *memory_type(const margay_engine *engine, margay_message *error) {
  uint32_t pages = engine->options.memory_pages;
  bool shared = !engine->options.private_memory;
  wasm_memorytype_t *type = NULL;
  failed(wasmtime_memorytype_new(pages, true, pages, false, shared, 16, &type), "memory: ", error);
  return type;
}

static void memory_is(margay_engine *engine, uint8_t *data, size_t bytes) {
  engine->memory = data;
  engine->memory_bytes = bytes;
  engine->huge_pages = engine->options.huge_pages && !madvise(data, bytes, MADV_HUGEPAGE);
}

margay_engine *margay_engine_new(const margay_engine_options *options, margay_message *error) {
  margay_engine *engine = calloc(1, sizeof *engine);
  if (!engine) return snprintf(error->text, sizeof error->text, "engine: out of memory"), NULL;
  engine->options = *options;
  engine->engine = wasm_engine_new_with_config(configure());
  if (!engine->engine) {
    snprintf(error->text, sizeof error->text, "engine: Wasmtime refused its configuration");
    return free(engine), NULL;
  }
  if (options->private_memory) return engine;
  wasm_memorytype_t *type = memory_type(engine, error);
  bool bad = !type || failed(wasmtime_sharedmemory_new(engine->engine, type, &engine->shared),
                             "memory: ", error);
  if (type) wasm_memorytype_delete(type);
  if (bad) return margay_engine_delete(engine), NULL;
  memory_is(engine, wasmtime_sharedmemory_data(engine->shared),
            wasmtime_sharedmemory_data_size(engine->shared));
  return engine;
}

void margay_engine_delete(margay_engine *engine) {
  if (!engine) return;
  if (engine->shared) wasmtime_sharedmemory_delete(engine->shared);
  wasm_engine_delete(engine->engine);
  free(engine);
}

uint8_t *margay_engine_memory(const margay_engine *engine, size_t *bytes) {
  if (bytes) *bytes = engine->memory_bytes;
  return engine->memory;
}
bool margay_engine_huge_pages(const margay_engine *engine) { return engine->huge_pages; }

/* ---- Modules -------------------------------------------------------------------------------- */

static bool same(const wasm_name_t *name, const char *text) {
  return name->size == strlen(text) && !memcmp(name->data, text, name->size);
}
static bool resolve(margay_code *code, margay_message *error) {
  wasm_importtype_vec_t list;
  wasmtime_module_imports(code->module, &list);
  bool good = true;
  for (size_t i = 0; i < list.size && good; i++) {
    const wasm_name_t *module = wasm_importtype_module(list.data[i]);
    const wasm_name_t *name = wasm_importtype_name(list.data[i]);
    import_kind kind = 0;
    for (; kind < IMPORT_KINDS; kind++)
      if (same(module, kinds[kind].module) && same(name, kinds[kind].name)) break;
    good = kind < IMPORT_KINDS && code->imports < IMPORTS_MAX;
    if (good) code->import[code->imports++] = kind;
    else snprintf(error->text, sizeof error->text, "module: import %.*s.%.*s is not offered",
                  (int)module->size, module->data, (int)name->size, name->data);
  }
  wasm_importtype_vec_delete(&list);
  return good;
}

margay_code *margay_code_new(margay_engine *engine, const uint8_t *wasm, size_t length,
                             margay_message *error) {
  margay_code *code = calloc(1, sizeof *code);
  if (!code) return snprintf(error->text, sizeof error->text, "module: out of memory"), NULL;
  if (failed(wasmtime_module_new(engine->engine, wasm, length, &code->module), "module: ", error))
    return free(code), NULL;
  if (!resolve(code, error)) return margay_code_delete(code), NULL;
  return code;
}

void margay_code_delete(margay_code *code) {
  if (!code) return;
  wasmtime_module_delete(code->module);
  free(code);
}

/* ---- Stores --------------------------------------------------------------------------------- */

/* host.prefetch(base, indexArray, mask, stride, count): asks for the cache line at
 * base + 64 * (u32[indexArray + i * stride] & mask), i < count. The arguments are checked once a
 * call; the lines need no check, for a prefetch reads nothing and faults nowhere. */
static wasm_trap_t *prefetch(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v,
                             size_t n) {
  (void)caller, (void)n;
  const margay_engine *engine = env;
  uint32_t base = (uint32_t)v[0].i32, array = (uint32_t)v[1].i32, mask = (uint32_t)v[2].i32;
  uint32_t stride = (uint32_t)v[3].i32, count = (uint32_t)v[4].i32;
  if (count > 256 || (stride != 4 && stride != 8) ||
      array + (uint64_t)count * stride > engine->memory_bytes)
    return wasmtime_trap_new("prefetch: bad argument", 22);
  const uint8_t *entry = engine->memory + array;
  for (uint32_t i = 0; i < count; i++, entry += stride) {
    uint32_t index;
    memcpy(&index, entry, sizeof index);
    __builtin_prefetch(engine->memory + (uint32_t)(base + 64u * (index & mask)), 0, 3);
  }
  return NULL;
}

static wasm_trap_t *idle(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
  (void)env, (void)caller, (void)v, (void)n;
  return NULL;
}

static bool offer_memory(margay_store *store, margay_message *error) {
  margay_engine *engine = store->engine;
  wasmtime_extern_t *offer = &store->import[IMPORT_MEMORY];
  if (engine->shared) {
    offer->kind = WASMTIME_EXTERN_SHAREDMEMORY;
    offer->of.sharedmemory = engine->shared; /* borrowed: instantiation takes its own reference */
    return true;
  }
  if (engine->memory) {
    snprintf(error->text, sizeof error->text, "store: a private memory belongs to one store");
    return false;
  }
  wasm_memorytype_t *type = memory_type(engine, error);
  offer->kind = WASMTIME_EXTERN_MEMORY;
  bool bad = !type || failed(wasmtime_memory_new(store->context, type, &offer->of.memory),
                             "private memory: ", error);
  if (type) wasm_memorytype_delete(type);
  if (bad) return false;
  memory_is(engine, wasmtime_memory_data(store->context, &offer->of.memory),
            wasmtime_memory_data_size(store->context, &offer->of.memory));
  return true;
}

static bool offer_table(margay_store *store, margay_message *error) {
  wasm_limits_t limits = {MARGAY_POLICY_SLOTS_MAX, MARGAY_POLICY_SLOTS_MAX};
  wasm_tabletype_t *type = wasm_tabletype_new(wasm_valtype_new(WASM_FUNCREF), &limits);
  wasmtime_val_t empty = {.kind = WASMTIME_FUNCREF};
  wasmtime_funcref_set_null(&empty.of.funcref);
  wasmtime_extern_t *offer = &store->import[IMPORT_TABLE];
  offer->kind = WASMTIME_EXTERN_TABLE;
  wasmtime_error_t *bad = wasmtime_table_new(store->context, type, &empty, &offer->of.table);
  wasm_tabletype_delete(type);
  return !failed(bad, "table: ", error);
}

static void offer_prefetch(margay_store *store) {
  wasm_valtype_vec_t parameters, results;
  wasm_valtype_vec_new_uninitialized(&parameters, 5);
  for (size_t i = 0; i < 5; i++) parameters.data[i] = wasm_valtype_new(WASM_I32);
  wasm_valtype_vec_new_empty(&results);
  wasm_functype_t *type = wasm_functype_new(&parameters, &results);
  wasmtime_extern_t *offer = &store->import[IMPORT_PREFETCH];
  offer->kind = WASMTIME_EXTERN_FUNC;
  wasmtime_func_new_unchecked(store->context, type,
                              store->engine->options.prefetch ? prefetch : idle, store->engine,
                              NULL, &offer->of.func);
  wasm_functype_delete(type);
}

static bool instantiate(margay_store *store, const margay_code *code, bool core,
                        wasmtime_instance_t *instance, margay_message *error) {
  wasmtime_extern_t imports[IMPORTS_MAX];
  for (uint32_t i = 0; i < code->imports; i++) {
    import_kind kind = code->import[i];
    if (core ? kind == IMPORT_MEMBER : kind < IMPORT_MEMORY) {
      snprintf(error->text, sizeof error->text, "module: import %s.%s is not for %s",
               kinds[kind].module, kinds[kind].name, core ? "the core" : "a policy");
      return false;
    }
    imports[i] = store->import[kind];
  }
  wasm_trap_t *trap = NULL;
  bool bad = failed(wasmtime_instance_new(store->context, code->module, imports, code->imports,
                                          instance, &trap), "instantiate: ", error);
  if (trap) trap_sentence(trap, error);
  return !bad && !trap;
}

static bool export_function(margay_store *store, const wasmtime_instance_t *instance,
                            const char *name, wasmtime_func_t *function, margay_message *error) {
  wasmtime_extern_t item;
  bool found = wasmtime_instance_export_get(store->context, instance, name, strlen(name), &item);
  bool good = found && item.kind == WASMTIME_EXTERN_FUNC;
  if (good) *function = item.of.func;
  else snprintf(error->text, sizeof error->text, "module: no function is exported as %s", name);
  if (found) wasmtime_extern_delete(&item);
  return good;
}

/* A call from a policy to member stays in Wasm; its type is checked when the policy is linked. */
static bool offer_member(margay_store *store, const wasmtime_instance_t *core,
                         margay_message *error) {
  wasmtime_extern_t *offer = &store->import[IMPORT_MEMBER];
  offer->kind = WASMTIME_EXTERN_FUNC;
  return export_function(store, core, "member", &offer->of.func, error);
}

/* An unchecked call trusts its arity and types, so the core's are checked here. */
static bool core_export(margay_store *store, const wasmtime_instance_t *instance, margay_call call,
                        margay_message *error) {
  if (!export_function(store, instance, calls[call].name, &store->call[call], error)) return false;
  wasm_functype_t *type = wasmtime_func_type(store->context, &store->call[call]);
  const wasm_valtype_vec_t *in = wasm_functype_params(type), *out = wasm_functype_results(type);
  bool good = in->size == calls[call].arguments && out->size == 1 &&
              wasm_valtype_kind(out->data[0]) == WASM_I32;
  for (size_t i = 0; i < in->size && good; i++) good = wasm_valtype_kind(in->data[i]) == WASM_I32;
  wasm_functype_delete(type);
  if (!good)
    snprintf(error->text, sizeof error->text, "core: %s must take %u i32 and return one",
             calls[call].name, calls[call].arguments);
  return good;
}

margay_store *margay_store_new(margay_engine *engine, const margay_code *core,
                               margay_message *error) {
  margay_store *store = calloc(1, sizeof *store);
  if (!store) return snprintf(error->text, sizeof error->text, "store: out of memory"), NULL;
  store->engine = engine;
  store->store = wasmtime_store_new(engine->engine, NULL, NULL);
  store->context = wasmtime_store_context(store->store);
  /* The defaults refuse the 10,001st instance; -1 keeps a default. */
  wasmtime_store_limiter(store->store, -1, -1, 1 << 20, 1 << 20, 1 << 20);
  wasmtime_instance_t instance;
  bool good = offer_memory(store, error) && offer_table(store, error);
  if (good) offer_prefetch(store);
  good = good && instantiate(store, core, true, &instance, error);
  for (margay_call call = 0; call < MARGAY_CALLS && good; call++)
    good = core_export(store, &instance, call, error);
  good = good && offer_member(store, &instance, error);
  if (!good) return margay_store_delete(store), NULL;
  return store;
}

void margay_store_delete(margay_store *store) {
  if (!store) return;
  wasmtime_store_delete(store->store);
  free(store);
}

bool margay_store_set(margay_store *store, uint32_t slot, const margay_code *code,
                      margay_message *error) {
  wasmtime_val_t entry = {.kind = WASMTIME_FUNCREF};
  wasmtime_funcref_set_null(&entry.of.funcref);
  wasmtime_instance_t instance;
  if (code && (!instantiate(store, code, false, &instance, error) ||
               !export_function(store, &instance, "evaluate", &entry.of.funcref, error)))
    return false;
  const wasmtime_table_t *table = &store->import[IMPORT_TABLE].of.table;
  return !failed(wasmtime_table_set(store->context, table, slot, &entry), "table: ", error);
}

bool margay_store_call(margay_store *store, margay_call call,
                       int32_t values[MARGAY_CALL_ARGUMENTS_MAX], margay_message *trap) {
  wasmtime_val_raw_t raw[MARGAY_CALL_ARGUMENTS_MAX];
  uint32_t n = calls[call].arguments;
  for (uint32_t i = 0; i < n; i++) raw[i].i32 = values[i];
  wasm_trap_t *caught = NULL;
  wasmtime_error_t *error =
      wasmtime_func_call_unchecked(store->context, &store->call[call], raw, n, &caught);
  if (__builtin_expect(error || caught, 0)) {
    if (caught) return trap_sentence(caught, trap), false;
    return !failed(error, "", trap);
  }
  values[0] = raw[0].i32;
  return true;
}
