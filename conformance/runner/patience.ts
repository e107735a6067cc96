/**
 * Milliseconds for a test, or what is made before and behind it: for what never ends. What ends may take ten times as
 * long on a busy machine.
 */
export const patience = 180_000
