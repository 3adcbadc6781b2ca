/* Flows as they are kept and told: by traces, by the flow log, by the list of sessions. Ports are
 * in host order, IPv4 addresses the first four bytes of sixteen. */
#ifndef MARGAY_FLOW_H
#define MARGAY_FLOW_H
#include "margay.h"

typedef struct
{
  u8 address[16];
  u16 port;
} margay_flow_end_t;

/* What a traced packet keeps: the verdict, and both ends before and after the rewrite. */
typedef struct
{
  u8 is_ip6, protocol, verdict, reason, rewritten, direction, hook;
  u32 rule, backend, sw_if_index, packet_length, peer;
  u32 stages[MARGAY_STAGES]; /* policy slot << 16 | rule, 0 = not asked */
  margay_flow_end_t source, destination, to_source, to_destination;
} margay_trace_t;

typedef enum
{
  MARGAY_FLOW_NEW,
  MARGAY_FLOW_DENIED,
  MARGAY_FLOW_ENDED,
} margay_flow_kind_t;

/* What the flow log keeps. */
typedef struct
{
  u64 time_us; /* Unix time */
  u8 kind, verdict, reason, protocol, worker, is_ip6;
  u16 peer;
  margay_flow_end_t source, destination, to_source, to_destination;
  u32 rule, backend, sw_if_index; /* backend ~0 = no Service */
  u32 stages[MARGAY_STAGES];
} margay_flow_t;

/* What a session record says. */
typedef struct
{
  margay_flow_t flow;
  u32 state, seen_ms, source_endpoint, destination_endpoint, generation;
} margay_session_fields_t;

/* A line of `show margay sessions`: a record of the IPv4 or the IPv6 table. */
typedef struct
{
  const u8 *record;
  u8 is_ip6;
} margay_session_t;

/* flow.c. Of a packet only what these bytes hold is written. */
void margay_flow_of_packet (margay_flow_end_t *source, margay_flow_end_t *destination,
			    u8 *protocol, const u8 *l3, u32 bytes, int is_ip6);
/* Protocol, ends, rule, backend and peer of a session record. */
void margay_flow_of_session (margay_flow_t *flow, const u8 *record, int is_ip6);
void margay_session_read (margay_session_fields_t *to, const u8 *record, int is_ip6);

/* format.c */
format_function_t format_margay_flow;
format_function_t format_margay_session;

/* flowlog.c, on the main thread */
void margay_flows_listen (int is_on);
void margay_flows_reset (void); /* under the barrier: another dataplane */
u32 margay_flows_read (margay_flow_t *flows, u32 most);

/* Over all workers since VPP's start; `noted` wraps with each ring's 32 bits. */
typedef struct
{
  u64 noted, lost;
} margay_flow_counts_t;
margay_flow_counts_t margay_flows_count (void);

/* apiflow.c: clients that listen */
int margay_flows_want (u32 client, u32 pid, int enable);
void margay_flows_client_gone (u32 client);
u32 margay_flows_listeners (void);
void margay_flows_tell (void); /* to all that listen */

/* flowshow.c: the CLI listens */
int margay_flows_shown (void);
void margay_flows_keep (const margay_flow_t *flows, u32 n);

#endif
