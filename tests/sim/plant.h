/* SPDX-License-Identifier: Apache-2.0
 *
 * Planted bugs: rules that are left out on purpose, to show that the simulator notices. One row each in plant.c.
 */
#ifndef KM_SIM_PLANT_H
#define KM_SIM_PLANT_H

#include "env.h"

bool plant_is_known(const char *name);
void plant_list(FILE *out);
/* `name` NULL: nothing is planted. */
void plant_apply(const char *name, struct km_replica *replica);
void plant_conf(const char *name, struct km_replica_conf *conf);
void plant_weather(const char *name, struct sim_weather *weather);

#endif
