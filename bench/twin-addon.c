/* The C twin as a Node addon, for bench/nat: memories on huge pages, frames, the classic table.
 *
 *   open(bytes) → ArrayBuffer                          copy(to, from, bytes)
 *   process(memory, count, nowMs, generation) → left   classic(slots, backends) → nanoseconds
 *
 * A memory is unmapped when its ArrayBuffer is collected. Arguments are checked for their kind
 * alone: the caller is the bench. Source: https://nodejs.org/api/n-api.html */
#define _GNU_SOURCE
#include <node_api.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "twin.h"

enum { HUGE_PAGE = 2 << 20 };

typedef struct {
  void *area;
  size_t bytes;
} mapping;

static napi_value fail(napi_env env, const char *why) {
  napi_throw_error(env, NULL, why);
  return NULL;
}

static void unmap(napi_env env, void *data, void *hint) {
  (void)env;
  (void)data;
  mapping *m = hint;
  munmap(m->area, m->bytes);
  free(m);
}

static int take(napi_env env, napi_callback_info info, size_t wanted, napi_value *args) {
  size_t count = wanted;
  return napi_get_cb_info(env, info, &count, args, NULL, NULL) == napi_ok && count == wanted;
}

static napi_value open_memory(napi_env env, napi_callback_info info) {
  napi_value arg, buffer;
  double bytes;
  if (!take(env, info, 1, &arg) || napi_get_value_double(env, arg, &bytes) != napi_ok)
    return fail(env, "open: a number of bytes is wanted");
  mapping *m = malloc(sizeof *m);
  if (!m) return fail(env, "open: no memory");
  m->bytes = (size_t)bytes + HUGE_PAGE;
  m->area = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m->area == MAP_FAILED) {
    free(m);
    return fail(env, "open: no memory");
  }
  uint8_t *memory = (uint8_t *)m->area;
  memory += HUGE_PAGE - ((uintptr_t)memory & (HUGE_PAGE - 1));
  madvise(memory, (size_t)bytes, MADV_HUGEPAGE);
  if (napi_create_external_arraybuffer(env, memory, (size_t)bytes, unmap, m, &buffer) != napi_ok)
    return fail(env, "open: no ArrayBuffer");
  return buffer;
}

static napi_value copy_memory(napi_env env, napi_callback_info info) {
  napi_value args[3];
  void *to, *from;
  size_t to_bytes, from_bytes;
  double bytes;
  if (!take(env, info, 3, args) ||
      napi_get_arraybuffer_info(env, args[0], &to, &to_bytes) != napi_ok ||
      napi_get_arraybuffer_info(env, args[1], &from, &from_bytes) != napi_ok ||
      napi_get_value_double(env, args[2], &bytes) != napi_ok || to_bytes != from_bytes ||
      !(bytes >= 0 && bytes <= (double)to_bytes))
    return fail(env, "copy: two ArrayBuffers of one length are wanted, and how many bytes");
  memcpy(to, from, (size_t)bytes);
  return NULL;
}

static napi_value process_frame(napi_env env, napi_callback_info info) {
  napi_value args[4], answer;
  void *memory;
  size_t bytes;
  uint32_t count, now_ms, generation;
  if (!take(env, info, 4, args) ||
      napi_get_arraybuffer_info(env, args[0], &memory, &bytes) != napi_ok ||
      napi_get_value_uint32(env, args[1], &count) != napi_ok ||
      napi_get_value_uint32(env, args[2], &now_ms) != napi_ok ||
      napi_get_value_uint32(env, args[3], &generation) != napi_ok)
    return fail(env, "process: a memory and three numbers are wanted");
  napi_create_uint32(env, twin_process(memory, 0, count, now_ms, generation, 1), &answer);
  return answer;
}

static napi_value classic_table(napi_env env, napi_callback_info info) {
  napi_value args[2], answer;
  uint32_t slots, backends;
  if (!take(env, info, 2, args) || napi_get_value_uint32(env, args[0], &slots) != napi_ok ||
      napi_get_value_uint32(env, args[1], &backends) != napi_ok)
    return fail(env, "classic: slots and backends are wanted");
  napi_create_double(env, classic_nanoseconds(slots, backends), &answer);
  return answer;
}

NAPI_MODULE_INIT() {
  const struct { const char *name; napi_callback call; } all[] = {
      {"open", open_memory}, {"copy", copy_memory}, {"process", process_frame},
      {"classic", classic_table},
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    napi_value function;
    if (napi_create_function(env, all[i].name, NAPI_AUTO_LENGTH, all[i].call, NULL, &function) ||
        napi_set_named_property(env, exports, all[i].name, function))
      return fail(env, "the twin's functions cannot be made");
  }
  return exports;
}
