/**
 * Milliseconds for a test, or what is made before and behind it: for what never ends. What ends may take ten times as
 * long on a busy machine.
 */
export const patience = 180_000

/**
 * How often a conformance test is tried again that failed. These wait for real processes, kernels and clusters; what
 * fails once in ten thousand tests would be one run in two. Which passed only then is told at the end of the log.
 */
export const retry = 1

/** Tests that pass at their second try, in one run: more are no chance, and each is a failure. */
export const mostUnstable = 3
