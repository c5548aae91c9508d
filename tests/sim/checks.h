/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold, looked at after each event and at the end of a run. Clients call sim_fail themselves for stale uses
 * and reads.
 */
#ifndef KM_SIM_CHECKS_H
#define KM_SIM_CHECKS_H

#include "env.h"

void checks_begin(void);
void checks_step(struct sim *sim, int i);
void checks_end(struct sim *sim);

#endif
