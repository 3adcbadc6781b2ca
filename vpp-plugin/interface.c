/* Interfaces: which have our arcs, and what the program calls them.
 *
 *   made ─► all arcs on (fail-closed) ─► up ─► bound: interface_of = its number
 *   deleted: interface_of = unbound and a new incarnation, before its number can be used again
 *
 * A Bind record goes to the control thread and may come to its end after the interface is gone and
 * another one has its number: interface_of is set only where the incarnation is still the same.
 * Until then the program sees the number of an interface that is never bound, and drops.
 *
 * The host itself is VPP's interface local0, number 0.
 *
 * All of this runs on the main thread; interfaces come and go under VPP's barrier. */
#include "margay.h"
#include <vnet/feature/feature.h>

static const struct
{
  const char *arc, *node;
} margay_arcs[] = {
  { "ip4-unicast", "margay-ip4-input" },   { "ip6-unicast", "margay-ip6-input" },
  { "ip4-multicast", "margay-ip4-input" }, { "ip6-multicast", "margay-ip6-input" },
  { "ip4-output", "margay-ip4-output" },   { "ip6-output", "margay-ip6-output" },
  { "ip4-local", "margay-ip4-local" },	   { "ip6-local", "margay-ip6-local" },
};

clib_error_t *
margay_input_enable (u32 sw_if_index, int is_enable)
{
  margay_main_t *mm = &margay_main;

  /* Enabling twice would count twice in VPP, and one disable would not undo it. */
  if (clib_bitmap_get (mm->inputs, sw_if_index) == (uword) is_enable)
    return 0;
  for (u32 i = 0; i < ARRAY_LEN (margay_arcs); i++)
    {
      int rv = vnet_feature_enable_disable (margay_arcs[i].arc, margay_arcs[i].node, sw_if_index,
					    is_enable, 0, 0);
      if (rv)
	return clib_error_return (0, "sw-if-index %u: arc %s refused (%d)", sw_if_index,
				  margay_arcs[i].arc, rv);
    }
  mm->inputs = clib_bitmap_set (mm->inputs, sw_if_index, is_enable);
  return 0;
}

static walk_rc_t
enable_interface (vnet_main_t *vnm, vnet_sw_interface_t *si, void *argument)
{
  clib_error_t *error = margay_input_enable (si->sw_if_index, 1);
  if (error)
    clib_error_report (error);
  return WALK_CONTINUE;
}

/* From now on every new interface has the arcs or not; to fail closed, those that are there too. */
void
margay_mode_set (int fail_closed)
{
  margay_main.fail_closed = fail_closed;
  if (fail_closed)
    vnet_sw_interface_walk (vnet_get_main (), enable_interface, 0);
}

/* Interface 0 stands for all on the punt arcs (what is punted goes on as judged: output.c) and on
 * those through reassembly (fragment.h). Not before startup.conf has been read. */
void
margay_interfaces_start (int fail_closed)
{
  margay_main.is_started = 1;
  vnet_feature_enable_disable ("margay-ip4-fragments", "ip4-sv-reassembly-feature", 0, 1, 0, 0);
  vnet_feature_enable_disable ("margay-ip6-fragments", "ip6-sv-reassembly-feature", 0, 1, 0, 0);
  vnet_feature_enable_disable ("ip4-punt", "margay-ip4-punt", 0, 1, 0, 0);
  vnet_feature_enable_disable ("ip6-punt", "margay-ip6-punt", 0, 1, 0, 0);
  margay_mode_set (fail_closed);
}

u32
margay_interface_incarnation (u32 sw_if_index)
{
  return sw_if_index < MARGAY_INTERFACES_MAX ? margay_main.incarnations[sw_if_index] : 0;
}

void
margay_interface_unbound (u32 sw_if_index)
{
  if (sw_if_index < MARGAY_INTERFACES_MAX)
    margay_main.interface_of[sw_if_index] = MARGAY_INTERFACE_UNBOUND;
}

void
margay_interface_bound (u32 sw_if_index, u32 incarnation, u32 endpoint)
{
  if (sw_if_index >= MARGAY_INTERFACE_UNBOUND ||
      incarnation != margay_main.incarnations[sw_if_index])
    return;
  margay_main.interface_of[sw_if_index] =
    endpoint == MARGAY_NO_ENDPOINT ? MARGAY_INTERFACE_UNBOUND : sw_if_index;
}

static clib_error_t *
margay_interface_add_del (vnet_main_t *vnm, u32 sw_if_index, u32 is_add)
{
  margay_main_t *mm = &margay_main;

  if (is_add)
    return mm->is_started && mm->fail_closed ? margay_input_enable (sw_if_index, 1) : 0;
  margay_interface_unbound (sw_if_index);
  margay_host_stack_interface_gone (sw_if_index);
  if (sw_if_index < MARGAY_INTERFACES_MAX)
    mm->incarnations[sw_if_index]++;
  /* VPP itself takes all features off an interface that goes. */
  mm->inputs = clib_bitmap_set (mm->inputs, sw_if_index, 0);
  return 0;
}

VNET_SW_INTERFACE_ADD_DEL_FUNCTION (margay_interface_add_del);
