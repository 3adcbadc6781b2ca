/* Stop-watches in the plugin, for the benches alone: where a packet's clocks go. Linked behind the
 * product's own objects, at calls that they make (ld --wrap) and at VPP's enqueue function:
 *
 *   the node begins
 *     │ fill      headers copied into windows, slots filled
 *   margay_process
 *     │ parse     into Wasm; parse, source check, hash (to the first prefetch)
 *     │ match     buckets' tags compared, records' lines named (a bucket prefetch to a record one)
 *     │ carry     keys compared, rewriting, seen, counters (from a record prefetch on)
 *     │ prefetch  the import's own calls
 *   back
 *     │ apply     verdicts, windows copied back
 *   vlib_buffer_enqueue_to_next
 *     │ enqueue
 *   the node ends
 *
 *   bench split clear | bench split
 *
 * Limits: a watch costs some 20 clocks and runs a few dozen times a frame of 256, so that the parts
 * add up to some 4 clocks a packet more than the node takes; the last burst of a frame has no
 * bucket prefetch, so that its match counts as carry, as do packets that the fast lane leaves. */
#include <vlib/vlib.h>
#include <vlib/buffer_node.h>
#include "dataplane.h"

#define foreach_bench_part                                                                        \
  _ (FILL, "fill")                                                                                \
  _ (PARSE, "parse")                                                                              \
  _ (MATCH, "match")                                                                              \
  _ (CARRY, "carry")                                                                              \
  _ (PREFETCH, "prefetch")                                                                        \
  _ (APPLY, "apply")                                                                              \
  _ (ENQUEUE, "enqueue")

typedef enum
{
#define _(sym, text) BENCH_##sym,
  foreach_bench_part
#undef _
    BENCH_N_PARTS,
} bench_part_t;

typedef struct
{
  CLIB_CACHE_LINE_ALIGN_MARK (line);
  u64 clocks[BENCH_N_PARTS], packets, frames, last;
  u32 buckets, n;
  bench_part_t now;
  u8 inside, before_enqueue;
} bench_watch_t;

/* Of each VPP thread, by its index. */
#define BENCH_THREADS_MAX 8
static bench_watch_t bench_watches[BENCH_THREADS_MAX];

static bench_watch_t *
bench_watch (void)
{
  return &bench_watches[vlib_get_thread_index () % BENCH_THREADS_MAX];
}

/* Ends a part; what follows is `next`. */
static void
bench_lap (bench_watch_t *w, bench_part_t next)
{
  u64 now = clib_cpu_time_now ();
  w->clocks[w->now] += now - w->last;
  w->last = now;
  w->now = next;
}

extern int __real_margay_process (margay_dataplane *, uint32_t, uint32_t, uint32_t, uint32_t);

int
__wrap_margay_process (margay_dataplane *d, uint32_t worker, uint32_t count, uint32_t ms,
		       uint32_t seconds)
{
  bench_watch_t *w = bench_watch ();
  w->last = vlib_get_main ()->cpu_time_last_node_dispatch;
  w->now = BENCH_FILL;
  bench_lap (w, BENCH_PARSE);
  w->inside = 1;
  w->buckets = 0;
  int rv = __real_margay_process (d, worker, count, ms, seconds);
  w->inside = 0;
  bench_lap (w, BENCH_APPLY);
  w->before_enqueue = 1;
  w->packets += count;
  w->frames++;
  return rv;
}

/* An import's C function, as the engine gives it to the runtime: environment, caller, parameters
 * (16 bytes each, the value first), their number; a trap comes back. Pointers only pass through. */
typedef void *(*bench_call_t) (void *, void *, void *, size_t);

typedef struct
{
  bench_call_t call;
  void *env;
} bench_import_t;

/* An import with numbers alone: prefetch. Its first call of a frame names the buckets' base. */
static void *
bench_import (void *env, void *caller, void *v, size_t n)
{
  bench_import_t *import = env;
  bench_watch_t *w = bench_watch ();
  if (!w->inside)
    return import->call (import->env, caller, v, n);
  u32 base = *(u32 *) v;
  bench_lap (w, BENCH_PREFETCH);
  void *trap = import->call (import->env, caller, v, n);
  if (w->buckets == 0)
    w->buckets = base;
  bench_lap (w, base == w->buckets ? BENCH_MATCH : BENCH_CARRY);
  return trap;
}

extern void __real_wasmtime_func_new_unchecked (void *, const void *, bench_call_t, void *,
						void (*) (void *), void *);

void
__wrap_wasmtime_func_new_unchecked (void *store, const void *type, bench_call_t call, void *env,
				    void (*finalizer) (void *), void *ret)
{
  /* As long-lived as the process: a bench opens a few stores. */
  bench_import_t *import = malloc (sizeof (*import));
  *import = (bench_import_t){ .call = call, .env = env };
  __real_wasmtime_func_new_unchecked (store, type, bench_import, import, finalizer, ret);
}

static vlib_buffer_enqueue_to_next_fn_t *bench_enqueue_real;

static void
bench_enqueue (vlib_main_t *vm, vlib_node_runtime_t *node, u32 *buffers, u16 *nexts, uword count)
{
  bench_watch_t *w = bench_watch ();
  if (!w->before_enqueue)
    {
      bench_enqueue_real (vm, node, buffers, nexts, count);
      return;
    }
  w->before_enqueue = 0;
  bench_lap (w, BENCH_ENQUEUE);
  bench_enqueue_real (vm, node, buffers, nexts, count);
  bench_lap (w, BENCH_ENQUEUE);
}

static clib_error_t *
bench_split_init (vlib_main_t *vm)
{
  bench_enqueue_real = vlib_buffer_func_main.buffer_enqueue_to_next_fn;
  vlib_buffer_func_main.buffer_enqueue_to_next_fn = bench_enqueue;
  return 0;
}

VLIB_MAIN_LOOP_ENTER_FUNCTION (bench_split_init);

static clib_error_t *
bench_split_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  if (unformat (input, "clear"))
    {
      clib_memset (bench_watches, 0, sizeof (bench_watches));
      return 0;
    }
  static const char *texts[] = {
#define _(sym, text) [BENCH_##sym] = text,
    foreach_bench_part
#undef _
  };
  for (u32 t = 0; t < BENCH_THREADS_MAX; t++)
    {
      bench_watch_t *w = &bench_watches[t];
      if (!w->packets)
	continue;
      vlib_cli_output (vm, "thread %u packets %llu frames %llu", t, w->packets, w->frames);
      for (u32 i = 0; i < BENCH_N_PARTS; i++)
	vlib_cli_output (vm, "%s %.2f", texts[i], (f64) w->clocks[i] / w->packets);
    }
  return 0;
}

VLIB_CLI_COMMAND (bench_split_command, static) = {
  .path = "bench split",
  .short_help = "bench split [clear]: clocks a packet, part by part",
  .function = bench_split_fn,
};
