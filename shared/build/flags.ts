/**
 * What V8 is told at every start: keep the hash seed of the saved heap, which spares a search for primes of about 4 ms. A code cache is
 * only accepted by a V8 with the flags it was made under.
 */
export const v8Flags = ['--no-rehash-snapshot']
