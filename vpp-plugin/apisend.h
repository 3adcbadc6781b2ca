/* What the files of API handlers share: the generated messages, and how one is made.
 *
 * apiread.c's handlers are named here, for api.c holds the table of all. */
#ifndef MARGAY_APISEND_H
#define MARGAY_APISEND_H
#include "jobs.h"
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

#define MARGAY_HANDLER(name) void vl_api_##name##_t_handler (vl_api_##name##_t *mp);
MARGAY_HANDLER (margay_interface_dump)
MARGAY_HANDLER (margay_status_get)
MARGAY_HANDLER (margay_counter_dump)
MARGAY_HANDLER (margay_trap_dump)
MARGAY_HANDLER (margay_session_get)
MARGAY_HANDLER (margay_save)
#undef MARGAY_HANDLER

#endif
