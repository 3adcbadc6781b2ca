/* The Wasm engine: the only header between the dataplane and Wasmtime.
 *
 *   margay_engine   configuration + the one linear memory            (one a dataplane)
 *     margay_code   a compiled module, shared by all stores          (one a module)
 *     margay_store  table + core instance + policy instances        (two a worker, one for control)
 *
 * Life-cycle: engine, codes, stores; deleted in any order (Wasmtime counts references), but a store
 * only while nobody calls into it. An instance lives as long as its store: to shed old ones, make
 * another store and delete this one.
 *
 * Threads: engine and codes may be used from any thread; a store from one at a time.
 *
 * Limits: 32-bit memory of a fixed size; 64 KiB of Wasm stack (a host's threads may have little);
 * no fuel and no epochs: modules end because the core admits no loops.
 *
 * Source: Wasmtime's C API, https://docs.wasmtime.dev/c-api/ */
#ifndef MARGAY_ENGINE_H
#define MARGAY_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct margay_engine margay_engine;
typedef struct margay_code margay_code;
typedef struct margay_store margay_store;

/* One sentence, without a newline. */
typedef struct {
  char text[480];
} margay_message;

typedef struct {
  uint32_t memory_pages;
  bool private_memory; /* the memory belongs to the first store instead of to all */
  bool huge_pages;
  bool prefetch;
} margay_engine_options;

/* The core's exports, by number; the names and arities stand in engine.c. */
typedef enum {
  MARGAY_CALL_STAGE,
  MARGAY_CALL_PUBLISH,
  MARGAY_CALL_PROCESS,
  MARGAY_CALL_AGE,
  MARGAY_CALL_RECOVER,
  MARGAY_CALL_RESTORE,
  MARGAY_CALLS
} margay_call;

#define MARGAY_CALL_ARGUMENTS_MAX 5

margay_engine *margay_engine_new(const margay_engine_options *options, margay_message *error);
void margay_engine_delete(margay_engine *engine);
/* NULL for a private memory until the first store is made. */
uint8_t *margay_engine_memory(const margay_engine *engine, size_t *bytes);
/* Whether the kernel took the advice to use huge pages. */
bool margay_engine_huge_pages(const margay_engine *engine);

/* Compiles; the thread needs some megabytes of stack. NULL on a refusal. */
margay_code *margay_code_new(margay_engine *engine, const uint8_t *wasm, size_t length,
                             margay_message *error);
void margay_code_delete(margay_code *code);

/* A store with an empty table and an instance of the core. NULL on a refusal. */
margay_store *margay_store_new(margay_engine *engine, const margay_code *core,
                               margay_message *error);
void margay_store_delete(margay_store *store);
/* Instantiates a policy module and puts its export `evaluate` into the table; code NULL empties
 * the entry, so that a call of it traps. */
bool margay_store_set(margay_store *store, uint32_t slot, const margay_code *code,
                      margay_message *error);
/* Calls an export of the core. `values` holds the arguments; the result comes in values[0]. False
 * on a trap, with its sentence. */
bool margay_store_call(margay_store *store, margay_call call,
                       int32_t values[MARGAY_CALL_ARGUMENTS_MAX], margay_message *trap);

#endif
