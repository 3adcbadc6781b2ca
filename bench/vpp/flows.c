/* bench-flows: makes one packet of a stream into packets of many flows, in an order that no cache
 * can foresee. For the benches alone; the packet generator's own ranges come in lock step.
 *
 *   pg-input ─► bench-flows ─► ip4-input or ip6-input
 *
 * The k-th packet of an interface becomes one of flow f(k). Each field is 32 bits, big endian, and
 * becomes base + f(k), or base + f(k) mod m; the checksums that cover it follow (RFC 1624).
 *
 *   f(k) = from + k mod count                            order counter
 *   f(k) = from + a permutation of 0 .. count - 1 at k   order random: each flow once a round, by a
 *          mixing of k's bits that can be undone (an odd multiplication and a shift, twice),
 *          skipping what falls past count
 *
 *   bench flows <interface> count <n> [from <n>] [random] [field <offset> <base> [modulo <m>]
 *     checksum <offset> ...]...
 *
 * Limits: one thread a stream; fields and checksums lie at even offsets; a checksum may follow one
 * field of an address only where it covers both fields' sums (the pseudo-header and the like). */
#include <vlib/vlib.h>
#include <vnet/vnet.h>
#include <vnet/plugin/plugin.h>
#include <vpp/app/version.h>

#define BENCH_FIELDS_MAX    4
#define BENCH_CHECKSUMS_MAX 4

typedef struct
{
  u32 base, modulo;
  u16 offset;
  u16 checksums[BENCH_CHECKSUMS_MAX];
  u8 n_checksums;
} bench_field_t;

typedef struct
{
  u64 next;
  u32 from, count, mask, shift;
  u8 random, n_fields;
  bench_field_t fields[BENCH_FIELDS_MAX];
} bench_stream_t;

typedef enum
{
  BENCH_NEXT_IP4,
  BENCH_NEXT_IP6,
  BENCH_N_NEXT,
} bench_next_t;

extern bench_stream_t **bench_streams;

static_always_inline u32
bench_mixed (const bench_stream_t *s, u32 k)
{
  k = (k * 0x9e3779b1u) & s->mask;
  k ^= k >> s->shift;
  k = (k * 0x85ebca6bu) & s->mask;
  return k ^ k >> s->shift;
}

static_always_inline u32
bench_flow (bench_stream_t *s)
{
  if (!s->random)
    return s->from + s->next++ % s->count;
  u32 flow;
  do
    flow = bench_mixed (s, s->next++ & s->mask);
  while (flow >= s->count);
  return s->from + flow;
}

static_always_inline void
bench_put (u8 *l3, const bench_field_t *f, u32 flow)
{
  u32 to = f->base + (f->modulo ? flow % f->modulo : flow);
  u32 was = clib_net_to_host_u32 (clib_mem_unaligned (l3 + f->offset, u32));
  clib_mem_unaligned (l3 + f->offset, u32) = clib_host_to_net_u32 (to);
  u32 change = (~was >> 16) + (~was & 0xffff) + (to >> 16) + (to & 0xffff);
  for (u32 i = 0; i < f->n_checksums; i++)
    {
      u8 *at = l3 + f->checksums[i];
      u32 sum = (u16) ~clib_net_to_host_u16 (clib_mem_unaligned (at, u16)) + change;
      sum = (sum & 0xffff) + (sum >> 16);
      sum = (sum & 0xffff) + (sum >> 16);
      clib_mem_unaligned (at, u16) = clib_host_to_net_u16 (~sum);
    }
}

VLIB_NODE_FN (bench_flows_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
  u16 nexts[VLIB_FRAME_SIZE];
  u32 *from = vlib_frame_vector_args (frame), n = frame->n_vectors;

  vlib_get_buffers (vm, from, bufs, n);
  for (u32 i = 0; i < n; i++)
    {
      u8 *l3 = vlib_buffer_get_current (bufs[i]);
      u32 sw_if_index = vnet_buffer (bufs[i])->sw_if_index[VLIB_RX];
      bench_stream_t *s = vec_len (bench_streams) > sw_if_index ? bench_streams[sw_if_index] : 0;
      nexts[i] = l3[0] >> 4 == 6 ? BENCH_NEXT_IP6 : BENCH_NEXT_IP4;
      if (!s)
	continue;
      u32 flow = bench_flow (s);
      for (u32 k = 0; k < s->n_fields; k++)
	bench_put (l3, &s->fields[k], flow);
    }
  vlib_buffer_enqueue_to_next (vm, node, from, nexts, n);
  return n;
}

#ifndef CLIB_MARCH_VARIANT
bench_stream_t **bench_streams;

VLIB_REGISTER_NODE (bench_flows_node) = {
  .name = "bench-flows",
  .vector_size = sizeof (u32),
  .type = VLIB_NODE_TYPE_INTERNAL,
  .n_next_nodes = BENCH_N_NEXT,
  .next_nodes = { [BENCH_NEXT_IP4] = "ip4-input", [BENCH_NEXT_IP6] = "ip6-input" },
};

static clib_error_t *
bench_flows_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  bench_stream_t made = { .count = 1 };
  bench_field_t *field = 0;
  u32 sw_if_index = ~0, offset, base;

  if (!unformat (input, "%U", unformat_vnet_sw_interface, vnet_get_main (), &sw_if_index))
    return clib_error_return (0, "expected an interface");
  while (unformat_check_input (input) != UNFORMAT_END_OF_INPUT)
    if (unformat (input, "count %u", &made.count) || unformat (input, "from %u", &made.from))
      ;
    else if (unformat (input, "random"))
      made.random = 1;
    else if (made.n_fields < BENCH_FIELDS_MAX && unformat (input, "field %u %u", &offset, &base))
      {
	field = &made.fields[made.n_fields++];
	field->offset = offset;
	field->base = base;
      }
    else if (field && unformat (input, "modulo %u", &field->modulo))
      ;
    else if (field && field->n_checksums < BENCH_CHECKSUMS_MAX &&
	     unformat (input, "checksum %u", &offset))
      field->checksums[field->n_checksums++] = offset;
    else
      return clib_error_return (0, "unknown input `%U'", format_unformat_error, input);
  if (made.count == 0 || made.count > 1u << 31)
    return clib_error_return (0, "count: expected 1 to %u", 1u << 31);
  u32 bits = clib_max (max_log2 (made.count), 2);
  made.mask = pow2_mask (bits);
  made.shift = bits / 2;
  /* Under the barrier, as this command is not mp-safe: no worker reads meanwhile. */
  vec_validate (bench_streams, sw_if_index);
  if (!bench_streams[sw_if_index])
    bench_streams[sw_if_index] = clib_mem_alloc_aligned (sizeof (made), CLIB_CACHE_LINE_BYTES);
  *bench_streams[sw_if_index] = made;
  return 0;
}

VLIB_CLI_COMMAND (bench_flows_command, static) = {
  .path = "bench flows",
  .short_help = "bench flows <interface> count <n> [from <n>] [random] [field <offset> <base> "
		"[modulo <m>] [checksum <offset>]...]...",
  .function = bench_flows_fn,
};

VLIB_PLUGIN_REGISTER () = {
  .version = VPP_BUILD_VER,
  .description = "Margay's benches: packets of many flows",
};
#endif
