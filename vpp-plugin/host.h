/* The host stack's way through the plugin: which table's packets are whose. */
#ifndef MARGAY_HOST_H
#define MARGAY_HOST_H
#include "margay.h"
#include <vnet/fib/fib_types.h>

/* What stands in a FIB entry: one for each table and family. */
typedef struct
{
  u32 table_id, via_table_id;
  u32 sw_if_index;   /* whose packets they are */
  u32 fib_index;     /* of the table */
  u32 via_fib_index; /* where they are looked up once they are judged */
  u32 locks;
  u8 is_ip6;
  u8 is_gone; /* its interface is: another one may have its number */
} margay_host_t;

extern margay_host_t *margay_hosts; /* pool; its index is the DPO's */

#endif
