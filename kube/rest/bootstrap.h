/* What must be there before anything else. */
#ifndef KVD_KUBE_REST_BOOTSTRAP_H
#define KVD_KUBE_REST_BOOTSTRAP_H

#include "kube/rest/internal.h"

/* Begins to make it; api->started is set, and on_ready told, when it is there. */
void rest_bootstrap(struct kube_api *api);
/* Gives up; harmless if it has ended. */
void rest_bootstrap_end(struct kube_api *api);

#endif
