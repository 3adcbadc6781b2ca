/* Sessions as bytes: `margay save <file>`, `margay restore <file>`, and the messages' part of it.
 * The file is host/dataplane/savedsessions.ts's:
 *
 *   0 "MGYS" | 4 layout version | 8 saved ms | 12 count 4 | 16 count 6 | 20 zeros | 32 records
 *
 * A session has been idle for as long as it had been when it was saved. Each record is whole, their
 * set of no one moment. Main loop and workers run on: tables are read in short stretches, files on
 * the control thread. */
#include "jobs.h"

#define MAGIC	     0x5359474du
#define HEADER_BYTES 32
#define STRETCH	     1024

u32
margay_save_stretch (u32 family, u32 *cursor, u32 visits, u8 *to, u32 room)
{
  u32 size = margay_session_bytes (family), length = 0, i = clib_max (*cursor, 1);
  u32 end = margay_sessions_end (margay_main.dataplane, family);

  for (; i < end && visits && length + size <= room; i++, visits--)
    if (margay_session_copy (margay_main.dataplane, family, i, to + length))
      length += size;
  *cursor = i < end ? i : ~0;
  return length;
}

int
margay_restore_prepare (margay_job_t *job, u32 family, u32 layout_version, const u8 *records,
			u32 length)
{
  int error;

  job->family = family;
  if (family != 4 && family != 6)
    return margay_job_fail (job, VNET_API_ERROR_INVALID_VALUE, "family %u: 4 or 6", family);
  if (layout_version != MARGAY_LAYOUT_VERSION)
    return margay_job_fail (job, VNET_API_ERROR_INVALID_VALUE,
			    "sessions of layout version %u; this program's is %u", layout_version,
			    MARGAY_LAYOUT_VERSION);
  if (length == 0 || length > MARGAY_SAVE_BYTES || length % margay_session_bytes (family))
    return margay_job_fail (job, VNET_API_ERROR_INVALID_VALUE,
			    "%u bytes of sessions: records of %u bytes, at most %u bytes", length,
			    margay_session_bytes (family), MARGAY_SAVE_BYTES);
  error = margay_bytes_map (&job->bytes, length);
  if (error)
    return margay_job_fail (job, VNET_API_ERROR_SYSCALL_ERROR_1, "%u bytes of sessions: %s", length,
			    strerror (error));
  clib_memcpy (job->bytes.data, records, length);
  return 0;
}

/* ---- Commands ------------------------------------------------------------------------------- */

/* All live records behind the header. */
static void
gather (vlib_main_t *vm, margay_bytes_t *bytes, u32 counts[2])
{
  size_t length = HEADER_BYTES;
  for (u32 f = 0; f < 2; f++)
    {
      u32 family = f ? 6 : 4, cursor = 0;
      while (cursor != ~0u && bytes->mapped - length >= margay_session_bytes (family))
	{
	  size_t room = clib_min (bytes->mapped - length, (size_t) MARGAY_SAVE_BYTES);
	  u32 more = margay_save_stretch (family, &cursor, STRETCH, bytes->data + length, room);
	  counts[f] += more / margay_session_bytes (family);
	  length += more;
	  vlib_process_suspend (vm, 10e-6);
	}
    }
  bytes->length = length;
}

