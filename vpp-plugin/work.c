/* What jobs do on the control thread: files, hashes, and every call of the engine that may take
 * long. Nothing here touches VPP; the contract is in jobs.h.
 *
 *   current: what jobs are for, beside: the one that was opened beside, and then they are for it
 *   swap: beside ─► current; the main thread puts it in place, then the one before is closed */
#include "jobs.h"
#include "sha256.h"
#include "stats.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define FILE_BYTES_MAX (256ull << 20)

static margay_core_t *current, *beside;

int
margay_job_fail (margay_job_t *job, i32 retval, const char *form, ...)
{
  va_list arguments;
  va_start (arguments, form);
  vsnprintf (job->why, sizeof (job->why), form, arguments);
  va_end (arguments);
  job->retval = retval;
  return retval;
}

static int
no_core (margay_job_t *job)
{
  return margay_job_fail (job, VNET_API_ERROR_NO_SUCH_ENTRY,
			  "no core is loaded: margay core <file>");
}

/* Whose job this is. */
static int
choose (margay_job_t *job)
{
  job->core = beside ? beside : current;
  return job->core ? 0 : no_core (job);
}

/* ---- Bytes ---------------------------------------------------------------------------------- */

int
margay_bytes_map (margay_bytes_t *bytes, size_t length)
{
  void *data =
    mmap (0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    return errno;
  *bytes = (margay_bytes_t){ data, length, length };
  return 0;
}

void
margay_bytes_unmap (margay_bytes_t *bytes)
{
  if (bytes->data)
    munmap (bytes->data, bytes->mapped);
  *bytes = (margay_bytes_t){ 0 };
}

int
margay_work_free (margay_job_t *job)
{
  margay_bytes_unmap (&job->bytes);
  return 0;
}

static int
read_all (int fd, margay_bytes_t *bytes)
{
  for (size_t at = 0; at < bytes->length;)
    {
      ssize_t n = read (fd, bytes->data + at, bytes->length - at);
      if (n < 0 && errno != EINTR)
	return errno;
      if (n == 0)
	return EIO; /* it has become shorter */
      at += n > 0 ? n : 0;
    }
  return 0;
}

static int
map_file (int fd, margay_bytes_t *bytes, const char **why)
{
  struct stat about;
  if (fd < 0 || fstat (fd, &about) < 0)
    return errno;
  if (S_ISDIR (about.st_mode))
    return EISDIR;
  if (about.st_size == 0)
    *why = "the file is empty";
  else if (about.st_size > FILE_BYTES_MAX)
    *why = "the file has more than 256 MiB";
  if (*why)
    return 0;
  int error = margay_bytes_map (bytes, about.st_size);
  return error ? error : read_all (fd, bytes);
}

/* Reads the file where there is one to read, and looks whether the bytes are those meant. */
static int
fetch (margay_job_t *job, u8 sha256[32])
{
  static const u8 none[32];
  if (!job->bytes.data)
    {
      const char *why = 0;
      int fd = open (job->file, O_RDONLY | O_CLOEXEC);
      int error = map_file (fd, &job->bytes, &why);
      if (fd >= 0)
	close (fd);
      if (error || why)
	return margay_job_fail (job, VNET_API_ERROR_INVALID_VALUE, "%s: %s", job->file,
				why ? why : strerror (error));
    }
  if (!sha256 && !memcmp (job->sha256, none, 32))
    return 0;
  u8 hash[32];
  margay_sha256 (job->bytes.data, job->bytes.length, hash);
  if (sha256)
    memcpy (sha256, hash, 32);
  if (memcmp (job->sha256, none, 32) && memcmp (job->sha256, hash, 32))
    return margay_job_fail (job, VNET_API_ERROR_INVALID_VALUE,
			    "sha256: the bytes have another than %02x%02x%02x%02x...",
			    job->sha256[0], job->sha256[1], job->sha256[2], job->sha256[3]);
  return 0;
}

int
margay_work_read (margay_job_t *job)
{
  int rv = fetch (job, 0);
  if (rv)
    margay_bytes_unmap (&job->bytes);
  return rv;
}

int
margay_work_write (margay_job_t *job)
{
  char name[sizeof (job->file) + 8];
  size_t at = 0;
  ssize_t n = 0;
  snprintf (name, sizeof (name), "%s.new", job->file);
  int fd = open (name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  while (fd >= 0 && n >= 0 && at < job->bytes.length)
    {
      n = write (fd, job->bytes.data + at, job->bytes.length - at);
      at += n > 0 ? n : 0;
    }
  int failed = fd < 0 || n < 0 || fsync (fd) < 0 || rename (name, job->file) < 0;
  int error = errno;
  if (fd >= 0)
    close (fd);
  if (failed && fd >= 0)
    unlink (name);
  margay_bytes_unmap (&job->bytes);
  return failed ? margay_job_fail (job, VNET_API_ERROR_SYSCALL_ERROR_1, "%s: %s", job->file,
				   strerror (error)) :
		  0;
}

/* ---- Pushes --------------------------------------------------------------------------------- */

/* Takes over what the engine said. `about`: the object, or "". */
static int
answer (margay_job_t *job, int result, const char *about)
{
  margay_bytes_unmap (&job->bytes);
  if (result >= 0)
    return 0;
  margay_refusal refusal = { 0 };
  if (result == MARGAY_REFUSED)
    refusal = margay_last_refusal ();
  job->error = refusal.error;
  job->record = refusal.record;
  job->detail = refusal.detail;
  i32 retval = result == MARGAY_BAD_ARGUMENT ? VNET_API_ERROR_INVALID_VALUE :
					       VNET_API_ERROR_UNSPECIFIED;
  return margay_job_fail (job, retval, "%s%s%s", about, *about ? ": " : "", margay_last_error ());
}

int
margay_work_stage (margay_job_t *job)
{
  int rv = choose (job);
  if (!rv)
    rv = fetch (job, 0);
  if (rv)
    return margay_bytes_unmap (&job->bytes), rv;
  int result = margay_stage (job->core->dataplane, job->bytes.data, job->bytes.length);
  job->taken = job->bytes.length;
  return answer (job, result, job->file);
}

int
margay_work_module (margay_job_t *job)
{
  char about[300];
  int rv = choose (job);
  if (!rv)
    rv = fetch (job, 0);
  if (rv)
    return margay_bytes_unmap (&job->bytes), rv;
  snprintf (about, sizeof (about), "slot %u%s%s", job->slot, job->file[0] ? ", " : "", job->file);
  return answer (job,
		 margay_module (job->core->dataplane, job->slot, job->kind, job->bytes.data,
				job->bytes.length),
		 about);
}

int
margay_work_publish (margay_job_t *job)
{
  char about[40];
  int rv = choose (job);
  if (rv)
    return rv;
  snprintf (about, sizeof (about), "generation %u", job->generation);
  return answer (job, margay_publish (job->core->dataplane, job->generation), about);
}

/* A Bind record: its header is u16 kind, u16 flags, u32 length of the body. */
int
margay_work_bind (margay_job_t *job)
{
  u8 record[MARGAY_RECORD_HEADER_BYTES + MARGAY_BIND_BYTES] = { MARGAY_RECORD_KIND_BIND };
  u8 *body = record + MARGAY_RECORD_HEADER_BYTES;
  const u32 length = MARGAY_BIND_BYTES;
  char about[40];
  int rv = choose (job);
  if (rv)
    return rv;
  memcpy (record + 4, &length, 4);
  memcpy (body + MARGAY_BIND_INTERFACE, &job->sw_if_index, 4);
  memcpy (body + MARGAY_BIND_ENDPOINT, &job->endpoint, 4);
  snprintf (about, sizeof (about), "sw-if-index %u", job->sw_if_index);
  return answer (job, margay_stage (job->core->dataplane, record, sizeof (record)), about);
}

/* Into the one beside, which no worker runs yet; for the running one the main thread does it, as
 * its worker 0, between frames. */
int
margay_work_restore (margay_job_t *job)
{
  int rv = choose (job);
  if (!rv && job->bytes.data == 0)
    rv = fetch (job, 0);
  if (rv || job->core != beside)
    return rv;
  int taken = margay_restore (beside->dataplane, 0, job->family, job->bytes.data,
			      job->bytes.length);
  job->taken = clib_max (taken, 0);
  return answer (job, taken, "");
}

/* ---- Dataplanes ----------------------------------------------------------------------------- */

static int
may_open (margay_job_t *job)
{
  u32 threads = job->threads, pages = job->options.memory_pages, workers = job->options.workers;
  if (!job->beside && current)
    return margay_job_fail (job, VNET_API_ERROR_VALUE_EXIST,
			    "%s: a core is loaded already: %s (another one: beside, then swap)",
			    job->file, current->file);
  if (job->beside && !current)
    return no_core (job);
  if (job->beside && beside)
    return margay_job_fail (job, VNET_API_ERROR_VALUE_EXIST, "%s: one is open beside already: %s",
			    job->file, beside->file);
  if (workers < threads || workers > MARGAY_WORKERS_MAX)
    return margay_job_fail (job, VNET_API_ERROR_INVALID_VALUE,
			    "workers %u: VPP has %u threads, and %u workers are the most", workers,
			    threads, MARGAY_WORKERS_MAX);
  if (pages && (pages < 64 || pages > 65536))
    return margay_job_fail (job, VNET_API_ERROR_INVALID_VALUE,
			    "pages %u: from 64 to 65536 (64 KiB each)", pages);
  return 0;
}

int
margay_work_open (margay_job_t *job)
{
  char error[256] = "";
  margay_core_t *core = 0;
  int rv = may_open (job);
  if (!rv)
    core = calloc (1, sizeof (*core));
  if (core)
    rv = fetch (job, core->sha256);
  if (rv)
    {
      free (core);
      return margay_bytes_unmap (&job->bytes), rv;
    }
  job->options.core = job->bytes.data;
  job->options.core_length = job->bytes.length;
  core->dataplane = margay_open (&job->options, error, sizeof (error));
  margay_bytes_unmap (&job->bytes);
  if (!core->dataplane)
    {
      free (core);
      return margay_job_fail (job, VNET_API_ERROR_UNSPECIFIED, "%s: %s", job->file, error);
    }
  size_t bytes;
  margay_memory (core->dataplane, &bytes);
  snprintf (core->file, sizeof (core->file), "%s", job->file);
  core->pages = bytes >> 16;
  core->workers = job->options.workers;
  core->huge_pages = margay_stats (core->dataplane).huge_pages;
  core->client = job->client;
  memset (core->endpoints, 0xff, sizeof (core->endpoints));
  if (job->beside)
    beside = core;
  else
    current = core;
  job->core = core;
  return 0;
}

int
margay_work_swap (margay_job_t *job)
{
  if (!beside)
    return margay_job_fail (job, VNET_API_ERROR_NO_SUCH_ENTRY,
			    "none is open beside: margay core <file> beside");
  if (!margay_generation (beside->dataplane))
    return margay_job_fail (job, VNET_API_ERROR_INVALID_VALUE,
			    "%s: it has published no generation, and would drop everything",
			    beside->file);
  job->replaced = current;
  job->core = current = beside;
  beside = 0;
  return 0;
}

/* Of a swap the one before, which the main thread has let go; else the one beside: of that client
 * alone, where one is named. */
int
margay_work_discard (margay_job_t *job)
{
  margay_core_t *core = job->replaced;
  if (!core)
    {
      core = beside;
      if (!core || (job->client != MARGAY_NO_CLIENT && !job->finish && core->client != job->client))
	return margay_job_fail (job, VNET_API_ERROR_NO_SUCH_ENTRY, "none is open beside");
      beside = 0;
    }
  margay_close (core->dataplane);
  core->dataplane = 0;
  job->core = core;
  return 0;
}

int
margay_work_status (margay_job_t *job)
{
  if (!beside)
    return margay_job_fail (job, VNET_API_ERROR_NO_SUCH_ENTRY, "none is open beside");
  margay_status_of (beside, job->status);
  return 0;
}

int
margay_is_beside (void)
{
  return __atomic_load_n (&beside, __ATOMIC_RELAXED) != 0;
}
