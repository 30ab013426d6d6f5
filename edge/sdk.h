/*
 * sdk: the browser SDK as it was built into this program (edge/snippet/), and how a script is
 * made of it for one account.
 *
 * Promise: the text is immutable. `GET /sdk.js` is the SDK alone; `GET /s/KEY.js` is
 * sdk_script_of: one line that hands the SDK its write key and its config, then the SDK.
 */
#ifndef POLDER_EDGE_SDK_H
#define POLDER_EDGE_SDK_H

#include "proto/base/buf.h"
#include "proto/base/id.h"

/* Static storage. */
struct pl_span sdk_text(void);
/* `GET /ce.js`: CrossEngage's browser queue on top of the SDK. Static storage. */
struct pl_span sdk_ce_text(void);

/* Appends `self.polderBoot={"key":"…","config":…};` and the SDK. config_json is the public
 * document; empty: null (nothing is published yet). */
enum pl_err sdk_script_of(const struct pl_id128 *write_key, struct pl_span config_json,
                          struct pl_buf *out);

#endif
