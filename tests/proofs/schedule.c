/* The scheduler's arithmetic: decisions, routes, events and policies. */
#include "../../runtime_c/sne_schedule.c"
