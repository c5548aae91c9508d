/* SPDX-License-Identifier: Apache-2.0
 *
 * What template.c and template_change.c share, and nobody else uses.
 */
#ifndef KM_SERVICE_TEMPLATE_RULES_H
#define KM_SERVICE_TEMPLATE_RULES_H

#include "template.h"

/* Sets the reason to "CKA_NAME why" in a line of the thread's own, valid until the thread's next refusal; returns `rv`. */
CK_RV km_template_refuse(const char **ret_reason, CK_RV rv, CK_ATTRIBUTE_TYPE type, const char *why);
/* True if the value has the form that the row asks for. */
bool km_template_is_valid(const struct km_attr_row *row, const ProtobufCBinaryData *value);
/* True if `attr` is there and has this value. */
bool km_template_is_same(const ProtobufCBinaryData *value, const Kml__Attr *attr);
/* Rules over several attributes that hold for every head, new or changed. */
CK_RV km_template_check(const Kml__Head *head, const char **ret_reason);
/* Sets is_session and is_private from the attributes. */
void km_template_read_flags(Kml__Head *head);

#endif
