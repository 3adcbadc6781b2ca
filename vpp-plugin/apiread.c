/* The binary API: messages that read.
 *
 * Each answers at once, from memory that workers write meanwhile; a call reads a bounded stretch of
 * the session tables, and the client asks on from its end. Only the status of the dataplane beside
 * is asked on the control thread, which may be closing it. */
#include "apisend.h"
#include "stats.h"
#include <unistd.h>
#define vl_endianfun
#include <margay/margay.api.h>
#undef vl_endianfun

#define SESSIONS_VISITED 1024 /* of the tables' records, a call */

/* ---- State ---------------------------------------------------------------------------------- */

static void
send_status (u32 client_index, u32 context, const margay_status_t *s)
{
  margay_main_t *mm = &margay_main;
  vl_api_registration_t *client = MARGAY_CLIENT (client_index);
  if (!client)
    return;
  vl_api_margay_status_get_reply_t *m = MARGAY_MESSAGE (
    vl_api_margay_status_get_reply_t, VL_API_MARGAY_STATUS_GET_REPLY, context, 0);
  m->fail_closed = mm->fail_closed;
  m->now_ms = margay_now_ms (vlib_get_main ());
  m->now_seconds = margay_now_seconds ();
  m->clock_fixed = mm->clock.is_fixed;
  m->pid = getpid ();
  m->layout_version = MARGAY_LAYOUT_VERSION;
  m->aged = margay_sessions_aged ();
  m->beside = margay_is_beside ();
  if (s)
    {
      m->generation = s->generation;
      m->workers = s->workers;
      m->pages = s->pages;
      m->huge_pages = s->huge_pages;
      m->sessions4 = s->sessions4;
      m->sessions4_max = s->sessions4_max;
      m->sessions6 = s->sessions6;
      m->sessions6_max = s->sessions6_max;
      m->pushes = s->engine.pushes;
      m->rebuilds = s->engine.rebuilds;
      m->frames = s->engine.frames;
      m->policy_traps = s->engine.policy_traps;
      m->core_traps = s->engine.core_traps;
      clib_memcpy (m->core_sha256, s->core_sha256, 32);
      clib_memcpy (m->staged_sha256, s->staged_sha256, 32);
    }
  else
    m->retval = VNET_API_ERROR_NO_SUCH_ENTRY;
  MARGAY_SEND (margay_status_get_reply, client, m);
}

static void
finish_status (margay_job_t *job)
{
  send_status (job->client, job->context, job->retval ? 0 : job->status);
  free (job->status);
}

void
vl_api_margay_status_get_t_handler (vl_api_margay_status_get_t *mp)
{
  margay_core_t *core = margay_core_running ();
  margay_status_t status;

  if (!mp->beside)
    {
      if (core)
	margay_status_of (core, &status);
      send_status (mp->client_index, mp->context, core ? &status : 0);
      return;
    }
  margay_job_t *job = margay_job_new (margay_work_status, 0);
  job->client = mp->client_index;
  job->context = mp->context;
  job->finish = finish_status;
  job->status = calloc (1, sizeof (*job->status));
  if (margay_job_post (job))
    {
      finish_status (job);
      margay_job_free (job);
    }
}

void
vl_api_margay_interface_dump_t_handler (vl_api_margay_interface_dump_t *mp)
{
  vl_api_registration_t *client = MARGAY_CLIENT (mp->client_index);
  margay_core_t *core = margay_core_running ();
  vnet_sw_interface_t *si;

  if (!client)
    return;
  pool_foreach (si, vnet_get_main ()->interface_main.sw_interfaces)
    {
      u32 i = si->sw_if_index;
      vl_api_margay_interface_details_t *m = MARGAY_MESSAGE (
	vl_api_margay_interface_details_t, VL_API_MARGAY_INTERFACE_DETAILS, mp->context, 0);
      m->sw_if_index = i;
      m->enabled = clib_bitmap_get (margay_main.inputs, i);
      m->bound = i < MARGAY_INTERFACE_UNBOUND && margay_main.interface_of[i] == i;
      m->endpoint = m->bound && core ? core->endpoints[i] : MARGAY_NO_ENDPOINT;
      MARGAY_SEND (margay_interface_details, client, m);
    }
}

void
vl_api_margay_counter_dump_t_handler (vl_api_margay_counter_dump_t *mp)
{
  vl_api_registration_t *client = MARGAY_CLIENT (mp->client_index);

  for (u32 reason = 0; client && reason < MARGAY_COUNTERS; reason++)
    {
      u64 packets = margay_packets (reason);
      if (!packets)
	continue;
      vl_api_margay_counter_details_t *m = MARGAY_MESSAGE (
	vl_api_margay_counter_details_t, VL_API_MARGAY_COUNTER_DETAILS, mp->context, 0);
      m->reason = reason;
      m->packets = packets;
      strncpy ((char *) m->name, margay_reason_text (reason), sizeof (m->name) - 1);
      MARGAY_SEND (margay_counter_details, client, m);
    }
}

