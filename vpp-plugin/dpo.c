/* `margay host-stack`: the default routes of a host stack's table lead to margay-ip4/6-host.
 *
 *   margay host-stack add table <id> interface <name> [via table <id>]
 *     ─► both families: table <id> must be there; 0.0.0.0/0 and ::/0 of it become ours
 *   margay host-stack del table <id>
 *
 * The route has VPP's highest priority for plugins, so that no route by API or CLI takes it away;
 * more specific routes of the table (the endpoint's own address) hold as ever, and so does an
 * interface's. A packet to another address of the node is judged like all others, in the via table.
 *
 * An interface that goes while it has a host stack: its packets are dropped as unknown-endpoint,
 * whoever gets its number, until the host stack is deleted too. */
#include "host.h"
#include <vnet/dpo/dpo.h>
#include <vnet/fib/fib_table.h>

margay_host_t *margay_hosts;
static dpo_type_t host_dpo_type;
static fib_source_t host_source;

static void
host_lock (dpo_id_t *dpo)
{
  pool_elt_at_index (margay_hosts, dpo->dpoi_index)->locks++;
}

static void
host_unlock (dpo_id_t *dpo)
{
  margay_host_t *host = pool_elt_at_index (margay_hosts, dpo->dpoi_index);
  if (--host->locks == 0)
    pool_put (margay_hosts, host);
}

static u8 *
format_host (u8 *s, va_list *args)
{
  index_t index = va_arg (*args, index_t);
  CLIB_UNUSED (u32 indent) = va_arg (*args, u32);
  margay_host_t *host = pool_elt_at_index (margay_hosts, index);
  if (host->is_gone)
    return format (s, "margay-host-stack: its interface is gone");
  return format (s, "margay-host-stack: %U via table %u", format_vnet_sw_if_index_name,
		 vnet_get_main (), host->sw_if_index, host->via_table_id);
}

/* Who may send into the table: VPP's own source check takes no route without an interface. */
static u32
host_urpf (const dpo_id_t *dpo)
{
  return pool_elt_at_index (margay_hosts, dpo->dpoi_index)->sw_if_index;
}

static const dpo_vft_t host_vft = {
  .dv_get_urpf = host_urpf,
  .dv_lock = host_lock,
  .dv_unlock = host_unlock,
  .dv_format = format_host,
};
static const char *const host_ip4_nodes[] = { "margay-ip4-host", NULL };
static const char *const host_ip6_nodes[] = { "margay-ip6-host", NULL };
static const char *const *const host_nodes[DPO_PROTO_NUM] = {
  [DPO_PROTO_IP4] = host_ip4_nodes,
  [DPO_PROTO_IP6] = host_ip6_nodes,
};

static clib_error_t *
margay_dpo_init (vlib_main_t *vm)
{
  host_dpo_type = dpo_register_new_type (&host_vft, host_nodes);
  host_source =
    fib_source_allocate ("margay-host-stack", FIB_SOURCE_PRIORITY_HI, FIB_SOURCE_BH_SIMPLE);
  return 0;
}

VLIB_INIT_FUNCTION (margay_dpo_init);

static margay_host_t *
host_of_table (u32 table_id, int is_ip6)
{
  margay_host_t *host;
  pool_foreach (host, margay_hosts)
    if (host->table_id == table_id && host->is_ip6 == is_ip6)
      return host;
  return 0;
}

static void
del_host (margay_host_t *host)
{
  fib_prefix_t all = { .fp_proto = host->is_ip6 ? FIB_PROTOCOL_IP6 : FIB_PROTOCOL_IP4 };
  u32 fib_index = host->fib_index, via = host->via_fib_index;

  fib_table_entry_special_remove (fib_index, &all, host_source); /* the last lock goes with it */
  fib_table_unlock (via, all.fp_proto, host_source);
  fib_table_unlock (fib_index, all.fp_proto, host_source);
}