static clib_error_t *
save_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  margay_job_t *job = margay_job_new (margay_work_write, 0);
  u32 counts[2] = { 0 };
  clib_error_t *error = margay_check_core ();

  if (!error)
    error = margay_file_name (input, job);
  if (!error && !vlib_in_process_context (vm))
    error = clib_error_return (0, "this command waits, and cannot here");
  if (!error)
    {
      size_t records4 = margay_sessions_end (margay_main.dataplane, 4);
      size_t records6 = margay_sessions_end (margay_main.dataplane, 6);
      int failed = margay_bytes_map (&job->bytes, HEADER_BYTES +
						    records4 * MARGAY_SESSION4_BYTES +
						    records6 * MARGAY_SESSION6_BYTES);
      if (failed)
	error = clib_error_return (0, "%s: %s", job->file, strerror (failed));
    }
  if (!error)
    {
      u32 *header = (u32 *) job->bytes.data;
      header[0] = MAGIC;
      header[1] = MARGAY_LAYOUT_VERSION;
      header[2] = margay_now_ms (vm);
      gather (vm, &job->bytes, counts);
      header[3] = counts[0];
      header[4] = counts[1];
      error = margay_job_await (vm, job);
    }
  if (!error)
    vlib_cli_output (vm, "sessions saved: %u and %u, %s", counts[0], counts[1], job->file);
  margay_job_free (job);
  return error;
}

VLIB_CLI_COMMAND (save_command, static) = {
  .path = "margay save",
  .short_help = "margay save <file>: the live sessions",
  .function = save_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
check_saved (const margay_bytes_t *bytes, const char *file)
{
  const u32 *header = (const u32 *) bytes->data;
  if (bytes->length < HEADER_BYTES || header[0] != MAGIC)
    return clib_error_return (0, "%s: these are no saved sessions", file);
  if (header[1] != MARGAY_LAYOUT_VERSION)
    return clib_error_return (0, "%s: sessions of layout version %u; this program's is %u", file,
			      header[1], MARGAY_LAYOUT_VERSION);
  size_t wanted = HEADER_BYTES + (size_t) header[3] * MARGAY_SESSION4_BYTES +
		  (size_t) header[4] * MARGAY_SESSION6_BYTES;
  return wanted == bytes->length ? 0 :
				   clib_error_return (0, "%s: %lu bytes instead of %lu", file,
						      bytes->length, wanted);
}

/* One piece, its times moved to the present clock. */
static clib_error_t *
restore_piece (vlib_main_t *vm, u32 family, u8 *records, u32 length, u32 shift, u32 *taken)
{
  margay_job_t *job = margay_job_new (margay_work_restore, margay_carry_restore);
  clib_error_t *error = 0;

  for (u32 at = 0; at < length; at += margay_session_bytes (family))
    *(u32 *) (records + at + MARGAY_SESSION_SEEN) += shift;
  if (margay_restore_prepare (job, family, MARGAY_LAYOUT_VERSION, records, length))
    error = clib_error_return (0, "%s", job->why);
  else
    error = margay_job_await (vm, job);
  *taken += job->taken;
  margay_job_free (job);
  return error;
}

static clib_error_t *
restore_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  margay_job_t *job = margay_job_new (margay_work_read, 0);
  clib_error_t *error = margay_check_core ();
  u32 taken = 0, all = 0;

  if (!error)
    error = margay_file_name (input, job);
  if (!error)
    error = margay_job_await (vm, job);
  if (!error)
    error = check_saved (&job->bytes, job->file);
  if (!error)
    {
      const u32 *header = (const u32 *) job->bytes.data;
      u32 shift = margay_now_ms (vm) - header[2];
      u8 *at = job->bytes.data + HEADER_BYTES;
      all = header[3] + header[4];
      for (u32 f = 0; f < 2 && !error; f++)
	for (size_t left = (size_t) header[3 + f] * margay_session_bytes (f ? 6 : 4); left && !error;)
	  {
	    u32 length = clib_min (left, (size_t) MARGAY_SAVE_BYTES);
	    error = restore_piece (vm, f ? 6 : 4, at, length, shift, &taken);
	    at += length;
	    left -= length;
	  }
    }
  if (!error)
    vlib_cli_output (vm, "sessions restored: %u of %u, %s", taken, all, job->file);
  margay_job_free (job);
  return error;
}

VLIB_CLI_COMMAND (restore_command, static) = {
  .path = "margay restore",
  .short_help = "margay restore <file>: what margay save wrote",
  .function = restore_fn,
  .is_mp_safe = 1,
};
