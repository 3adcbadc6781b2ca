/* What the files of API handlers share: the generated messages, and how one is made and sent.
 *
 * apiread.c's handlers are named here, for api.c holds the table of all. */
#ifndef MARGAY_APISEND_H
#define MARGAY_APISEND_H
#include "flow.h"
#include <vlibapi/api.h>
#include <vlibmemory/api.h>
#include <margay/margay.api_enum.h>
#include <margay/margay.api_types.h>

extern u16 margay_msg_id_base;

/* The registration of a client that is still there. */
#define MARGAY_CLIENT(client) vl_api_client_index_to_registration (client)

/* A message plus `more` bytes, zeros but for number and context; host order. */
#define MARGAY_MESSAGE(type, number, ctx, more)                                                   \
  ({                                                                                              \
    type *_m = vl_msg_api_alloc_zero (sizeof (type) + (more));                                    \
    _m->_vl_msg_id = margay_msg_id_base + (number);                                               \
    _m->context = (ctx);                                                                          \
    _m;                                                                                           \
  })

/* In network order, on its way; its endian function must be known. */
#define MARGAY_SEND(type, client, message)                                                        \
  do                                                                                              \
    {                                                                                             \
      vl_api_##type##_t_endian (message, 1);                                                      \
      vl_api_send_msg (client, (u8 *) message);                                                   \
    }                                                                                             \
  while (0)

static_always_inline vl_api_address_t
margay_api_address (const margay_flow_end_t *end, int is_ip6)
{
  vl_api_address_t address = { .af = is_ip6 ? ADDRESS_IP6 : ADDRESS_IP4 };
  clib_memcpy (&address.un, end->address, is_ip6 ? 16 : 4);
  return address;
}

/* The fields that a flow and a session have under the same names. */
#define MARGAY_ENDS(m, flow)                                                                      \
  do                                                                                              \
    {                                                                                             \
      (m)->source = margay_api_address (&(flow)->source, (flow)->is_ip6);                         \
      (m)->destination = margay_api_address (&(flow)->destination, (flow)->is_ip6);               \
      (m)->to_source = margay_api_address (&(flow)->to_source, (flow)->is_ip6);                   \
      (m)->to_destination = margay_api_address (&(flow)->to_destination, (flow)->is_ip6);         \
      (m)->source_port = (flow)->source.port;                                                     \
      (m)->destination_port = (flow)->destination.port;                                           \
      (m)->to_source_port = (flow)->to_source.port;                                               \
      (m)->to_destination_port = (flow)->to_destination.port;                                     \
      (m)->protocol = (flow)->protocol;                                                           \
      (m)->rule = (flow)->rule;                                                                   \
      (m)->backend = (flow)->backend;                                                             \
      (m)->peer = (flow)->peer;                                                                   \
    }                                                                                             \
  while (0)

#define MARGAY_HANDLER(name) void vl_api_##name##_t_handler (vl_api_##name##_t *mp);
MARGAY_HANDLER (margay_interface_dump)
MARGAY_HANDLER (margay_status_get)
MARGAY_HANDLER (margay_counter_dump)
MARGAY_HANDLER (margay_trap_dump)
MARGAY_HANDLER (margay_session_get)
MARGAY_HANDLER (margay_save)
#undef MARGAY_HANDLER

#endif
