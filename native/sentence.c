/* Sentences of messages: an engine's text has several lines, its cause last. */
#include "sentence.h"

#include <ctype.h>
#include <stdio.h>

void margay_sentence(margay_message *out, const char *prefix, const char *text, size_t length) {
  size_t n = (size_t)snprintf(out->text, sizeof out->text, "%s", prefix);
  bool blank = true;
  for (size_t i = 0; i < length && text[i] && n + 1 < sizeof out->text; i++) {
    bool space = isspace((unsigned char)text[i]) != 0;
    if (!space || !blank) out->text[n++] = space ? ' ' : text[i];
    blank = space;
  }
  if (blank && n > 0 && out->text[n - 1] == ' ') n--;
  out->text[n] = 0;
}