static void
add_host (u32 table_id, u32 sw_if_index, u32 via_table_id, int is_ip6)
{
  fib_prefix_t all = { .fp_proto = is_ip6 ? FIB_PROTOCOL_IP6 : FIB_PROTOCOL_IP4 };
  dpo_id_t dpo = DPO_INVALID;
  margay_host_t *host;
  /* Both are there: a lock of ours keeps them. */
  u32 fib_index = fib_table_find_or_create_and_lock (all.fp_proto, table_id, host_source);
  u32 via = fib_table_find_or_create_and_lock (all.fp_proto, via_table_id, host_source);

  /* Workers read the pool. */
  vlib_worker_thread_barrier_sync (vlib_get_main ());
  pool_get_zero (margay_hosts, host);
  *host = (margay_host_t){ .table_id = table_id, .via_table_id = via_table_id,
			   .sw_if_index = sw_if_index, .fib_index = fib_index,
			   .via_fib_index = via, .is_ip6 = is_ip6 };
  vlib_worker_thread_barrier_release (vlib_get_main ());
  dpo_set (&dpo, host_dpo_type, is_ip6 ? DPO_PROTO_IP6 : DPO_PROTO_IP4, host - margay_hosts);
  fib_table_entry_special_dpo_add (fib_index, &all, host_source, FIB_ENTRY_FLAG_EXCLUSIVE, &dpo);
  dpo_reset (&dpo);
}

void
margay_host_stack_interface_gone (u32 sw_if_index)
{
  margay_host_t *host;
  pool_foreach (host, margay_hosts)
    if (host->sw_if_index == sw_if_index && !host->is_gone)
      {
	host->is_gone = 1;
	host->sw_if_index = 0;
      }
}

clib_error_t *
margay_host_stack_add_del (u32 table_id, u32 sw_if_index, u32 via_table_id, int is_add)
{
  for (int is_ip6 = 0; is_add && is_ip6 < 2; is_ip6++)
    {
      fib_protocol_t protocol = is_ip6 ? FIB_PROTOCOL_IP6 : FIB_PROTOCOL_IP4;
      const char *family = is_ip6 ? "IPv6" : "IPv4";
      if (table_id == via_table_id)
	return clib_error_return (0, "table %u: via the same table", table_id);
      if (fib_table_find (protocol, table_id) == ~0)
	return clib_error_return (0, "table %u: no such %s table", table_id, family);
      if (fib_table_find (protocol, via_table_id) == ~0)
	return clib_error_return (0, "via table %u: no such %s table", via_table_id, family);
      if (host_of_table (table_id, is_ip6))
	return clib_error_return (0, "table %u: has a host stack already", table_id);
    }
  if (is_add && !vnet_sw_interface_is_valid (vnet_get_main (), sw_if_index))
    return clib_error_return (0, "sw-if-index %u: no such interface", sw_if_index);
  for (int is_ip6 = 0; is_ip6 < 2; is_ip6++)
    {
      margay_host_t *host = host_of_table (table_id, is_ip6);
      if (is_add)
	add_host (table_id, sw_if_index, via_table_id, is_ip6);
      else if (host)
	del_host (host);
      else
	return clib_error_return (0, "table %u: has no host stack", table_id);
    }
  return 0;
}

static clib_error_t *
host_stack_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  u32 table_id = ~0, via = 0, sw_if_index = ~0;
  int is_add = -1;
  clib_error_t *error;

  while (unformat_check_input (input) != UNFORMAT_END_OF_INPUT)
    {
      if (unformat (input, "add"))
	is_add = 1;
      else if (unformat (input, "del"))
	is_add = 0;
      else if (unformat (input, "via table %u", &via))
	;
      else if (unformat (input, "table %u", &table_id))
	;
      else if (unformat (input, "interface %U", unformat_vnet_sw_interface, vnet_get_main (),
			 &sw_if_index))
	;
      else
	return clib_error_return (0, "unknown input `%U'", format_unformat_error, input);
    }
  if (is_add < 0 || table_id == ~0 || (is_add && sw_if_index == ~0))
    return clib_error_return (0, "expected %s", cmd->short_help);
  error = margay_host_stack_add_del (table_id, sw_if_index, via, is_add);
  if (!error)
    vlib_cli_output (vm, "host stack %s: table %u", is_add ? "added" : "deleted", table_id);
  return error;
}

VLIB_CLI_COMMAND (host_stack_command, static) = {
  .path = "margay host-stack",
  .short_help = "margay host-stack add table <id> interface <name> [via table <id>] | "
		"del table <id>",
  .function = host_stack_fn,
};