void
vl_api_margay_trap_dump_t_handler (vl_api_margay_trap_dump_t *mp)
{
  vl_api_registration_t *client = MARGAY_CLIENT (mp->client_index);
  const margay_kept_trap_t *kept;

  for (u32 i = 0; client && (kept = margay_trap_kept (i)); i++)
    {
      vl_api_margay_trap_details_t *m = MARGAY_MESSAGE (
	vl_api_margay_trap_details_t, VL_API_MARGAY_TRAP_DETAILS, mp->context, 0);
      m->number = kept->number;
      m->worker = kept->trap.worker;
      m->policy_slot = kept->trap.policy_slot;
      clib_memcpy (m->message, kept->trap.message, sizeof (m->message));
      m->message[sizeof (m->message) - 1] = 0;
      MARGAY_SEND (margay_trap_details, client, m);
    }
}

/* ---- Sessions ------------------------------------------------------------------------------- */

static void
send_session (vl_api_registration_t *client, u32 context, u32 number, const u8 *record, int is_ip6)
{
  margay_session_fields_t f;
  vl_api_margay_session_details_t *m = MARGAY_MESSAGE (
    vl_api_margay_session_details_t, VL_API_MARGAY_SESSION_DETAILS, context, 0);

  margay_session_read (&f, record, is_ip6);
  MARGAY_ENDS (m, &f.flow);
  m->number = number;
  m->state = f.state;
  m->seen_ms = f.seen_ms;
  m->source_endpoint = f.source_endpoint;
  m->destination_endpoint = f.destination_endpoint;
  m->generation = f.generation;
  MARGAY_SEND (margay_session_details, client, m);
}

static int
family_is_wrong (u8 family)
{
  if (!margay_main.dataplane)
    return VNET_API_ERROR_NO_SUCH_ENTRY;
  return family == 4 || family == 6 ? 0 : VNET_API_ERROR_INVALID_VALUE;
}

void
vl_api_margay_session_get_t_handler (vl_api_margay_session_get_t *mp)
{
  vl_api_registration_t *client = MARGAY_CLIENT (mp->client_index);
  u8 record[MARGAY_SESSION6_BYTES];
  int rv = family_is_wrong (mp->family);
  u32 i = clib_max (mp->cursor, 1), end = 0, sent = 0, visited = 0;

  if (!client)
    return;
  if (!rv)
    end = margay_sessions_end (margay_main.dataplane, mp->family);
  for (; i < end && visited < SESSIONS_VISITED && sent < SESSIONS_VISITED / 4; i++, visited++)
    if (!vl_api_can_send_msg (client))
      break;
    else if (margay_session_copy (margay_main.dataplane, mp->family, i, record))
      {
	send_session (client, mp->context, i, record, mp->family == 6);
	sent++;
      }
  vl_api_margay_session_get_reply_t *m = MARGAY_MESSAGE (
    vl_api_margay_session_get_reply_t, VL_API_MARGAY_SESSION_GET_REPLY, mp->context, 0);
  m->retval = rv ? rv : i < end ? VNET_API_ERROR_EAGAIN : 0;
  m->cursor = m->retval == VNET_API_ERROR_EAGAIN ? i : ~0;
  MARGAY_SEND (margay_session_get_reply, client, m);
}

void
vl_api_margay_save_t_handler (vl_api_margay_save_t *mp)
{
  vl_api_registration_t *client = MARGAY_CLIENT (mp->client_index);
  u32 size = margay_session_bytes (mp->family);
  u8 records[MARGAY_SAVE_BYTES];
  u32 cursor = mp->cursor, length = 0;
  int rv = family_is_wrong (mp->family);

  if (!client)
    return;
  if (!rv)
    {
      u32 room = MARGAY_SAVE_BYTES / size;
      if (mp->records_max && mp->records_max < room)
	room = mp->records_max;
      length = margay_save_stretch (mp->family, &cursor, SESSIONS_VISITED, records, room * size);
    }
  vl_api_margay_save_reply_t *m = MARGAY_MESSAGE (
    vl_api_margay_save_reply_t, VL_API_MARGAY_SAVE_REPLY, mp->context, length);
  m->retval = rv;
  m->layout_version = MARGAY_LAYOUT_VERSION;
  m->next_cursor = rv ? ~0 : cursor;
  m->record_bytes = size;
  m->now_ms = margay_now_ms (vlib_get_main ());
  m->length = length;
  clib_memcpy (m->records, records, length);
  MARGAY_SEND (margay_save_reply, client, m);
}
