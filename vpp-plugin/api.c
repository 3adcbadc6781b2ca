/* The binary API: messages that act. Those that only read are in apiread.c, flows in apiflow.c.
 *
 *   handler: look at the arguments ─► job ─► (control thread, main thread) ─► send_pushed: reply
 *                └► refused: reply at once
 *
 * Handlers run on the main thread and are mp-safe: workers run on. What has to be done between two
 * frames takes the barrier itself. Messages are autoendian: handlers see host order. */
#include "apisend.h"
#include "jobs.h"
#include <stdio.h>

u16 margay_msg_id_base;
#define REPLY_MSG_ID_BASE margay_msg_id_base
#include <vlibapi/api_helper_macros.h>
#include <vnet/format_fns.h>
#include <vnet/ip/ip_format_fns.h>

/* ---- Pushes --------------------------------------------------------------------------------- */

/* One layout for all of them: the generated endian function of one serves all. */
#define SAME(name)                                                                                \
  STATIC_ASSERT (sizeof (vl_api_margay_##name##_reply_t) ==                                       \
		   sizeof (vl_api_margay_stage_reply_t),                                          \
		 "replies to pushes are alike");
SAME (open)
SAME (swap)
SAME (discard)
SAME (module)
SAME (publish)
SAME (bind)
#undef SAME

static void vl_api_margay_stage_reply_t_endian (vl_api_margay_stage_reply_t *, bool);

static void
send_pushed (margay_job_t *job)
{
  vl_api_registration_t *client = MARGAY_CLIENT (job->client);
  if (!client)
    return;
  vl_api_margay_stage_reply_t *reply =
    MARGAY_MESSAGE (vl_api_margay_stage_reply_t, job->reply, job->context, 0);
  reply->retval = job->retval;
  reply->error = job->error;
  reply->record = job->record;
  reply->detail = job->detail;
  if (job->retval)
    clib_memcpy (reply->why, job->why, sizeof (reply->why) - 1); /* its end may be cut off */
  MARGAY_SEND (margay_stage_reply, client, reply);
}

static margay_job_t *
new_job (int (*work) (margay_job_t *), void (*carry) (margay_job_t *), u32 client, u32 context,
	 u16 reply)
{
  margay_job_t *job = margay_job_new (work, carry);
  job->client = client;
  job->context = context;
  job->reply = reply;
  job->finish = send_pushed;
  return job;
}

/* `rv`: what was found wrong before. */
static void
post (margay_job_t *job, int rv)
{
  if (rv)
    job->retval = rv;
  if (rv || margay_job_post (job))
    {
      job->finish (job);
      margay_job_free (job);
    }
}

static int
take (margay_job_t *job, u32 upload, const u8 sha256[32])
{
  clib_memcpy (job->sha256, sha256, 32);
  return margay_upload_take (job->client, upload, &job->bytes, job->why);
}

static void
vl_api_margay_open_t_handler (vl_api_margay_open_t *mp)
{
  margay_job_t *job = new_job (margay_work_open, margay_carry_open, mp->client_index, mp->context,
			       VL_API_MARGAY_OPEN_REPLY);
  job->beside = mp->beside;
  job->threads = vlib_get_n_threads ();
  job->options.memory_pages = mp->pages;
  job->options.workers = mp->workers ? mp->workers : job->threads;
  job->options.huge_pages = mp->huge_pages;
  job->options.prefetch = 1;
  snprintf (job->file, sizeof (job->file), "upload %u", mp->upload);
  post (job, take (job, mp->upload, mp->sha256));
}

static void
vl_api_margay_stage_t_handler (vl_api_margay_stage_t *mp)
{
  margay_job_t *job = new_job (margay_work_stage, 0, mp->client_index, mp->context,
			       VL_API_MARGAY_STAGE_REPLY);
  post (job, take (job, mp->upload, mp->sha256));
}

static void
vl_api_margay_module_t_handler (vl_api_margay_module_t *mp)
{
  margay_job_t *job = new_job (margay_work_module, 0, mp->client_index, mp->context,
			       VL_API_MARGAY_MODULE_REPLY);
  int rv = take (job, mp->upload, mp->sha256);
  job->slot = mp->slot;
  job->kind = mp->kind;
  if (!rv && (mp->slot == 0 || mp->slot >= MARGAY_POLICY_SLOTS_MAX))
    rv = margay_job_fail (job, VNET_API_ERROR_INVALID_VALUE, "slot %u: from 1 to %u", mp->slot,
			  MARGAY_POLICY_SLOTS_MAX - 1);
  if (!rv && mp->kind != MARGAY_SLOT_STATE_GENERATED && mp->kind != MARGAY_SLOT_STATE_USER)
    rv = margay_job_fail (job, VNET_API_ERROR_INVALID_VALUE,
			  "slot %u: kind %u: 1 (generated) or 2 (a user's)", mp->slot, mp->kind);
  post (job, rv);
}

static void
vl_api_margay_publish_t_handler (vl_api_margay_publish_t *mp)
{
  margay_job_t *job = new_job (margay_work_publish, 0, mp->client_index, mp->context,
			       VL_API_MARGAY_PUBLISH_REPLY);
  job->generation = mp->generation;
  post (job, 0);
}

static void
vl_api_margay_bind_t_handler (vl_api_margay_bind_t *mp)
{
  margay_job_t *job = new_job (margay_work_bind, margay_carry_bind, mp->client_index, mp->context,
			       VL_API_MARGAY_BIND_REPLY);
  post (job, margay_bind_prepare (job, mp->sw_if_index, mp->endpoint));
}

static void
vl_api_margay_swap_t_handler (vl_api_margay_swap_t *mp)
{
  margay_job_t *job = new_job (margay_work_swap, margay_carry_swap, mp->client_index, mp->context,
			       VL_API_MARGAY_SWAP_REPLY);
  post (job, 0);
}

static void
vl_api_margay_discard_t_handler (vl_api_margay_discard_t *mp)
{
  margay_job_t *job = new_job (margay_work_discard, margay_carry_discard, mp->client_index,
			       mp->context, VL_API_MARGAY_DISCARD_REPLY);
  post (job, 0);
}

/* ---- Uploads -------------------------------------------------------------------------------- */

static void vl_api_margay_upload_reply_t_endian (vl_api_margay_upload_reply_t *, bool);

static void
vl_api_margay_upload_t_handler (vl_api_margay_upload_t *mp)
{
  vl_api_registration_t *client = MARGAY_CLIENT (mp->client_index);
  if (!client)
    return;
  vl_api_margay_upload_reply_t *reply =
    MARGAY_MESSAGE (vl_api_margay_upload_reply_t, VL_API_MARGAY_UPLOAD_REPLY, mp->context, 0);
  u32 received = 0;
  char why[256] = "";
  reply->retval = margay_upload_add (mp->client_index, mp->upload, mp->offset, mp->total, mp->data,
				     mp->length, &received, why);
  reply->received = received;
  clib_memcpy (reply->why, why, sizeof (reply->why));
  MARGAY_SEND (margay_upload_reply, client, reply);
}

static void
vl_api_margay_abandon_uploads_t_handler (vl_api_margay_abandon_uploads_t *mp)
{
  vl_api_margay_abandon_uploads_reply_t *rmp;
  int rv = 0;
  margay_uploads_abandon (mp->client_index);
  REPLY_MACRO_END (VL_API_MARGAY_ABANDON_UPLOADS_REPLY);
}

/* Nothing of a client that is gone stays. */
static clib_error_t *
margay_reaper (u32 client)
{
  margay_flows_client_gone (client);
  margay_client_gone (client);
  return 0;
}

VL_MSG_API_REAPER_FUNCTION (margay_reaper);

/* ---- Restoring ------------------------------------------------------------------------------ */

static void vl_api_margay_restore_reply_t_endian (vl_api_margay_restore_reply_t *, bool);

static void
send_restored (margay_job_t *job)
{
  vl_api_registration_t *client = MARGAY_CLIENT (job->client);
  if (!client)
    return;
  vl_api_margay_restore_reply_t *reply = MARGAY_MESSAGE (
    vl_api_margay_restore_reply_t, VL_API_MARGAY_RESTORE_REPLY, job->context, 0);
  reply->retval = job->retval;
  reply->taken = job->taken;
  if (job->retval)
    clib_memcpy (reply->why, job->why, sizeof (reply->why) - 1); /* its end may be cut off */
  MARGAY_SEND (margay_restore_reply, client, reply);
}

static void
vl_api_margay_restore_t_handler (vl_api_margay_restore_t *mp)
{
  margay_job_t *job = new_job (margay_work_restore, margay_carry_restore, mp->client_index,
			       mp->context, 0);
  job->finish = send_restored;
  post (job, margay_restore_prepare (job, mp->family, mp->layout_version, mp->records, mp->length));
}

/* ---- Interfaces, clock, trace, host stack --------------------------------------------------- */

/* Features are put on under the barrier. */
static int
told (clib_error_t *error)
{
  if (!error)
    return 0;
  clib_error_report (error);
  return VNET_API_ERROR_UNSPECIFIED;
}

static void
vl_api_margay_interface_set_t_handler (vl_api_margay_interface_set_t *mp)
{
  vl_api_margay_interface_set_reply_t *rmp;
  vlib_main_t *vm = vlib_get_main ();
  int rv = VNET_API_ERROR_INVALID_SW_IF_INDEX;

  if (vnet_sw_if_index_is_api_valid (mp->sw_if_index))
    {
      vlib_worker_thread_barrier_sync (vm);
      rv = told (margay_input_enable (mp->sw_if_index, mp->enable));
      vlib_worker_thread_barrier_release (vm);
    }
  REPLY_MACRO_END (VL_API_MARGAY_INTERFACE_SET_REPLY);
}

static void
vl_api_margay_mode_set_t_handler (vl_api_margay_mode_set_t *mp)
{
  vl_api_margay_mode_set_reply_t *rmp;
  vlib_main_t *vm = vlib_get_main ();
  int rv = 0;

  vlib_worker_thread_barrier_sync (vm);
  margay_mode_set (mp->fail_closed);
  vlib_worker_thread_barrier_release (vm);
  REPLY_MACRO_END (VL_API_MARGAY_MODE_SET_REPLY);
}

static void
vl_api_margay_host_stack_add_del_t_handler (vl_api_margay_host_stack_add_del_t *mp)
{
  vl_api_margay_host_stack_add_del_reply_t *rmp;
  vlib_main_t *vm = vlib_get_main ();
  int rv = VNET_API_ERROR_INVALID_SW_IF_INDEX;

  if (!mp->is_add || vnet_sw_if_index_is_api_valid (mp->sw_if_index))
    {
      vlib_worker_thread_barrier_sync (vm);
      rv = told (margay_host_stack_add_del (mp->table_id, mp->sw_if_index, mp->via_table_id,
					    mp->is_add));
      vlib_worker_thread_barrier_release (vm);
    }
  REPLY_MACRO_END (VL_API_MARGAY_HOST_STACK_ADD_DEL_REPLY);
}

static void
vl_api_margay_clock_set_t_handler (vl_api_margay_clock_set_t *mp)
{
  vl_api_margay_clock_set_reply_t *rmp;
  margay_clock_t *clock = &margay_main.clock;
  int rv = 0;

  clock->fixed_ms = mp->ms;
  clock->fixed_seconds = mp->seconds;
  clock->is_fixed = mp->fixed;
  REPLY_MACRO_END (VL_API_MARGAY_CLOCK_SET_REPLY);
}

static void
vl_api_margay_trace_set_t_handler (vl_api_margay_trace_set_t *mp)
{
  vl_api_margay_trace_set_reply_t *rmp;
  int rv = 0;
  margay_trace_set (vlib_get_main (), mp->packets);
  REPLY_MACRO_END (VL_API_MARGAY_TRACE_SET_REPLY);
}

static void
vl_api_want_margay_flow_events_t_handler (vl_api_want_margay_flow_events_t *mp)
{
  vl_api_want_margay_flow_events_reply_t *rmp;
  int rv = margay_flows_want (mp->client_index, mp->pid, mp->enable);
  REPLY_MACRO_END (VL_API_WANT_MARGAY_FLOW_EVENTS_REPLY);
}

#include <margay/margay.api.c>

static clib_error_t *
margay_api_init (vlib_main_t *vm)
{
  api_main_t *am = vlibapi_get_main ();
  margay_msg_id_base = setup_message_id_table ();
  /* The last message is an event: the table alone leaves it out, and VPP would not send it. */
  vec_validate (am->msg_data, margay_msg_id_base + VL_MSG_MARGAY_LAST - 1);
  for (u32 id = 0; id < VL_MSG_MARGAY_LAST; id++)
    vl_api_set_msg_thread_safe (am, margay_msg_id_base + id, 1);
  return 0;
}

VLIB_API_INIT_FUNCTION (margay_api_init);
