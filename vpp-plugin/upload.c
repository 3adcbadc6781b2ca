/* Bytes that clients bring piece by piece, until a message uses them.
 *
 *   piece 0 ─► mapped for its whole length ─► pieces in order ─► whole ─► taken by a job
 *                 └► the client is gone, abandons, or begins it anew: given back
 *
 * Pages are mapped, not taken from VPP's heap: 64 MiB there would stay in pieces. They cost memory
 * as they are written, and are given back on the control thread.
 * Limits: 64 KiB a piece, 64 MiB an upload, 8 a client, 128 MiB and 64 uploads in all. */
#include "jobs.h"
#include <stdarg.h>
#include <stdio.h>

#define PIECE_BYTES_MAX	 (64u << 10)
#define UPLOAD_BYTES_MAX (64u << 20)
#define ALL_BYTES_MAX	 (128u << 20)
#define CLIENT_MAX	 8
#define ALL_MAX		 64

typedef struct
{
  u32 client, number;
  u32 received, total;
  u8 *data;
} upload_t;

static upload_t uploads[ALL_MAX];
static u32 count, bytes;

static upload_t *
find (u32 client, u32 number)
{
  for (u32 i = 0; i < count; i++)
    if (uploads[i].client == client && uploads[i].number == number)
      return &uploads[i];
  return 0;
}

static u32
of_client (u32 client)
{
  u32 n = 0;
  for (u32 i = 0; i < count; i++)
    n += uploads[i].client == client;
  return n;
}

static void
forget (upload_t *u)
{
  bytes -= u->total;
  *u = uploads[--count];
}

static void
give_back (upload_t *u)
{
  margay_job_t *job = margay_job_new (margay_work_free, 0);
  job->bytes = (margay_bytes_t){ u->data, u->total, u->total };
  if (margay_job_post (job)) /* no thread to do it: then here */
    {
      margay_bytes_unmap (&job->bytes);
      margay_job_free (job);
    }
  forget (u);
}

static int __attribute__ ((format (printf, 4, 5)))
refuse (char why[256], u32 number, int retval, const char *form, ...)
{
  va_list arguments;
  int n = snprintf (why, 256, "upload %u: ", number);
  va_start (arguments, form);
  vsnprintf (why + n, 256 - n, form, arguments);
  va_end (arguments);
  return retval;
}

static int
begin (u32 client, u32 number, u32 total, upload_t **made, char why[256])
{
  margay_bytes_t fresh;

  if (total == 0 || total > UPLOAD_BYTES_MAX)
    return refuse (why, number, VNET_API_ERROR_INVALID_VALUE, "%u bytes in all; from 1 to %u",
		   total, UPLOAD_BYTES_MAX);
  if (count == ALL_MAX || of_client (client) == CLIENT_MAX || bytes + total > ALL_BYTES_MAX)
    return refuse (why, number, VNET_API_ERROR_LIMIT_EXCEEDED,
		   "there are %u of this client (at most %u), %u in all (%u), with %u bytes (%u)",
		   of_client (client), CLIENT_MAX, count, ALL_MAX, bytes, ALL_BYTES_MAX);
  int error = margay_bytes_map (&fresh, total);
  if (error)
    return refuse (why, number, VNET_API_ERROR_SYSCALL_ERROR_1, "%s", strerror (error));
  *made = &uploads[count++];
  **made = (upload_t){ .client = client, .number = number, .total = total, .data = fresh.data };
  bytes += total;
  return 0;
}

int
margay_upload_add (u32 client, u32 number, u32 offset, u32 total, const u8 *data, u32 length,
		   u32 *received, char why[256])
{
  upload_t *u = find (client, number);
  if (u && offset == 0)
    {
      give_back (u);
      u = 0;
    }
  *received = u ? u->received : 0;
  if (length == 0 || length > PIECE_BYTES_MAX)
    return refuse (why, number, VNET_API_ERROR_INVALID_VALUE, "a piece of %u bytes; from 1 to %u",
		   length, PIECE_BYTES_MAX);
  if (!u && offset == 0)
    {
      int rv = begin (client, number, total, &u, why);
      if (rv)
	return rv;
    }
  if (!u)
    return refuse (why, number, VNET_API_ERROR_NO_SUCH_ENTRY,
		   "a piece at %u, but there is no such upload", offset);
  if (total != u->total || offset != u->received || length > u->total - u->received)
    return refuse (why, number, VNET_API_ERROR_INVALID_VALUE,
		   "%u bytes at %u of %u, where %u of %u are there", length, offset, total,
		   u->received, u->total);
  clib_memcpy (u->data + offset, data, length);
  *received = u->received += length;
  return 0;
}

int
margay_upload_take (u32 client, u32 number, margay_bytes_t *to, char why[256])
{
  upload_t *u = find (client, number);
  if (!u)
    return refuse (why, number, VNET_API_ERROR_NO_SUCH_ENTRY, "there is none of this number");
  if (u->received != u->total)
    return refuse (why, number, VNET_API_ERROR_INVALID_VALUE, "%u of %u bytes are there",
		   u->received, u->total);
  *to = (margay_bytes_t){ u->data, u->total, u->total };
  forget (u);
  return 0;
}

u32
margay_uploads_abandon (u32 client)
{
  u32 n = 0;
  for (u32 i = count; i-- > 0;)
    if (client == MARGAY_NO_CLIENT || uploads[i].client == client)
      {
	give_back (&uploads[i]);
	n++;
      }
  return n;
}

void
margay_uploads_show (vlib_main_t *vm)
{
  vlib_cli_output (vm, "uploads %u bytes=%u jobs=%d", count, bytes, margay_jobs_waiting ());
  for (u32 i = 0; i < count; i++)
    vlib_cli_output (vm, "upload %u client=%u received=%u total=%u", uploads[i].number,
		     clib_net_to_host_u32 (uploads[i].client), uploads[i].received,
		     uploads[i].total);
}
