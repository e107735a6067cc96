/**
 * What V8 is told at every start; a call lives for milliseconds, and what pays off only later is left out
 * (bench/RESULTS.md): the hash seed of the saved heap is kept, which spares a search for primes of about 4 ms; no
 * thread works beside; nothing is compiled to machine code, which would never pay (an ADD of 1,000 ports takes half the
 * time without) and for which V8 reserves half a gigabyte of addresses; the heap's youngest part is large enough to
 * need no collection. A code cache is only accepted by a V8 with the flags it was made under.
 */
export const v8Flags = [
  '--no-rehash-snapshot',
  '--single-threaded',
  '--jitless',
  '--no-flush-bytecode',
  '--min-semi-space-size=2',
]

/** What Node is told: to show the bindings below its modules (shared/system/node.ts), and not to say so on stderr. */
export const nodeFlags = ['--expose-internals', '--disable-warning=internal/test/binding']
