/* A flow as the flow log keeps it, and a session record read as one. Ports in host order. */
#ifndef MARGAY_FLOW_H
#define MARGAY_FLOW_H
#include "margay.h"

typedef enum
{
  MARGAY_FLOW_NEW,
  MARGAY_FLOW_DENIED,
  MARGAY_FLOW_ENDED,
} margay_flow_kind_t;

typedef struct
{
  u8 address[16]; /* IPv4: the first four */
  u16 port;
} margay_flow_end_t;

typedef struct
{
  u64 time_us; /* Unix time */
  u8 kind, verdict, reason, protocol, worker, is_ip6;
  u16 peer;
  margay_flow_end_t source, destination, to_source, to_destination;
  u32 rule, backend, sw_if_index; /* backend ~0 = no Service */
  u32 stages[MARGAY_STAGES];
} margay_flow_t;

/* What else a session record says. */
typedef struct
{
  margay_flow_t flow;
  u32 state, seen_ms, source_endpoint, destination_endpoint, generation;
} margay_session_fields_t;

/* format.c. Protocol, ends, rule, backend and peer of a session record. */
void margay_flow_of_session (margay_flow_t *flow, const u8 *record, int is_ip6);
void margay_session_read (margay_session_fields_t *to, const u8 *record, int is_ip6);
format_function_t format_margay_address;

/* flowlog.c: for the main thread */
void margay_flows_listen (int is_on);
u32 margay_flows_read (margay_flow_t *flows, u32 most);
u64 margay_flows_noted (void); /* since VPP's start; wraps with each ring's 32 bits */
u64 margay_flows_lost (void);

/* flowshow.c, apiread.c: who else listens */
int margay_flows_shown (void);
void margay_flows_keep (const margay_flow_t *flows, u32 n);
u32 margay_flows_listeners (void);

format_function_t format_margay_flow;

#endif
