/* Text of several lines, folded into one sentence of a margay_message. */
#ifndef MARGAY_SENTENCE_H
#define MARGAY_SENTENCE_H

#include "engine.h"

/* `prefix`, then the text up to its length or its first 0; blanks folded, what is too long cut. */
void margay_sentence(margay_message *out, const char *prefix, const char *text, size_t length);

#endif
