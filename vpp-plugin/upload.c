/* Bytes that clients bring piece by piece, until a message uses them.
 *
 *   piece 0 ─► mapped for its whole length ─► pieces in order ─► whole ─► taken by a job
 *                 └► the client is gone, abandons, or begins it anew: given back
 *
 * Pages are mapped, not taken from VPP's heap: 64 MiB there would stay in pieces. They cost memory
 * as they are written, and are given back on the control thread.
 * Limits: 64 KiB a piece, 64 MiB an upload, 8 a client, 128 MiB and 64 uploads in all. */
#include "jobs.h"
#include <stdio.h>
#include <sys/mman.h>

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
  margay_job_t *job = margay_job_new (margay_work_free);
  job->bytes = (margay_bytes_t){ u->data, u->total, u->total };
  if (margay_job_post (job)) /* no thread to do it: then here */
    {
      munmap (u->data, u->total);
      job->bytes.data = 0;
      margay_job_free (job);
    }
  forget (u);
}

static int
begin (u32 client, u32 number, u32 total, upload_t **made, char why[256])
{
  if (total == 0 || total > UPLOAD_BYTES_MAX)
    return snprintf (why, 256, "upload %u: %u bytes in all; from 1 to %u", number, total,
		     UPLOAD_BYTES_MAX),
	   VNET_API_ERROR_INVALID_VALUE;
  if (count == ALL_MAX || of_client (client) == CLIENT_MAX || bytes + total > ALL_BYTES_MAX)
    return snprintf (why, 256,
		     "upload %u: there are %u of this client (at most %u), %u in all (%u), "
		     "with %u bytes (%u)",
		     number, of_client (client), CLIENT_MAX, count, ALL_MAX, bytes, ALL_BYTES_MAX),
	   VNET_API_ERROR_LIMIT_EXCEEDED;
  void *data =
    mmap (0, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    return snprintf (why, 256, "upload %u: %s", number, strerror (errno)),
	   VNET_API_ERROR_SYSCALL_ERROR_1;
  *made = &uploads[count++];
  **made = (upload_t){ .client = client, .number = number, .total = total, .data = data };
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
    return snprintf (why, 256, "upload %u: a piece of %u bytes; from 1 to %u", number, length,
		     PIECE_BYTES_MAX),
	   VNET_API_ERROR_INVALID_VALUE;
  if (!u && offset == 0)
    {
      int rv = begin (client, number, total, &u, why);
      if (rv)
	return rv;
    }
  if (!u)
    return snprintf (why, 256, "upload %u: a piece at %u, but there is no such upload", number,
		     offset),
	   VNET_API_ERROR_NO_SUCH_ENTRY;
  if (total != u->total || offset != u->received || length > u->total - u->received)
    return snprintf (why, 256, "upload %u: %u bytes at %u of %u, where %u of %u are there", number,
		     length, offset, total, u->received, u->total),
	   VNET_API_ERROR_INVALID_VALUE;
  clib_memcpy (u->data + offset, data, length);
  *received = u->received += length;
  return 0;
}

int
margay_upload_take (u32 client, u32 number, margay_bytes_t *to, char *why, u32 why_bytes)
{
  upload_t *u = find (client, number);
  if (!u)
    return snprintf (why, why_bytes, "upload %u: there is none of this number", number),
	   VNET_API_ERROR_NO_SUCH_ENTRY;
  if (u->received != u->total)
    return snprintf (why, why_bytes, "upload %u: %u of %u bytes are there", number, u->received,
		     u->total),
	   VNET_API_ERROR_INVALID_VALUE;
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
