/* SHA-256, for knowing bytes again; no key, nothing secret.
 * Source: FIPS 180-4, https://csrc.nist.gov/pubs/fips/180-4/upd1/final */
#ifndef MARGAY_SHA256_H
#define MARGAY_SHA256_H

#include <stddef.h>
#include <stdint.h>

void margay_sha256(const void *bytes, size_t length, uint8_t hash[32]);

#endif
