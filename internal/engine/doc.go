// Package engine interprets a compiled plan: the five workflow kinds, agents alone, nesting, people, retries and error policies. It is
// pure: Next and Apply read no clock, draw no random numbers and do no I/O, so the same results in the same order always give the same
// state. A run is rebuilt from its journal by applying the recorded results again. It imports internal/plan and internal/run only.
package engine
